"""``assignbench reproduce``: the paper's tables, each by one command."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import (
    DataRootOption,
    Device,
    DeviceOption,
    JsonOption,
    SetOption,
    comma_list,
    number_list,
    written_option,
)
from assignbench.cli.engines import (
    JobsOption,
    NeedsOption,
    OnlyOption,
    OnOption,
    PrintJobsOption,
    Spread,
    TetheredOption,
    conduct_by,
    require_plan,
    runs_as_facts,
)
from assignbench.errors import UsageError

if TYPE_CHECKING:
    from assignbench.reproduce.sheet import Sheet
    from assignbench.run.matrix.plan import Run

EXAMPLES = r"""[bold]Examples[/bold]

assignbench reproduce all --scale smoke   [dim]# does every row run? minutes on a CPU[/dim]

assignbench reproduce table3 --seeds 0,1,2,3,4   [dim]# the centre prior, on generated pictures[/dim]

assignbench reproduce table2,table9 --scale full --dry-run   [dim]# what COCO would take[/dim]
"""


class Scale(StrEnum):
    """How large the experiments are."""

    SMOKE = "smoke"
    SMALL = "small"
    FULL = "full"


def reproduce(
    experiment: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT",
            help="table1 … table10, all, or a YAML file like theirs.",
            autocompletion=completing.experiments,
        ),
    ],
    scale: Annotated[
        Scale,
        typer.Option(
            metavar="smoke|small|full",
            help="smoke: seconds a run on a CPU; small: minutes a run on a GPU, from scratch; full: the paper's.",
        ),
    ] = Scale.SMALL,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            help="Another data set, as run has it.",
            show_default="the scale's",
            autocompletion=completing.datasets,
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="0,1,2", help="One run of each row for each seed.", show_default="the scale's")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="Another recipe, as run has it.",
            show_default="the scale's",
            autocompletion=completing.recipes,
        ),
    ] = None,
    set_: SetOption = [],  # noqa: B006  # typer copies it
    data_root: DataRootOption = None,
    output: Annotated[Path, written_option("Folder that gets runs and tables.", metavar="DIR")] = Path("reproduced"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs, which are done, and what the others would take.")
    ] = False,
    device: DeviceOption = Device.AUTO,
    on: OnOption = "local",
    jobs: JobsOption = None,
    needs: NeedsOption = [],  # noqa: B006
    print_jobs: PrintJobsOption = False,
    only: OnlyOption = None,
    tethered: TetheredOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the paper's tables, and hold its claims against the result.

    A run that several tables need is trained once. Repeat an interrupted
    command, and it goes on where it was: finished runs are kept, started ones
    continue, failed ones are tried again. Tables: DIR/SCALE/table3.md and .csv.
    """
    from assignbench.cli.launching import start_all_processes
    from assignbench.cli.output import console, show_json
    from assignbench.run.training.stopping import listening

    require_plan(as_json, dry_run=dry_run, print_jobs=print_jobs)
    start_all_processes()
    names = comma_list(experiment, "EXPERIMENT")
    for option, value in (("--dataset", dataset), ("--recipe", recipe)):
        if value is not None and not value.strip():
            raise UsageError(f"{option} is empty; leave it out for the scale's own")
    numbers = None if seeds is None else number_list(seeds, "--seeds")
    from assignbench.reproduce.sheet import Request

    request = Request(scale.value, dataset, recipe, tuple(set_), numbers)

    def arguments(run: "Run") -> tuple[str, ...]:
        """Of the command that brings one of the runs to its record."""
        given = {"dataset": dataset, "recipe": recipe, "data-root": data_root}
        changes = [f"--{name}={value}" for name, value in given.items() if value is not None]
        changes += [f"--set={change}" for change in set_]
        where = ["--output", str(output), "--device", device.value, "--only", run.run_id]
        return ("reproduce", *names, "--scale", scale.value, "--seeds", str(run.seed), *changes, *where)

    stated = any(change.startswith("train.precision=") for change in set_)
    precision = "stated" if stated else "auto"
    with listening():
        spread = Spread(on, jobs, tuple(needs), only, tethered)
        engine = None if dry_run or print_jobs else spread.engine(device.value, precision)
        from assignbench.reproduce.conduct import RUNS  # last: these bring torch
        from assignbench.reproduce.conduct import reproduce as bring_tables

        runs_folder = output / RUNS
        chosen = (names, request, data_root, device.value, only)
        if print_jobs or as_json:
            from assignbench.reproduce.conduct import planned

            if print_jobs:
                return spread.print_jobs(lambda: planned(*chosen).runs, runs_folder, arguments)
            sheets, runs = planned(*chosen)
            show_json({"tables": [_facts(sheet) for sheet in sheets], "runs": runs_as_facts(runs, runs_folder)})
            return None
        screen = console()
        code = bring_tables(
            names,
            request,
            datasets=data_root,
            output=output,
            device=device.value,
            dry_run=dry_run,
            console=screen,
            only=only,
            conduct=conduct_by(engine, runs_folder, arguments, screen),
        )
    raise typer.Exit(code)


def _facts(sheet: "Sheet") -> dict[str, object]:
    """A table for programs: the ids of each row's runs; none where there is nothing to run."""
    rows = [
        {
            "row": line.row.label,
            "group": line.group,
            "strategy": line.strategy,
            "runs": [run.run_id for run in line.runs],
        }
        for line in sheet.lines
    ]
    return {"table": sheet.name, "scale": sheet.scale_name, "seeds": list(sheet.seeds), "rows": rows}
