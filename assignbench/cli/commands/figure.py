"""``assignbench figure``: what strategies assign in a picture, and the AutoAssign paper's figures of finished runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import DataRootOption, Device, DeviceOption, TrustOption, named_run, written_option
from assignbench.cli.picturing import (
    BoxesOption,
    DatasetOption,
    ImageOption,
    PictureArgument,
    RecipeOption,
    RunsOption,
    SeedOption,
    asked,
)
from assignbench.errors import UsageError
from assignbench.overwriting import refuse_among, refuse_inputs
from assignbench.paths import documentation
from assignbench.plot import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from assignbench.data.dataset import Dataset
    from assignbench.figures.canvas import Paper
    from assignbench.figures.runs import ShownRun

app = typer.Typer(
    help=f"Draw what strategies assign, and the AutoAssign paper's figures of finished runs.\n\n"
    f"{documentation('guide/figures')}",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

DEFAULTS = ("assigned.png", "figure1.png", "figure3.png", "figure4.png", "figure5.png", "figure6.png")

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
CaptionOption = Annotated[
    bool,
    typer.Option("--caption/--no-caption", help="Write title and caption into the picture, or print the caption."),
]
WidthOption = Annotated[
    str | None,
    typer.Option(
        metavar="8.4cm", help="Width of the picture, in cm or in (inches).", show_default="what its panels take"
    ),
]
DpiOption = Annotated[
    int, typer.Option(metavar="N", min=30, max=2400, help="Pixels of a PNG in an inch; of what svg and pdf embed, too.")
]

ASSIGNED_EXAMPLES = r"""[bold]Examples[/bold]

assignbench figure assigned --assigner retinanet,fcos,atss   [dim]# on a generated scene[/dim]

assignbench figure assigned --assigner atss,mine.py:Mine photo.jpg --boxes '10 20 110 220 cat, 5 5 60 40'

assignbench figure assigned --run runs/A --run runs/B --dataset my/folder --image 000012.jpg --levels
"""
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
    """Draw what strategies assign, and the AutoAssign paper's figures of finished runs."""


@app.command("assigned", epilog=ASSIGNED_EXAMPLES)
def assigned(
    picture: PictureArgument = None,
    assigner: Annotated[
        list[str],
        typer.Option(
            metavar="A,B",
            help=r"Strategies: a name, all, file.py:Class, with options or extras.",
            show_default=False,
            autocompletion=completing.strategies,
        ),
    ] = [],  # noqa: B006  # typer copies it
    dataset: DatasetOption = None,
    image: ImageOption = None,
    boxes: BoxesOption = None,
    run: RunsOption = [],  # noqa: B006
    levels: Annotated[bool, typer.Option("--levels", help="A row a strategy, with each level by itself.")] = False,
    recipe: RecipeOption = None,
    seed: SeedOption = 0,
    output: OutputOption = Path("assigned.png"),
    caption: CaptionOption = True,
    width: WidthOption = None,
    dpi: DpiOption = DPI,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """What strategies assign in one picture, side by side, without training.

    Squares are locations that teach the object of their colour; objects that
    nothing teaches are red. What reads predictions gets those of a finished run
    (--run), or of an untrained detector, which the picture says.
    """
    paper = _check(output, width, caption=caption)
    from assignbench.cli.arguments import comma_list
    from assignbench.figures.side_by_side import draw_assigned
    from assignbench.options import split_list

    strategies = comma_list(assigner, "--assigner", split_list) if assigner else ()
    found = asked(picture, strategies, run, dataset, image, boxes, recipe, seed, data_root, device, trust=trust)
    refuse_inputs(output, (found.picture.info.path,))
    if picture is None:  # beside a picture of one's own it does no harm
        refuse_among(output, (found.picture.info.path.parent,))
    figure, _ = draw_assigned(found.teachers, found.picture, found.size, levels=levels, paper=paper)
    _save(figure, output, paper, dpi)


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
    caption: CaptionOption = True,
    width: WidthOption = None,
    dpi: DpiOption = DPI,
    picture: PicturesOption = None,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """Positive weights of several strategies on the same pictures.

    All levels together, each location a square; of a single picture each
    level by itself, too.
    """
    paper = _check(output, width, caption=caption)
    from assignbench.figures.picture import open_pictures
    from assignbench.figures.runs import expanded
    from assignbench.figures.weights import draw_weights

    folders, notes = expanded(runs)
    if len(folders) < 2:
        raise UsageError("figure 1 compares strategies: name at least two runs, or a folder that holds several")
    shown, dataset = _open(folders, output, data_root, device, notes, trust=trust)
    _save(draw_weights(shown, dataset, open_pictures(dataset, picture or (), 1), paper), output, paper, dpi)


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
    caption: CaptionOption = True,
    width: WidthOption = None,
    dpi: DpiOption = DPI,
    picture: PictureOption = None,
    object_: ObjectOption = None,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """Centre weighting, confidence weighting and positive weights of an object, on each level."""
    paper = _check(output, width, caption=caption)
    _count("3", runs, 1, "one run of autoassign")
    shown, dataset = _open(runs, output, data_root, device, trust=trust)
    from assignbench.figures.parts import draw_parts
    from assignbench.figures.picture import open_object

    _save(draw_parts(shown[0], dataset, *open_object(dataset, picture, object_), paper), output, paper, dpi)


@app.command("4", epilog=PRIORS_EXAMPLES)
def priors(
    runs: RunsArgument,
    output: OutputOption = Path("figure4.png"),
    caption: CaptionOption = True,
    width: WidthOption = None,
    dpi: DpiOption = DPI,
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
    paper = _check(output, width, caption=caption)
    _count("4", runs, 1, "one run of autoassign")
    shown, dataset = _open([*runs, *([best_of] if best_of else [])], output, data_root, device, trust=trust)
    from assignbench.figures.priors import draw_priors, learned_prior

    learned_prior(shown[0].record)
    if best_of is None:
        _save(draw_priors(shown[0], dataset, categories, paper=paper), output, paper, dpi)
        return
    from assignbench.cli.output import show
    from assignbench.figures.best import best_places, best_table
    from assignbench.figures.runs import training_split

    found = best_places(shown[1], training_split(shown[1].record, data_root))
    show(best_table(shown[0], shown[1], found))
    _save(draw_priors(shown[0], dataset, categories, shown[1], found, paper=paper), output, paper, dpi)


@app.command("5", epilog=DETECTIONS_EXAMPLES)
def detections(
    runs: RunsArgument,
    output: OutputOption = Path("figure5.png"),
    caption: CaptionOption = True,
    width: WidthOption = None,
    dpi: DpiOption = DPI,
    picture: PicturesOption = None,
    threshold: Annotated[
        float, typer.Option(metavar="SCORE", min=0, max=1, help="Lowest score of a box that is shown, in both.")
    ] = 0.3,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
) -> None:
    """Detections without and with implicit objectness, side by side."""
    paper = _check(output, width, caption=caption)
    _count("5", runs, 2, "two runs, one with implicit objectness and one without")
    shown, dataset = _open(runs, output, data_root, device, trust=trust)
    from assignbench.figures.detections import draw_detections
    from assignbench.figures.picture import open_pictures

    _save(
        draw_detections(shown, dataset, open_pictures(dataset, picture or (), 2), threshold, paper), output, paper, dpi
    )


@app.command("6", epilog=CONFIDENCE_EXAMPLES)
def confidence(
    runs: RunsArgument,
    output: OutputOption = Path("figure6.png"),
    caption: CaptionOption = True,
    width: WidthOption = None,
    dpi: DpiOption = DPI,
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
    paper = _check(output, width, caption=caption)
    _count("6", runs, 1, "one run of autoassign that kept snapshots")
    shown, dataset = _open(runs, output, data_root, device, trust=trust)
    from assignbench.figures.confidence import draw_confidence
    from assignbench.figures.picture import open_object

    _save(draw_confidence(shown[0], dataset, *open_object(dataset, picture, object_), paper), output, paper, dpi)


def _check(output: Path, width: str | None, *, caption: bool) -> "Paper":
    """Refuse a file that cannot be written, or a width that is none, before runs are loaded."""
    from assignbench.figures.canvas import Paper
    from assignbench.plot import check_plot, inches_of

    inches = None if width is None else inches_of(width, "--width")
    check_plot(output, "--output", chosen=output not in map(Path, DEFAULTS))
    return Paper(caption, inches)


def _count(figure: str, runs: Sequence[Path], wanted: int, what: str) -> None:
    if len(runs) != wanted:
        raise UsageError(f"figure {figure} needs {what}; {len(runs)} are named")


def _open(
    folders: Sequence[Path],
    output: Path,
    data_root: Path | None,
    device: Device,
    notes: Sequence[str] = (),
    *,
    trust: bool,
) -> "tuple[list[ShownRun], Dataset]":
    """Runs with their weights, and the split that they were evaluated on; what is odd about them is said.

    Raises:
        UsageError: ``output`` is one of the split's pictures.
    """
    from assignbench.cli.output import say
    from assignbench.figures.runs import evaluation_split, open_runs

    shown = open_runs(folders, device.value, trust=trust)
    for note in (*notes, *(f"{run.name}: {note}" for run in shown for note in run.notes)):
        say(f"note: {note}")
    dataset = evaluation_split(shown[0].record, data_root)
    refuse_inputs(output, (info.path for info in dataset.images))
    refuse_among(output, dict.fromkeys(info.path.parent for info in dataset.images))
    return shown, dataset


def _save(figure: "Figure", output: Path, paper: "Paper", dpi: int) -> None:
    """Write the picture; a caption that is not in it goes to the terminal, for the paper that takes the picture."""
    from assignbench.cli.output import say, wrote
    from assignbench.figures.canvas import fit
    from assignbench.plot import save

    fit(figure, paper)
    save(figure, output, dpi)
    if not paper.caption:
        say(f"caption: {figure.get_label()}")
    wrote(output)
