"""The pictures of a matrix, looked at once before anything trains; see `assignbench.data.decoding`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from assignbench.data.dataset import Splits
from assignbench.data.decoding import Watch, see_pictures
from assignbench.machine import own_cores
from assignbench.run.training.processes import main_process
from assignbench.run.training.reporter import clock


def contents(data: Iterable[Splits], accelerator: Accelerator, console: Console) -> dict[str, str]:
    """Look at the pictures of each data set and say so; the main process looks, the others wait.

    Returns:
        Spec of the data set → `Seen.content`; empty on the other processes.

    Raises:
        DataError: as `see_pictures`.
    """
    found: dict[str, str] = {}
    with main_process(accelerator) as looks:
        for splits in data if looks else ():
            found[splits.spec] = _content(splits, console)
    return found


def _content(splits: Splits, console: Console) -> str:
    name, start = splits.train.name, time.perf_counter()
    with _watched(console, f"{name}: pictures") as watch:
        seen = see_pictures(splits, threads=own_cores(), watch=watch)
    known = len(splits.evaluation) - seen.decoded
    before = f" ({known} of them earlier, by content)" if known else ""
    console.print(
        f"{name}: {len(splits.evaluation)} evaluation pictures can be decoded{before}, {seen.looked_at} training "
        f"pictures have whole files, {clock(time.perf_counter() - start)}"
    )
    for remark in seen.remarks:
        console.print(f"note: {remark}", soft_wrap=True)
    return seen.content


@contextmanager
def _watched(console: Console, what: str) -> Iterator[Watch]:
    """A live line in a terminal; nothing elsewhere."""
    if not console.is_terminal or console.quiet:
        yield lambda _done, _all: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as live:
        task = live.add_task(what, total=None)
        yield lambda done, total: live.update(task, completed=done, total=total)
