"""``assignbench figure``: the AutoAssign paper's figures, from finished runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import DataRootOption, Device, DeviceOption, TrustOption, named_run, written_option
from assignbench.errors import UsageError
from assignbench.paths import documentation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from assignbench.data.dataset import Dataset
    from assignbench.figures.runs import ShownRun

app = typer.Typer(
    help=f"Draw the AutoAssign paper's figures from finished runs.\n\n{documentation('guide/figures')}",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

DEFAULTS = ("figure1.png", "figure3.png", "figure4.png", "figure5.png", "figure6.png")

OutputOption = Annotated[Path, written_option("Picture to write: png, svg or pdf; needs assignbench\\[plots].")]
PictureOption = Annotated[
    str | None,
    typer.Option(
        metavar="ID|NAME",
        help="Picture of the evaluation split.",
        show_default="one with a large object that stands alone",
    ),
]
PicturesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--picture",
        metavar="ID|NAME",
        help="Picture of the evaluation split; may be repeated.",
        show_default="those with most clear objects",
    ),
]
ObjectOption = Annotated[
    int | None,
    typer.Option(
        "--object", metavar="N", help="Which of the picture's objects, from 1 on.", show_default="the largest"
    ),
]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN", help="Folders or ids of runs.", callback=named_run, autocompletion=completing.run_folders
    ),
]

WEIGHTS_EXAMPLES = r"""[bold]Examples[/bold]

assignbench figure 1 runs/A runs/B --output weights.svg

assignbench figure 1 runs --picture 7 --picture 12   [dim]# every strategy of a comparison[/dim]
"""
PARTS_EXAMPLES = r"""[bold]Example[/bold]

assignbench figure 3 runs/AUTOASSIGN --picture 7 --object 2
"""
PRIORS_EXAMPLES = r"""[bold]Example[/bold]

assignbench figure 4 runs/AUTOASSIGN --categories 6

assignbench figure 4 runs/AUTOASSIGN --best-of runs/PLAIN
"""
DETECTIONS_EXAMPLES = r"""[bold]Example[/bold]

assignbench figure 5 runs/WITHOUT runs/WITH --threshold 0.4   [dim]# autoassign\[objectness=none] and autoassign[/dim]
"""
CONFIDENCE_EXAMPLES = r"""[bold]Example[/bold]

assignbench run --set train.snapshots=\[80,240] && assignbench figure 6 runs/RUN
"""


@app.callback()
def _figure() -> None:
    """Draw the AutoAssign paper's figures from finished runs."""


@app.command("1", epilog=WEIGHTS_EXAMPLES)
def weights(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders or ids of runs, or folders of a comparison: then one run of each strategy.",
            callback=named_run,
            autocompletion=completing.run_folders,
        ),
    ],
    output: OutputOption = Path("figure1.png"),
    picture: PicturesOption = None,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """Positive weights of several strategies on the same pictures.

    All levels together, each location a square; of a single picture each
    level by itself, too.
    """
    _check(output)
    from assignbench.figures.picture import open_pictures
    from assignbench.figures.runs import expanded
    from assignbench.figures.weights import draw_weights

    folders, notes = expanded(runs)
    if len(folders) < 2:
        raise UsageError("figure 1 compares strategies: name at least two runs, or a folder that holds several")
    shown, dataset = _open(folders, data_root, device, notes, trust=trust)
    _save(draw_weights(shown, dataset, open_pictures(dataset, picture or (), 1)), output)


@app.command("2", hidden=True, context_settings={"ignore_unknown_options": True})
def overview(_words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
    """Say why there is none."""
    raise UsageError(
        "figure 2 of the paper is a sketch of the method, which no run changes; from runs there are figures "
        f"{', '.join(Path(name).stem.removeprefix('figure') for name in DEFAULTS)}"
    )


@app.command("3", epilog=PARTS_EXAMPLES)
def parts(
    runs: RunsArgument,
    output: OutputOption = Path("figure3.png"),
    picture: PictureOption = None,
    object_: ObjectOption = None,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """Centre weighting, confidence weighting and positive weights of an object, on each level."""
    _check(output)
    _count("3", runs, 1, "one run of autoassign")
    shown, dataset = _open(runs, data_root, device, trust=trust)
    from assignbench.figures.parts import draw_parts
    from assignbench.figures.picture import open_object

    _save(draw_parts(shown[0], dataset, *open_object(dataset, picture, object_)), output)


@app.command("4", epilog=PRIORS_EXAMPLES)
def priors(
    runs: RunsArgument,
    output: OutputOption = Path("figure4.png"),
    categories: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Categories with the longest μ, beside those known to lie off centre."),
    ] = 4,
    best_of: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            callback=named_run,
            help="Also mark where this run detects each category best, and print a table of it. A run of plain was "
            "taught everywhere in a box alike, so it shows what a prior has to find.",
            autocompletion=completing.run_folders,
        ),
    ] = None,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """The learned centre prior of categories, on an object of each.

    μ and σ are in strides: shown is the level that holds most of the
    object's weight.
    """
    _check(output)
    _count("4", runs, 1, "one run of autoassign")
    shown, dataset = _open([*runs, *([best_of] if best_of else [])], data_root, device, trust=trust)
    from assignbench.figures.priors import draw_priors, learned_prior

    learned_prior(shown[0].record)
    if best_of is None:
        _save(draw_priors(shown[0], dataset, categories), output)
        return
    from assignbench.cli.output import show
    from assignbench.figures.best import best_places, best_table
    from assignbench.figures.runs import training_split

    found = best_places(shown[1], training_split(shown[1].record, data_root))
    show(best_table(shown[0], shown[1], found))
    _save(draw_priors(shown[0], dataset, categories, shown[1], found), output)


@app.command("5", epilog=DETECTIONS_EXAMPLES)
def detections(
    runs: RunsArgument,
    output: OutputOption = Path("figure5.png"),
    picture: PicturesOption = None,
    threshold: Annotated[
        float, typer.Option(metavar="SCORE", min=0, max=1, help="Lowest score of a box that is shown, in both.")
    ] = 0.3,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """Detections without and with implicit objectness, side by side."""
    _check(output)
    _count("5", runs, 2, "two runs, one with implicit objectness and one without")
    shown, dataset = _open(runs, data_root, device, trust=trust)
    from assignbench.figures.detections import draw_detections
    from assignbench.figures.picture import open_pictures

    _save(draw_detections(shown, dataset, open_pictures(dataset, picture or (), 2), threshold), output)


@app.command("6", epilog=CONFIDENCE_EXAMPLES)
def confidence(
    runs: RunsArgument,
    output: OutputOption = Path("figure6.png"),
    picture: PictureOption = None,
    object_: ObjectOption = None,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    r"""Confidence weighting of an object in the course of a training.

    The run has to have kept snapshots: train it with
    --set train.snapshots=\[100,400], a list of iterations.
    """
    _check(output)
    _count("6", runs, 1, "one run of autoassign that kept snapshots")
    shown, dataset = _open(runs, data_root, device, trust=trust)
    from assignbench.figures.confidence import draw_confidence
    from assignbench.figures.picture import open_object

    _save(draw_confidence(shown[0], dataset, *open_object(dataset, picture, object_)), output)


def _check(output: Path) -> None:
    """Refuse a file that cannot be written, before runs are loaded."""
    from assignbench.plot import check_plot

    check_plot(output, "--output", chosen=output not in map(Path, DEFAULTS))


def _count(figure: str, runs: Sequence[Path], wanted: int, what: str) -> None:
    if len(runs) != wanted:
        raise UsageError(f"figure {figure} needs {what}; {len(runs)} are named")


def _open(
    folders: Sequence[Path], data_root: Path | None, device: Device, notes: Sequence[str] = (), *, trust: bool
) -> "tuple[list[ShownRun], Dataset]":
    """Runs with their weights, and the split that they were evaluated on; what is odd about them is said."""
    from assignbench.cli.output import say
    from assignbench.figures.runs import evaluation_split, open_runs

    shown = open_runs(folders, device.value, trust=trust)
    for note in (*notes, *(f"{run.name}: {note}" for run in shown for note in run.notes)):
        say(f"note: {note}")
    return shown, evaluation_split(shown[0].record, data_root)


def _save(figure: "Figure", output: Path) -> None:
    from assignbench.cli.output import wrote
    from assignbench.plot import save

    save(figure, output)
    wrote(output)
