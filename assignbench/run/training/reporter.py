"""What a person sees while a network trains: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Reporter:
    """Shows iterations; silent on every process but the first."""

    def __init__(self, console: Console, first: int, last: int, live: Progress | None) -> None:
        self.console, self.first, self.last, self.live = console, first, last, live
        self.start = time.perf_counter()
        self.task = live.add_task("", total=last, completed=first, numbers="") if live else None

    def show(
        self,
        iteration: int,
        losses: Mapping[str, float],
        rate: float,
        images_per_second: float,
        data_fraction: float,
    ) -> None:
        """One line: losses by name, learning rate, speed, fraction of the time spent waiting for data."""
        terms = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        numbers = f"{terms}  lr {rate:.2e}  {images_per_second:.1f} images/s  data {data_fraction:.0%}"
        if self.live and self.task is not None:
            self.live.update(self.task, completed=iteration, numbers=numbers)
        else:
            done = max(1, iteration - self.first)
            left = (time.perf_counter() - self.start) / done * (self.last - iteration)
            self.console.print(f"{iteration}/{self.last}  {numbers}  left {clock(left)}")

    def say(self, line: str) -> None:
        """A line of its own."""
        self.console.print(line, soft_wrap=True)

    def advance(self, iteration: int) -> None:
        """Move the bar between two lines."""
        if self.live and self.task is not None:
            self.live.update(self.task, completed=iteration)


@contextmanager
def reporting(console: Console, first: int, last: int) -> Iterator[Reporter]:
    """A reporter, with a live bar when the console is a terminal."""
    if not console.is_terminal or console.quiet:
        yield Reporter(console, first, last, None)
        return
    columns = (
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[numbers]}"),
    )
    with Progress(*columns, console=console, transient=True) as live:
        yield Reporter(console, first, last, live)


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
