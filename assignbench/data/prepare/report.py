"""What a preparation tells while it goes on; how it is shown is the caller's affair."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Report(Protocol):
    """Receives lines and progress."""

    def say(self, line: str) -> None:
        """One line of text."""
        ...

    def track(self, what: str, total: int | None, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Follow one piece of work; the function takes the bytes done so far, which may also fall.

        Args:
            what: name of the work.
            total: bytes of all of it; None: not known.
            done: bytes that are done already.
        """
        ...
