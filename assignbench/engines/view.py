"""What a person sees while jobs are at work: one live table in a terminal, a line for each event elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from assignbench.engines.conduct import Watcher
from assignbench.engines.engine import Look
from assignbench.engines.job import Job
from assignbench.run.results.progress import RunProgress, progress_of
from assignbench.run.results.record import FILE, read_record
from assignbench.run.training.reporter import clock

MOST = 40  # running jobs that are shown one by one
LONGEST = 1e9  # seconds that are told; more stands in no sound file


class View:
    """How all jobs stand."""

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self.console = console
        self.looks: dict[str, tuple[Job, Look]] = {job.run_id: (job, Look("queued")) for job in jobs}

    def __call__(self, job: Job, look: Look, said: str) -> None:
        """As `Watcher`."""
        self.looks[job.run_id] = (job, look)
        line = said or f"done, AP {points(read_record(job.folder / FILE).metrics['AP'])}, {job.folder}"
        self.console.print(Text.assemble((job.title, "bold"), f": {line}"), soft_wrap=True)

    def __rich__(self) -> Table:
        """The running jobs, and the number of all others."""
        running = [(job, look) for job, look in self.looks.values() if look.state == "running"]
        queued = sum(look.state == "queued" for _, look in self.looks.values())
        ended = len(self.looks) - len(running) - queued
        table = Table(
            *("run", "progress", "left", "where"),
            title=f"{ended} ended, {len(running)} running, {queued} queued",
            title_justify="left",
            box=None,
        )
        for job, look in running[:MOST]:
            progress = progress_of(job.folder)
            table.add_row(Text(job.title), far(progress), left(progress), Text(look.where))
        return table


@contextmanager
def watching(jobs: Sequence[Job], console: Console) -> Iterator[Watcher]:
    """Show jobs while the block lasts."""
    view = View(jobs, console)
    if not console.is_terminal or console.quiet:
        yield view
        return
    with Live(view, console=console, transient=True, refresh_per_second=1):
        yield view


def points(value: float | None) -> str:
    """A metric in percent; "–": there was no ground truth."""
    return "–" if value is None else f"{100 * value:.1f}"


def far(progress: RunProgress | None) -> str:
    """How far a run is, in words."""
    if progress is None:
        return "starting"
    if progress.phase != "training":
        return progress.phase
    return f"{progress.iteration:,} of {progress.iterations:,}"


def left(progress: RunProgress | None) -> str:
    """How long the training still takes, in words; "": not known."""
    if progress is None or progress.phase != "training" or progress.seconds_per_iteration is None:
        return ""
    seconds = progress.seconds_per_iteration * (progress.iterations - progress.iteration)
    return clock(seconds) if 0 <= seconds < LONGEST else ""
