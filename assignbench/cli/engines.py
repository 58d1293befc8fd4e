"""Where runs are computed, as `run` and `reproduce` let a user choose it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.errors import UsageError

if TYPE_CHECKING:
    from assignbench.engines.engine import Engine

OnOption = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="ENGINE",
        help="What computes the runs: local (this machine), slurm, ray, or ray:ADDRESS.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="local: how many runs at a time, each a process of its own.",
        show_default="one for each GPU, else one",
    ),
]
NeedsOption = Annotated[
    list[str],
    typer.Option(
        "--needs",
        metavar="KEY=VALUE|FILE",
        help="What one job asks for: partition=gpu, time=8:00:00, gpus=1, cpus=8, account=A, … or a YAML file.",
        show_default=False,
    ),
]
PrintJobsOption = Annotated[
    bool, typer.Option("--print-jobs", help="Print one command for each run that is not done, and start none.")
]
OnlyOption = Annotated[
    str | None, typer.Option("--only", metavar="RUN", help="Only this one of the runs, by its id.", show_default=False)
]
TetheredOption = Annotated[
    bool, typer.Option("--tethered", hidden=True, help="Stop, with a checkpoint, when standard input ends.")
]


def engine_asked(
    on: str, jobs: int | None, needs: Sequence[str], *, device: str, precision: str, only: str | None, tethered: bool
) -> "Engine | None":
    """The engine that was asked for; None: this process computes, one run after another.

    Args:
        on: name of an engine.
        jobs: how many at a time; None: not said.
        needs: of a job.
        device: auto, cpu or cuda.
        precision: of the recipe; ``auto`` is settled by the machine that plans, which must be one of those that train.
        only: the run that alone is wanted: a job, which no engine gives away again.
        tethered: whether this process is a job of an engine.

    Raises:
        UsageError: options that do not go together.
        SystemProblem: the engine is not installed, or cannot be reached.
    """
    import os

    asked = on != "local" or jobs is not None or bool(needs)
    launched = int(os.environ.get("WORLD_SIZE", "1") or 1) > 1
    if tethered:
        from assignbench.engines.tether import tether

        tether()
    if only is not None or launched or tethered:
        if asked:
            other = "--only names one run" if only is not None else "a launcher has started several processes"
            raise UsageError(f"{other}, and --on, --jobs and --needs spread many runs; leave one of the two out")
        return None
    from assignbench.engines.choose import engine_of

    return engine_of(on, jobs, needs, device=device, precision=precision)
