"""A job ends when its worker does: the worker holds a pipe to the job's standard input, and the job waits for its end.

A worker that is killed can tell nobody. Its end of the pipe is closed by the system, whatever happened.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from assignbench.disk import explained
from assignbench.engines.job import LOG, TETHER, Job
from assignbench.files import make_folder, replaceable

PATIENCE = 120.0  # seconds for a job to save its checkpoint and leave, before it is killed


def start(job: Job, more: Mapping[str, str | None], where: Path | None = None) -> subprocess.Popen[bytes]:
    """The worker's side: a job's command as a process that ends with this one; what it prints goes to ``job.log``.

    Args:
        job: what to start.
        more: environment beside this process's own; None: without that variable.
        where: its working directory; None: this process's.

    Raises:
        SystemProblem: the log cannot be written.
    """
    environment = {name: value for name, value in {**os.environ, **more}.items() if value is not None}
    make_folder(job.folder)
    log = job.folder / LOG
    with explained(log):
        replaceable(log)  # a pipe would be waited for
        output = log.open("ab")
    with output:
        return subprocess.Popen(  # noqa: S603  # our own command
            job.command(TETHER),
            cwd=where,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # signals to a terminal or a whole step are for the worker, which asks the job
        )


def let_go(process: subprocess.Popen[bytes]) -> None:
    """The worker's side: ask a job to save a checkpoint and leave."""
    if process.stdin is not None:
        process.stdin.close()


def tether() -> None:
    """The job's side: when standard input ends, this process gets SIGTERM, saves a checkpoint and leaves."""
    threading.Thread(target=_wait, name="tether", daemon=True).start()


def _wait() -> None:
    descriptor = sys.stdin.fileno()
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)  # it does not listen: a strategy that never ends, a disk that hangs
