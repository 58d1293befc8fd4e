"""Which picture, with which objects, and which strategies: what `figure assigned` and `explain` are asked alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import Device, named_run
from assignbench.errors import UsageError

if TYPE_CHECKING:
    from assignbench.figures.picture import Picture
    from assignbench.figures.teachers import Size, Teacher

SCENE = 187  # the generated picture without PICTURE: seven objects of all sizes, one of them between the locations

PictureArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="PICTURE",
        help="A picture; its objects are in --boxes, or in the .json (COCO), .xml (VOC) or .txt (YOLO) of its name "
        "beside it.",
        show_default="a generated scene",
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        metavar="D",
        help="Take the picture from this data set, as assignbench run names it.",
        autocompletion=completing.datasets,
    ),
]
ImageOption = Annotated[
    str | None,
    typer.Option(
        metavar="ID|NAME",
        help="Picture of the data set.",
        show_default="the first of the evaluation split with an object",
    ),
]
BoxesOption = Annotated[
    str | None,
    typer.Option(metavar="'x0 y0 x1 y1 [class], …'", help="Objects of PICTURE, in pixels as viewers show it."),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        help="Whose resize decides how large the picture enters the network.",
        show_default="the run's, else the smallest of tiny, small, scratch, 1x that shrinks nothing",
        autocompletion=completing.recipes,
    ),
]
RunsOption = Annotated[
    list[Path],
    typer.Option(
        "--run",
        metavar="RUN",
        help="A finished run, whose weights its strategy reads; may be repeated. Others read an untrained detector.",
        show_default=False,
        callback=named_run,
        autocompletion=completing.run_folders,
    ),
]
SeedOption = Annotated[
    int, typer.Option(metavar="N", min=0, max=2**31 - 1, help="Seed of an untrained detector's weights.")
]


@dataclass(frozen=True)
class Asked:
    """What a command is about."""

    picture: "Picture"
    teachers: "Sequence[Teacher]"
    size: "Size"


def asked(
    picture: Path | None,
    strategies: Sequence[str],
    runs: Sequence[Path],
    dataset: str | None,
    image: str | None,
    boxes: str | None,
    recipe: str | None,
    seed: int,
    data_root: Path | None,
    device: Device,
    *,
    trust: bool,
    quiet: bool = False,
) -> Asked:
    """Open the picture and the strategies; what is odd about them is said, on stderr where ``quiet``.

    Raises:
        UsageError: options contradict each other, or name what there is not.
        DataError: picture or annotation cannot be read.
    """
    if image is not None and dataset is None:
        raise UsageError("--image names a picture of a data set; name that with --dataset")
    if dataset is not None and picture is not None:
        raise UsageError(f"name either a picture, {picture}, or a data set, --dataset {dataset}, whose --image it is")
    if boxes is not None and picture is None:
        raise UsageError("--boxes are the objects of a picture; name its file")
    if not strategies and not runs:
        raise UsageError("name strategies with --assigner, or finished runs with --run")
    from assignbench.cli.output import note, say
    from assignbench.data.spec.locate import data_root as root_of
    from assignbench.figures.given import picture_beside, picture_drawn, picture_of, picture_with
    from assignbench.figures.teachers import open_teachers, size_for

    notes: tuple[str, ...] = ()
    if dataset is not None:
        shown = picture_of(dataset, image, root_of(data_root))
    elif picture is None:
        shown = picture_drawn(SCENE)
    elif boxes is not None:
        shown = picture_with(picture, boxes)
    else:
        shown, notes = picture_beside(picture)
    if not len(shown.labels):
        raise UsageError(f"{shown.title} holds no object to be learned; name another picture, or give --boxes")
    teachers, opened = open_teachers(strategies, shown, runs, seed, device.value, trust=trust)
    for line in (*notes, *(f"{run.name}: {one}" for run in opened for one in run.notes)):
        (note if quiet else say)(f"note: {line}")
    if picture is None and dataset is None and recipe is None and not opened:
        recipe = "tiny"
    return Asked(shown, teachers, size_for(shown, recipe, opened))
