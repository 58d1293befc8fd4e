"""``assignbench eval`` and ``assignbench predict``: what a finished run can do."""

from collections.abc import Mapping
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
    RunArgument,
    SetOption,
    TrustOption,
    named_run,
    written_option,
)
from assignbench.errors import UsageError

if TYPE_CHECKING:
    from assignbench.run.scoring.evaluate import Evaluation

EVAL_EXAMPLES = r"""[bold]Examples[/bold]

assignbench eval runs/RUN

assignbench eval runs/RUN --tta flip   [dim]# each picture and its mirror image[/dim]

assignbench eval runs/RUN --split test   [dim]# COCO's test-dev: writes the archive for the server[/dim]

assignbench eval --weights atss.safetensors --dataset coco   [dim]# see: assignbench import[/dim]

assignbench eval --detections theirs.json --dataset coco   [dim]# COCO results of any tool[/dim]
"""

PREDICT_EXAMPLES = r"""[bold]Examples[/bold]

assignbench predict runs/RUN street.jpg --threshold 0.5

assignbench predict runs/RUN photos --output found   [dim]# every picture in photos and below[/dim]
"""

MOST_NAMED = 20  # files that predict names one by one


class Part(StrEnum):
    """Which split; `assignbench.data.spec.opening` knows them."""

    EVALUATION = "evaluation"
    TEST = "test"


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run: its folder, its id, or how that begins.",
            show_default=False,
            callback=named_run,
            autocompletion=completing.run_folders,
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Imported weights instead of a run.", show_default=False)
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A detections file of any tool, in COCO results format.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            help="With --weights and --detections: the data set.",
            show_default=False,
            autocompletion=completing.datasets,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        written_option("With --weights: detections file.", ends=(".json",), show_default="beside the weights"),
    ] = None,
    split: Annotated[
        Part, typer.Option(help="With RUN: test, whose objects are secret, is detected for the publisher's server.")
    ] = Part.EVALUATION,
    tta: Annotated[
        str | None,
        typer.Option(
            metavar="VIEWS",
            help="Test-time augmentation: flip, atss, freeanchor, or a YAML file. Its name enters the files' names.",
            show_default=False,
            autocompletion=completing.views,
        ),
    ] = None,
    set_: SetOption = [],  # noqa: B006  # typer copies it
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a finished run again, imported weights, or detections of any tool.

    With --weights, --set changes settings of data.* and evaluate.*; a run is
    evaluated as it was. A detections file is scored on the data set's
    evaluation split as our own are, and what is odd about it is said; several
    are put side by side by: assignbench compare --detections
    """
    from assignbench.cli.launching import start_all_processes
    from assignbench.cli.output import console, say

    if sum(what is not None for what in (run, weights, detections)) != 1:
        raise UsageError(
            "eval needs either RUN, the folder or id of a run, or --weights FILE with --dataset D, or "
            "--detections FILE with --dataset D"
        )
    if run is not None and dataset is not None:
        raise UsageError("a run is evaluated on its own data set; leave out --dataset")
    if run is None and dataset is None:
        what = "--weights" if detections is None else "--detections"
        raise UsageError(f"{what} needs --dataset: neither weights nor detections know their data set")
    if weights is None and (output is not None or set_):
        raise UsageError("--output and --set are for --weights; a run and detections are evaluated as they are")
    if detections is not None and tta is not None:
        raise UsageError("--tta is for a RUN or --weights; detections are evaluated as they are")
    if run is None and split is Part.TEST:
        raise UsageError("--split test is for a RUN")
    if as_json and split is Part.TEST:
        raise UsageError("--json prints numbers, and the publisher's server has those of --split test")
    if detections is not None:
        from assignbench.data.spec.locate import data_root as resolve_data_root
        from assignbench.run.scoring.foreign import evaluate_foreign, open_for_files, require_plain

        require_plain(detections)
        found, remarks = open_for_files(str(dataset), resolve_data_root(data_root))
        _show(evaluate_foreign(found, detections, remarks), as_json)
        return
    start_all_processes()
    if run is not None and split is Part.TEST:
        from assignbench.run.scoring.test_server import submit_run

        say(f"wrote {submit_run(run, data_root, device.value, console(), tta=tta, trust=trust)}")
        return
    screen = console()
    screen.quiet = as_json
    if run is not None:
        from assignbench.run.scoring.reopen import evaluate_run

        _, evaluation = evaluate_run(run, data_root, device.value, screen, tta=tta, trust=trust)
    else:
        from assignbench.run.scoring.weights import evaluate_weights

        evaluation = evaluate_weights(
            Path(str(weights)),
            str(dataset),
            data_root=data_root,
            output=output,
            overrides=set_,
            device=device.value,
            console=screen,
            tta=tta,
            trust=trust,
        )
    _show(evaluation, as_json)


def _show(evaluation: "Evaluation", as_json: bool) -> None:
    """The numbers in percent, by metric and by class, and the notes."""
    from assignbench.cli.output import say, show, show_json, table

    if as_json:
        show_json(_as_json(evaluation))
        return
    by_class = {"AP": evaluation.per_class, **evaluation.official_per_class}
    percent = "%" if evaluation.tta is None else f"% with {evaluation.tta}"
    for column, columns in (("metric", {percent: evaluation.metrics}), ("class", by_class)):
        names = list(next(iter(columns.values())))
        rows = [[name, *(_percent(values[name]) for values in columns.values())] for name in names]
        show(table([column, *columns], rows, numbers=list(columns)))
    for note in evaluation.notes:
        say(f"note: {note}")


def _as_json(evaluation: "Evaluation") -> dict[str, object]:
    """The same for programs; numbers in percent, unrounded, null without ground truth."""

    def percent(values: Mapping[str, float | None]) -> dict[str, float | None]:
        return {name: None if value is None else 100 * value for name, value in values.items()}

    by_class = {"AP": evaluation.per_class, **evaluation.official_per_class}
    return {
        "metrics": percent(evaluation.metrics),
        "classes": {metric: percent(values) for metric, values in by_class.items()},
        "detections": evaluation.detections,
        "evaluator": evaluation.evaluator,
        "tta": evaluation.tta,
        "notes": list(evaluation.notes),
    }


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def predict(
    run: RunArgument,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE | FOLDER", help="Pictures, and folders with pictures in them or below."),
    ],
    output: Annotated[
        Path,
        written_option("Gets a PNG and a JSON file a picture, in folders as the pictures lie in.", metavar="DIR"),
    ] = Path("predictions"),
    threshold: Annotated[
        float, typer.Option(metavar="SCORE", min=0, max=1, help="Lowest score of a box that is kept.")
    ] = 0.3,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """Find objects in pictures: boxes drawn on a PNG, and as JSON.

    No file is overwritten but what predict has written. In a folder, hidden
    pictures are left aside and counted, and so is what predict has drawn.
    """
    from assignbench.cli.output import progress, say
    from assignbench.run.scoring.predict import predict as write_predictions

    done = write_predictions(
        run,
        tuple(images),
        output,
        threshold,
        device.value,
        watch=lambda done, every: progress(f"{done} of {every} pictures"),
        trust=trust,
    )
    progress("")
    for file in done.files[:MOST_NAMED]:
        say(f"wrote {file}")
    if (more := len(done.files) - MOST_NAMED) > 0:
        say(f"and {more:,} files more in {output}")
    if done.left_aside:
        pictures = "1 picture" if len(done.left_aside) == 1 else f"{len(done.left_aside):,} pictures"
        say(f"left aside: {pictures}, hidden, unreadable or drawn by predict, first {done.left_aside[0]}")
