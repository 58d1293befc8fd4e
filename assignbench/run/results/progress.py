"""How far a run is, for others to read: ``progress.json`` in its folder while a process is at it.

It tells a person, and decides nothing: a run goes on from its checkpoints, and is done by its record.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE = "progress.json"


@dataclass(frozen=True)
class Progress:
    """How far a run was when it was last looked at."""

    iteration: int  # optimizer steps done
    iterations: int  # of the whole training
    seconds_per_iteration: float | None  # lately; None: not known yet
    phase: str  # reading, training or evaluating
    host: str
    pid: int
    written: str  # ISO 8601 with time zone

    @property
    def left(self) -> float | None:
        """Seconds of training that are left; None: not known."""
        if self.seconds_per_iteration is None:
            return None
        return self.seconds_per_iteration * (self.iterations - self.iteration)


def progress_now(iteration: int, iterations: int, seconds_per_iteration: float | None, phase: str) -> Progress:
    """Of this process, at this time."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Progress(iteration, iterations, seconds_per_iteration, phase, socket.gethostname(), os.getpid(), now)


def write_progress(folder: Path, progress: Progress) -> None:
    """Replace what is there; a disk that does not take it stops nothing."""
    temporary = folder / f".{FILE}.tmp"
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        temporary.replace(folder / FILE)


def read_progress(folder: Path) -> Progress | None:
    """How far a run is; None: nobody says, or it cannot be read."""
    try:
        progress = Progress(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    counts = (progress.iteration, progress.iterations)
    return progress if all(type(count) is int for count in counts) else None


def remove_progress(folder: Path) -> None:
    """Nobody is at the run any more."""
    for name in (FILE, f".{FILE}.tmp"):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
