"""How far a run is, in a small file for whoever else wants to know; nothing depends on it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

FILE = "progress.json"
EVERY = 2.0  # seconds between two writes

Phase = Literal["reading", "training", "evaluating"]


@dataclass(frozen=True)
class RunProgress:
    """Where a run stands. Training says so every `EVERY` seconds; the other phases when they begin."""

    iteration: int  # optimizer steps done
    iterations: int  # of all
    seconds_per_iteration: float | None  # lately; None: not known yet
    phase: Phase
    host: str
    pid: int  # of the main process
    written: datetime


class ProgressFile:
    """Writes ``progress.json`` of a run's folder, as often as it is worth it; a failure to write stops nothing."""

    def __init__(self, folder: Path | None, iterations: int) -> None:
        """A file of ``folder`` (None: nothing is ever written), of a run of so many iterations."""
        self._file = None if folder is None else folder / FILE
        self._iterations = iterations
        self._last: tuple[Phase, int, float] | None = None  # what was written, and when
        self._pace: float | None = None

    def tell(self, phase: Phase, iteration: int) -> None:
        """Say where the run stands; costs nothing when it was said a moment ago."""
        if self._file is None:
            return
        now = time.monotonic()
        if self._last is not None:
            before, done, then = self._last
            if phase == before and now - then < EVERY:
                return
            if phase == before == "training" and iteration > done:
                self._pace = (now - then) / (iteration - done)
        self._last = (phase, iteration, now)
        host, written = socket.gethostname(), datetime.now(UTC)
        one = RunProgress(iteration, self._iterations, self._pace, phase, host, os.getpid(), written)
        with contextlib.suppress(OSError):
            temporary = _beside(self._file)
            temporary.write_bytes(msgspec.json.encode(one))
            temporary.replace(self._file)  # whole for every reader; a power cut may take it

    def remove(self) -> None:
        """The run has ended, well or not; also takes away what a process that was killed has left."""
        if self._file is not None:
            for file in (self._file, _beside(self._file)):
                with contextlib.suppress(OSError):
                    file.unlink()


def progress_of(folder: Path) -> RunProgress | None:
    """Where a run stands, as it last said; None: it does not say.

    A process that was killed leaves its last word: whether ``pid`` still runs on ``host`` is the caller's to ask.
    """
    file = folder / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunProgress) if file.is_file() else None
    except (OSError, msgspec.MsgspecError, ValueError):  # gone, or damaged
        return None


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.tmp")
