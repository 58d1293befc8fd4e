"""One process at a time, over all machines that share a disk.

The lock is filelock's lease: a file made exclusively, which any file system can, that says who holds it and is touched
every few seconds. A lease that nobody touches for a while, or that a dead process of this machine left, is void.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import SoftFileLease, Timeout

from assignbench.disk import explained
from assignbench.files import require_regular


@dataclass(frozen=True)
class Rhythm:
    """Seconds; two processes must agree on ``dead``."""

    poll: float = 1.0  # between two looks at a lock that is taken
    beat: float = 10.0  # between two touches of the lease
    dead: float = 120.0  # without a touch; longer than network file systems remember attributes


USUAL = Rhythm()


class Taken(Exception):  # noqa: N818  # a state of things, not a fault
    """Somebody else holds the lock, and nobody wants to wait."""


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[str], bool], rhythm: Rhythm = USUAL) -> Iterator[None]:
    """Hold the lock, as soon as nobody else does.

    Args:
        path: the lease, on the disk that is shared.
        waiting: is told who holds it at every look, and says whether to look again.
        rhythm: how often to look.

    Raises:
        Taken: ``waiting`` did not want to.
        SystemProblem: the lease cannot be written.
    """
    lease = SoftFileLease(path, lease_duration=rhythm.dead, heartbeat_interval=rhythm.beat)
    while not _acquired(lease, path):
        holder = holder_of(path) or "another process"
        if not waiting(holder):
            raise Taken(holder)
        time.sleep(rhythm.poll)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a disk that is away: the lease will be void soon
            lease.release()


def patiently(say: Callable[[str], None]) -> Callable[[str], bool]:
    """For `exclusive`: wait as long as it takes, and say once for whom."""
    told = False

    def waiting(holder: str) -> bool:
        nonlocal told
        if not told:
            say(holder)
        told = True
        return True

    return waiting


def holder_of(path: Path) -> str | None:
    """Who holds a lock: to be shown, not to be relied on; None: nobody that is known."""
    owner = SoftFileLease(path).owner
    if owner is None:
        return None
    host = owner.hostname.partition("?")[0]  # filelock adds the number of a container
    if host == socket.gethostname() and not psutil.pid_exists(owner.pid):
        return None  # it died
    return f"process {owner.pid} on {host}"


def _acquired(lease: SoftFileLease, path: Path) -> bool:
    with explained(path, "lock"):
        try:
            lease.acquire(blocking=False)
        except Timeout:
            with contextlib.suppress(FileNotFoundError):
                _mark_unwritten(path)
            return False
    owner = lease.owner
    if owner is not None and owner.token == lease.token:
        return True
    with contextlib.suppress(OSError):  # another process gave us up, between our making the file and writing it
        lease.release()
    return False


def _mark_unwritten(path: Path) -> None:
    """Make an empty lease, of a process that died after making it, one that filelock takes over as damaged in seconds.

    An empty one it would respect for ever. An end of a line harms no lease that is written in this moment, before or
    behind it.
    """
    require_regular(path)
    if path.stat().st_size == 0:
        with path.open("ab") as file:
            file.write(b"\n")
