"""From the runs of a matrix to jobs, and back: what `run` and `reproduce` give to an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from assignbench.engines.conduct import conduct
from assignbench.engines.engine import Engine
from assignbench.engines.job import Job
from assignbench.engines.view import watching
from assignbench.run.matrix.ended import Ended
from assignbench.run.matrix.matrix import is_done
from assignbench.run.matrix.plan import Run

Arguments = Callable[[Run], tuple[str, ...]]  # of the command that brings one run to its record


def bring(
    runs: Sequence[Run], output: Path, engine: Engine, arguments: Arguments, console: Console
) -> Iterator[tuple[Run, Ended]]:
    """Let an engine bring runs to their records, and yield each as it ends.

    Args:
        runs: those that have no record.
        output: folder of their folders.
        engine: what computes them; it is closed in the end.
        arguments: of assignbench, for one of the runs.
        console: to talk to.

    Raises:
        SystemProblem: the engine cannot be reached, or a log cannot be written.
    """
    by_id = {run.run_id: run for run in runs}
    jobs = [job_of(run, output, arguments) for run in runs]
    with watching(jobs, console) as watch:
        for job, ended in conduct(jobs, engine, lambda job: is_done(by_id[job.run_id], output), watch):
            yield by_id[job.run_id], ended


def job_of(run: Run, output: Path, arguments: Arguments) -> Job:
    """One run as a job."""
    return Job(run.run_id, run.title, arguments(run), (output / run.run_id).absolute())


def lines_of_jobs(runs: Sequence[Run], output: Path, arguments: Arguments) -> list[str]:
    """For a shell: one command for each run that has no record.

    Raises:
        RunError: a record cannot be used.
    """
    return [job_of(run, output, arguments).line for run in runs if not is_done(run, output)]
