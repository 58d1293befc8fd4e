"""How far a transfer is: bars in a terminal, plain lines elsewhere; on stderr, stdout is for results."""

import contextlib
import time
from collections.abc import Callable, Iterator

EVERY = 30.0  # seconds between two plain lines


class Progress:
    """Shows what `assignbench.data.prepare` reports."""

    def __init__(self) -> None:
        from assignbench.cli.screen import Screen

        self._console = Screen(stderr=True, soft_wrap=True)

    def say(self, line: str) -> None:
        """One line of text."""
        self._console.print(line)

    @contextlib.contextmanager
    def track(self, what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
        """Follow one piece of work, in bytes."""
        with self._bar(what, total, done) if self._console.is_terminal else self._lines(what, total, done) as advance:
            yield advance

    @contextlib.contextmanager
    def _bar(self, what: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(what, total=total, completed=done)
            yield lambda count: bar.update(task, completed=count)

    @contextlib.contextmanager
    def _lines(self, what: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
        from assignbench.disk import human

        start = last = time.monotonic()
        first, now = done, done

        def advance(count: int) -> None:
            nonlocal last, now
            now = count
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                speed = max(0.0, count - first) / (last - start)
                of_all = f" of {human(total)}" if total else ""
                left = f", {(total - count) / speed / 60:.0f} min left" if total and speed else ""
                self.say(f"{what}: {human(count)}{of_all}, {human(round(speed))}/s{left}")

        self.say(f"{what}{f', {human(total)}' if total else ''}{f', from {human(done)} on' if done else ''}")
        yield advance
        if now > first and time.monotonic() - start >= EVERY:
            self.say(f"{what}: {human(now)}, done")
