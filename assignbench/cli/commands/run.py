"""``assignbench run``: train and evaluate every strategy on every data set with every seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import (
    DataRootOption,
    Device,
    DeviceOption,
    JsonOption,
    PresetOption,
    Protocol,
    ProtocolOption,
    SetOption,
    ShareOption,
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accelerate import Accelerator
    from rich.console import Console

    from assignbench.run.matrix.plan import Run

EXAMPLES = r"""[bold]Examples[/bold]

assignbench run   [dim]# AutoAssign on the built-in shapes[/dim]

assignbench run --assigner atss,autoassign --seeds 0,1,2   [dim]# six runs[/dim]

assignbench run --assigner 'autoassign\[tau=0.5]' --set train.lr=1e-3

assignbench run --assigner mine.py:Mine --dataset voc:DIR   [dim]# your own[/dim]
"""


def run(
    assigner: Annotated[
        list[str],
        typer.Option(
            metavar="A,B",
            help=r"Strategies: a name, all, module:Class or file.py:Class, with options as name\[option=value], "
            "further outputs as name+extra.",
            autocompletion=completing.strategies,
        ),
    ] = ["autoassign"],  # noqa: B006  # typer copies it
    dataset: Annotated[
        list[str],
        typer.Option(
            metavar="D,E",
            help="Data sets: a folder, coco:DIR, voc:DIR, yolo:DIR, a YAML file or a name.",
            autocompletion=completing.datasets,
        ),
    ] = ["shapes"],  # noqa: B006
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="What all runs share: a shipped recipe or a YAML file.",
            show_default="tiny; for data of your own one for the device",
            autocompletion=completing.recipes,
        ),
    ] = None,
    protocol: ProtocolOption = Protocol.CONTROLLED,
    preset: PresetOption = None,
    seeds: Annotated[str, typer.Option(metavar="0,1,2", help="One run for each seed.")] = "0",
    share: ShareOption = None,
    data_root: DataRootOption = None,
    output: Annotated[Path, written_option("Folder that gets one folder per run.", metavar="DIR")] = Path("runs"),
    set_: SetOption = [],  # noqa: B006
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue unfinished runs from their last checkpoint.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything but the pictures, print the runs, and measure what they would take by a few steps.",
        ),
    ] = False,
    device: DeviceOption = Device.AUTO,
    tracker: Annotated[
        list[str],
        typer.Option(
            "--tracker",
            metavar="NAME",
            help="Tell a tracker how runs go: tensorboard, wandb, mlflow, … as Accelerate names them; several times "
            "for several.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    on: OnOption = "local",
    jobs: JobsOption = None,
    needs: NeedsOption = [],  # noqa: B006
    print_jobs: PrintJobsOption = False,
    only: OnlyOption = None,
    tethered: TetheredOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train and evaluate every strategy on every data set.

    Each finished run is recorded at once, and runs whose record exists are
    skipped. An interrupted run continues if you repeat the command with --resume.
    What --set can change is shown by: assignbench list recipes tiny
    """
    from assignbench.cli.launching import start_all_processes
    from assignbench.cli.output import console, note, say, show, show_json
    from assignbench.cli.recipes import recipe_for
    from assignbench.config import Matrix, load_recipe
    from assignbench.data.spec.share import with_share
    from assignbench.options import split_list
    from assignbench.run.training.stopping import listening

    require_plan(as_json, dry_run=dry_run, print_jobs=print_jobs)
    start_all_processes()
    datasets = tuple(with_share(one, share) for one in comma_list(dataset, "--dataset"))
    named, why = recipe_for(datasets, device.value, on) if recipe is None else (recipe, "")
    if why:
        (note if print_jobs else say)(why)  # what jobs are printed for reads standard output
    matrix = Matrix(
        strategies=comma_list(assigner, "--assigner", split_list),
        datasets=datasets,
        recipe=load_recipe(named, set_),
        seeds=number_list(seeds, "--seeds"),
        protocol=protocol.value,
        preset=preset,
        data_root=data_root,
        output=output,
        resume=resume,
        dry_run=dry_run,
        device=device.value,
        trackers=tuple(dict.fromkeys(tracker)),
        only=only,
    )

    def arguments(run: "Run") -> tuple[str, ...]:
        """Of the command that brings one of the runs to its record."""
        changes = [f"--set={change}" for change in set_]
        where = [f"--data-root={data_root}"] if data_root else []
        where += [f"--tracker={name}" for name in matrix.trackers]
        own = ["--assigner", run.candidate.strategy.text, "--dataset", run.splits.spec, "--seeds", str(run.seed)]
        shared = [
            "--recipe",
            named,
            *changes,
            "--protocol",
            matrix.protocol,
            *([f"--preset={preset}"] if preset else []),
        ]
        rest = [*where, "--output", str(output), "--device", matrix.device, "--resume", "--only", run.run_id]
        return ("run", *own, *shared, *rest)

    precision = matrix.recipe.recipe.train.precision
    with listening():
        spread = Spread(on, jobs, tuple(needs), only, tethered)
        engine = None if dry_run or print_jobs else spread.engine(matrix.device, precision)
        # last: these bring torch, and the options are fine
        if print_jobs:
            from assignbench.run.matrix.matrix import planned

            return spread.print_jobs(lambda: planned(matrix).runs, output, arguments)
        from assignbench.run.matrix.matrix import run_matrix

        screen = console()
        outcome = run_matrix(matrix, screen, conduct_by(engine, output, arguments, screen), _estimate)
    if as_json:
        show_json({"runs": runs_as_facts(outcome.planned, output)})
    if outcome.records and only is None:
        from assignbench.cli.output import progress
        from assignbench.comparison import render
        from assignbench.comparison.table import METRICS, compare
        from assignbench.judging import influences_of

        runs = [(output / record.run_id, record) for record in outcome.records]
        pictures, remarks = influences_of(runs, METRICS, data_root, progress)
        show(render.terminal(compare(outcome.records, pictures=pictures, remarks=remarks)))
    raise typer.Exit(outcome.exit_code)


def _estimate(runs: "Sequence[Run]", output: Path, accelerator: "Accelerator", console: "Console") -> None:
    """What runs would take; imported when it is asked for."""
    from assignbench.bench.estimate import show_estimate

    show_estimate(runs, output, accelerator, console)
