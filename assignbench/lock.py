"""One process at a time, over all machines that share a disk.

Two locks, because neither does alone. The file system's own (flock) is free the moment its holder dies, but
some network file systems keep it to one machine or lack it. So its holder also keeps a lease: a file made
exclusively, which any file system can, and touched every few seconds. A lease that nobody touches for a while,
or that a dead process of this machine left, is void.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from assignbench.disk import explained, read_json

_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Rhythm:
    """Seconds."""

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
        path: the lock's file, on the disk that is shared.
        waiting: is told who holds it at every look, and says whether to look again.
        rhythm: how often to look.

    Raises:
        Taken: ``waiting`` did not want to.
        SystemProblem: the lock's files cannot be written.
    """

    def wait() -> None:
        holder = holder_of(path) or "another process"
        if not waiting(holder):
            raise Taken(holder)
        time.sleep(rhythm.poll)

    with _flock(path, wait) as flock, _lease(_lease_of(path), wait, flock, rhythm):
        yield


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
    """Who holds a lock, by its lease alone: to be shown, not to be relied on; None: nobody that is known."""
    holder = read_json(_lease_of(path))
    if not {"pid", "host"} <= holder.keys():
        return None
    if holder.get("machine") == _machine() and not Path(f"/proc/{holder['pid']}").exists() and Path("/proc").is_dir():
        return None  # it died
    return f"process {holder['pid']} on {holder['host']}"


def _lease_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lease")


@contextlib.contextmanager
def _flock(path: Path, wait: Callable[[], None]) -> Iterator[bool]:
    """The file system's lock; False where there is none."""
    lock = FileLock(path)
    with explained(path, "lock"):
        while not (locked := _acquired(lock)):
            if locked is None:
                break
            wait()
    try:
        yield bool(locked)
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool | None:
    """True, or False for a lock that is taken, or None where the file system has no locks."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return None
        raise
    return True


@contextlib.contextmanager
def _lease(path: Path, wait: Callable[[], None], flock: bool, rhythm: Rhythm) -> Iterator[None]:
    """The exclusive file, touched for as long as the block runs."""
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "token": secrets.token_hex(8)}
    seen, since = None, time.monotonic()
    while not _claim(path, mine):
        # Opened, not only looked at: that makes network file systems ask for the present state. Only whether it
        # changes is looked at: the clocks of two machines differ.
        with contextlib.suppress(OSError), path.open("rb") as file:
            look = os.fstat(file.fileno()).st_mtime_ns
            if look != seen:
                seen, since = look, time.monotonic()
        holder = read_json(path)
        dead_here = flock and holder.get("machine") == mine["machine"]
        if dead_here or time.monotonic() - since > rhythm.dead:
            with explained(path, "remove"):
                path.unlink(missing_ok=True)
        else:
            wait()
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, done, rhythm.beat), daemon=True)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        if read_json(path) == mine:
            with contextlib.suppress(OSError):
                path.unlink()


def _claim(path: Path, mine: dict[str, object]) -> bool:
    with explained(path, "lock"):
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(mine, file)
        except FileExistsError:
            return False
    return True


def _beat(path: Path, done: threading.Event, seconds: float) -> None:
    while not done.wait(seconds):
        with contextlib.suppress(OSError):  # a disk that is away for a moment
            os.utime(path)


def _machine() -> str:
    """What all processes under one kernel share, containers, too."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
