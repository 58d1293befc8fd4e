"""Jobs of a Ray cluster: one that runs already, or one of this machine alone; GPUs are resources.

A job is a task; its worker starts the job's command as a process that ends with it. A node that does not see the output
folder computes the run in a folder of its own, and when the job ends, what is in it comes back through Ray's object
store. Such a run cannot go on elsewhere: if its node is lost, it starts anew.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import socket
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assignbench.engines.engine import Look
from assignbench.engines.job import Job, Needs
from assignbench.engines.tether import let_go, start
from assignbench.errors import DeviceFault, RunError, SystemProblem
from assignbench.files import make_folder, write_text_atomic, written
from assignbench.machine import THREADS
from assignbench.run.results.record import FILE

PATIENCE = 120.0  # seconds for jobs to save their checkpoints and leave, before they are killed
QUIET = "RAY_USAGE_STATS_ENABLED"  # "0": Ray's makers are told nothing
DATA = "ASSIGNBENCH_DATA"  # which may say where the data sets are


@dataclass(frozen=True)
class Here:
    """Where a command was given, which a node may see or not."""

    folder: Path  # in which it was given
    token: Path  # a file beside the folders of runs
    text: str  # what is in it


@dataclass
class _Task:
    job: Job
    told: Any  # a generator of references: to where the job runs, then to how it ended
    look: Look


class OnRay:
    """A Ray cluster."""

    name = "ray"
    survives = False
    poll = 0.5

    def __init__(self, address: str | None, needs: Needs) -> None:
        """``address``: of a Ray that runs; None: start one here. Raises SystemProblem without Ray or an answer."""
        try:
            import ray
        except ImportError:
            raise SystemProblem("--on ray needs Ray: pip install 'assignbench[ray]'") from None
        os.environ.setdefault(QUIET, "0")
        try:
            _knock(address)  # Ray itself would try for minutes
            ray.init(address or "local", log_to_driver=False, logging_level=logging.CRITICAL)
        except (OSError, RuntimeError, ValueError) as error:
            raise SystemProblem(f"--on ray: no Ray answers at {address}: {str(error).partition(chr(10))[0]}") from None
        self._room = {"CPU": float(needs.threads or 1), "GPU": float(needs.gpus or 0)}
        short = [kind for kind, count in self._room.items() if count > ray.cluster_resources().get(kind, 0)]
        if address is None and short:
            ray.shutdown()
            raise SystemProblem(f"--on ray: a job needs {self._room[short[0]]:g} {short[0]}, more than there are here")
        self._environment = {THREADS: needs.threads} | ({DATA: os.environ[DATA]} if DATA in os.environ else {})
        self._here: dict[Path, Here] = {}
        self._tasks: dict[str, _Task] = {}

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """As `Engine.submit`."""
        import ray

        options = {"num_cpus": self._room["CPU"], "num_gpus": self._room["GPU"], "num_returns": "streaming"}
        remote = ray.remote(work).options(**options, max_retries=0)  # what follows an end is decided elsewhere
        handles = []
        for job in jobs:
            handles.append(secrets.token_hex(8))
            told = remote.remote(job, self._environment, self._seen_from(job.folder.parent))
            self._tasks[handles[-1]] = _Task(job, told, Look("queued"))
        return handles

    def look(self, handles: Sequence[str]) -> list[Look]:
        """As `Engine.look`."""
        return [self._look(handle) for handle in handles]

    def stop(self, handles: Sequence[str]) -> None:
        """As `Engine.stop`."""
        import ray

        tasks = [self._tasks[handle] for handle in handles if handle in self._tasks]
        for task in tasks:
            ray.cancel(task.told)
        end = time.monotonic() + PATIENCE
        while tasks and time.monotonic() < end:
            tasks = [task for task in tasks if not ray.wait([task.told.completed()], timeout=0)[0]]
            time.sleep(0.1)
        for task in tasks:
            ray.cancel(task.told, force=True)

    def close(self) -> None:
        """As `Engine.close`."""
        import ray

        self.stop(list(self._tasks))
        ray.shutdown()
        for here in self._here.values():
            here.token.unlink(missing_ok=True)

    def _look(self, handle: str) -> Look:
        import ray
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        if handle not in self._tasks:
            return Look("ended", cause="this process does not know it")
        task = self._tasks[handle]
        while task.look.state != "ended" and ray.wait([task.told], timeout=0)[0]:
            try:
                told = ray.get(next(task.told))
            except OutOfMemoryError:
                task.look = Look("ended", task.look.where, DeviceFault.exit_code, "its node was short of memory")
            except RayTaskError as error:
                task.look = Look("ended", task.look.where, 1, str(error.cause).replace("\n", "; "))
            except RayError as error:
                task.look = Look("ended", task.look.where, None, f"its worker was lost ({type(error).__name__})")
            else:
                if isinstance(told, str):
                    task.look = Look("running", told)
                else:
                    code, packed = told
                    unpack(packed, task.job.folder)
                    task.look = Look("ended", task.look.where, code)
        if task.look.state == "ended":
            del self._tasks[handle]
        return task.look

    def _seen_from(self, output: Path) -> Here:
        """With a file in the output folder by which a node can tell whether it sees that folder."""
        if output not in self._here:
            text = secrets.token_hex(16)
            here = Here(Path.cwd(), output / f".seen-{text[:8]}", text)
            make_folder(output)
            write_text_atomic(here.token, text)
            self._here[output] = here
        return self._here[output]


def _knock(address: str | None) -> None:
    """Raises OSError if nobody listens at ``host:port``; other addresses are for Ray to find."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def work(job: Job, environment: Mapping[str, str | None], here: Here) -> Iterator[str | tuple[int, bytes]]:
    """On a node: tell where the job runs, run it, and tell its exit code and what is to be brought back.

    Args:
        job: what to do.
        environment: of the job, beside that of the node.
        here: who asks for it.
    """
    import ray

    yield f"{socket.gethostname()}, node {ray.get_runtime_context().get_node_id()[:8]}"
    where = here.folder if here.folder.is_dir() else None
    if _seen(here):
        yield _run(job, environment, where), b""
        return
    with tempfile.TemporaryDirectory(prefix="assignbench-") as scratch:
        own = moved(job, here.folder, Path(scratch))
        yield _run(own, environment, where), pack(own.folder)


def _run(job: Job, environment: Mapping[str, str | None], where: Path | None) -> int:
    process = start(job, environment, where)
    try:
        while process.poll() is None:
            time.sleep(0.2)  # between two of its instructions Python can be told that the task is cancelled
    except KeyboardInterrupt:  # which is how Ray tells it
        let_go(process)
        process.wait()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _seen(here: Here) -> bool:
    try:
        return here.token.read_text() == here.text
    except OSError:
        return False


def moved(job: Job, folder: Path, output: Path) -> Job:
    """The job with another output folder, in place of the one that it names relative to ``folder``."""
    place = job.arguments.index("--output") + 1
    inside = job.folder.relative_to(folder / job.arguments[place])
    arguments = (*job.arguments[:place], str(output), *job.arguments[place + 1 :])
    return replace(job, arguments=arguments, folder=output / inside)


def pack(folder: Path) -> bytes:
    """All files of a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def unpack(packed: bytes, folder: Path) -> None:
    """Write the files of `pack` into a folder, each whole or not at all; the record last: it says that all are there.

    Args:
        packed: of `pack`; empty: there is nothing to be written.
        folder: where to.

    Raises:
        SystemProblem: the disk is full, the folder is read-only, …
        RunError: a file is to lie elsewhere.
    """
    if not packed:
        return
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        files = [one for one in archive.getmembers() if one.isfile()]
        for one in sorted(files, key=lambda one: Path(one.name).name == FILE):
            target = (folder / one.name).resolve()
            content = archive.extractfile(one)
            if content is None or not target.is_relative_to(folder.resolve()):
                raise RunError(f"{one.name} lies outside the run's folder; the node is not to be trusted")
            with written(target) as temporary:
                temporary.write_bytes(content.read())
