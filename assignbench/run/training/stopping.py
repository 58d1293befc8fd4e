"""SIGTERM and SIGUSR1: what a scheduler sends before it takes the machine away.

A command that trains ends by `Stopped` when it gets one: at once, but in the training loop, which asks after each
iteration, with all its processes, and saves a checkpoint first. A second signal ends the loop at once, too.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from assignbench.errors import Stopped
from assignbench.machine import STOPS

SAME = 3.0  # seconds: launchers and shells send one wish twice, to the process and to its group


@dataclass
class _Heard:
    """What this process was told; of the process, as signals are."""

    name: str | None = None  # of the first signal
    at: float = 0.0  # when the latest one came
    kept: bool = False  # the training loop is at work: it asks


_heard = _Heard()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """For the time of the block the signals end it by `Stopped`; then what they did before is what they do again.

    Without effect in other threads than the main one, which alone hears of signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _hear) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _heard.name, _heard.at, _heard.kept = None, 0.0, False


@contextlib.contextmanager
def kept_for_the_loop() -> Iterator[None]:
    """In the block a signal is kept until somebody asks by `stop_asked`."""
    _heard.kept = True
    try:
        yield
    finally:
        _heard.kept = False


def stop_asked() -> str | None:
    """Name of the signal that this process got; None: none."""
    return _heard.name


def _hear(number: int, _: FrameType | None) -> None:
    now, first = time.monotonic(), _heard.name is None
    if not first and now - _heard.at < SAME:
        return
    _heard.name, _heard.at = _heard.name or signal.Signals(number).name, now
    if not (first and _heard.kept):
        raise Stopped(_heard.name)
