"""Where runs are computed, as `run` and `reproduce` let a user choose it."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.output import exactly
from assignbench.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from assignbench.engines.bring import Arguments
    from assignbench.engines.engine import Engine
    from assignbench.run.matrix.matrix import Conduct
    from assignbench.run.matrix.plan import Run

OnOption = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="ENGINE",
        help="What computes the runs: local (this machine), slurm, ray, or ray:ADDRESS.",
        autocompletion=completing.engines,
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
    str | None,
    typer.Option(
        "--only",
        metavar="RUN",
        help="Only this one of the runs, by its id.",
        show_default=False,
        autocompletion=completing.run_ids,
    ),
]
TetheredOption = Annotated[
    bool, typer.Option("--tethered", hidden=True, help="Stop, with a checkpoint, when standard input ends.")
]


@dataclass(frozen=True)
class Spread:
    """Where a command's runs are to be computed, as its options say."""

    on: str  # name of an engine
    jobs: int | None  # how many at a time; None: not said
    needs: tuple[str, ...]  # of a job
    only: str | None  # the run that alone is wanted: a job, which no engine gives away again
    tethered: bool  # whether this process is a job of an engine

    @property
    def asked(self) -> bool:
        """Whether an engine, or anything of one, was asked for."""
        return self.on != "local" or self.jobs is not None or bool(self.needs)

    def engine(self, device: str, precision: str) -> "Engine | None":
        """The engine that was asked for; None: this process computes, one run after another.

        Args:
            device: auto, cpu or cuda.
            precision: of the recipe; ``auto`` is settled by the machine that plans, which must be one of those that
                train.

        Raises:
            UsageError: options that do not go together.
            SystemProblem: the engine is not installed, or cannot be reached.
        """
        if self.tethered:
            from assignbench.engines.tether import tether

            tether()
        launched = os.environ.get("WORLD_SIZE", "1") not in ("", "1")
        if self.only is None and not launched:
            from assignbench.engines.choose import engine_of

            return engine_of(self.on, self.jobs, self.needs, device=device, precision=precision)
        if self.asked:
            other = "a launcher has started several processes" if self.only is None else "--only names one run"
            raise UsageError(f"{other}, and --on, --jobs and --needs spread many runs; leave one of the two out")
        return None

    def print_jobs(self, plan: "Callable[[], Sequence[Run]]", output: Path, arguments: "Arguments") -> None:
        """Print one command for each run that has no record, for whatever starts it.

        Raises:
            UsageError: an engine was asked for.
            RunError: a record cannot be used.
        """
        if self.asked:
            raise UsageError("--print-jobs prints commands and starts none; leave --on, --jobs and --needs out")
        from assignbench.engines.bring import lines_of_jobs

        exactly("".join(f"{line}\n" for line in lines_of_jobs(plan(), output, arguments)))


def require_plan(as_json: bool, *, dry_run: bool, print_jobs: bool) -> None:
    """Of commands that train, only the plan is a document.

    Raises:
        UsageError: it is not asked for.
    """
    if as_json and print_jobs:
        raise UsageError("--print-jobs prints commands for a shell, and --json a document; leave one of the two out")
    if as_json and not dry_run:
        raise UsageError("--json prints the plan: add --dry-run; how runs stand is said by assignbench status --json")


def runs_as_facts(runs: "Iterable[Run]", output: Path) -> list[dict[str, object]]:
    """Planned runs for programs."""
    from assignbench.run.matrix.matrix import state_in_words

    return [
        {
            "run": run.run_id,
            "strategy": run.candidate.label,
            "dataset": run.data,
            "recipe": run.recipe.name,
            "protocol": "controlled" if run.candidate.protocol.preset is None else "published",
            "preset": None if run.candidate.protocol.preset is None else run.candidate.protocol.preset_name,
            "seed": run.seed,
            "precision": run.recipe.recipe.train.precision,
            "iterations": run.recipe.recipe.train.iterations,
            "images": {"train": len(run.splits.train), "evaluation": len(run.splits.evaluation)},
            "folder": str(output / run.run_id),
            "state": state_in_words(run, output),
        }
        for run in runs
    ]


def conduct_by(engine: "Engine | None", output: Path, arguments: "Arguments", screen: "Console") -> "Conduct | None":
    """What brings runs to their records by an engine; None without one: this process does."""
    if engine is None:
        return None
    from assignbench.engines.bring import bring

    return partial(bring, output=output, engine=engine, arguments=arguments, console=screen)
