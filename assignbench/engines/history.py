"""What became of the jobs of a run: a log in its folder, ``jobs.jsonl``, a line for each thing that happened.

The log says who died when. It is also how a later command finds jobs that go on without the one that submitted them.
Whether a run is done is not in it: that is seen by its record alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from assignbench.engines.engine import Look
from assignbench.engines.job import Job
from assignbench.errors import RunError, SystemProblem
from assignbench.run.results.json_lines import append, read_lines
from assignbench.run.results.names import JOBS

SUBMITTED, RUNNING, AGAIN, DONE, FAILED, LEFT = "submitted", "running", "again", "done", "failed", "left"
OPEN = (SUBMITTED, RUNNING)  # a job that is not known to have ended


@dataclass(frozen=True)
class Entry:
    """The newest line of a run's log."""

    event: str
    engine: str
    handle: str
    where: str
    cause: str
    conductor: str  # "host:process" of the command that wrote it

    @property
    def conducted(self) -> bool:
        """Whether the command that wrote it may still be at work; of another machine nobody knows, and it may."""
        host, _, process = self.conductor.partition(":")
        if host != socket.gethostname():
            return True
        return process.isdecimal() and len(process) < 12 and psutil.pid_exists(int(process))


def note(job: Job, event: str, engine: str, handle: str, look: Look | None = None, cause: str = "") -> None:
    """Add a line; a disk that does not take it stops no run."""
    row = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "event": event,
        "engine": engine,
        "handle": handle,
        "where": look.where if look else "",
        "code": look.code if look else None,
        "cause": cause,
        "conductor": f"{socket.gethostname()}:{os.getpid()}",
    }
    with contextlib.suppress(SystemProblem):
        append(job.folder / JOBS, row)


def newest(folder: Path) -> Entry | None:
    """The newest line of a run's log; None: it has none, or it cannot be read."""
    try:
        rows = read_lines(folder / JOBS)
    except RunError:
        return None
    if not rows:
        return None
    return Entry(**{name: _text(rows[-1], name) for name in Entry.__dataclass_fields__})


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""
