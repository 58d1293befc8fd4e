"""How far a run is, for others to read: ``progress.json`` in its folder while a process is at it.

It tells a person, and decides nothing: a run goes on from its checkpoints, and is done by its record.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE = "progress.json"
EVERY = 2.0  # seconds between two writes


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


class ProgressFile:
    """Says how far a run is as often as it is worth it: every `EVERY` seconds, and when another phase begins."""

    def __init__(self, folder: Path | None, iterations: int) -> None:
        """Of the run in ``folder`` (None: nothing is ever written), which has so many iterations."""
        self._folder, self._iterations = folder, iterations
        self._last: tuple[str, int, float] | None = None  # phase, iteration and time of what was said
        self._pace: float | None = None

    def tell(self, phase: str, iteration: int) -> None:
        """Say where the run stands; costs nothing when it was said a moment ago."""
        if self._folder is None:
            return
        now = time.monotonic()
        if self._last is not None:
            before, done, then = self._last
            if phase == before and now - then < EVERY:
                return
            if phase == before == "training" and iteration > done:
                self._pace = (now - then) / (iteration - done)
        self._last = (phase, iteration, now)
        write_progress(self._folder, progress_now(iteration, self._iterations, self._pace, phase))

    def remove(self) -> None:
        """The run has ended, well or not."""
        if self._folder is not None:
            remove_progress(self._folder)
