"""``assignbench data stats`` and ``data show``: a data set in numbers, and in pictures."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import DataRootOption, JsonOption, ShareOption, number_list, written_option
from assignbench.cli.commands.data.checking import SpecArgument
from assignbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from assignbench.data.stats.stats import Histogram, SplitStats

STATS_EXAMPLES = r"""[bold]Examples[/bold]

assignbench data stats voc:my/folder

assignbench data stats coco --recipe scratch --json
"""
SHOW_EXAMPLES = r"""[bold]Examples[/bold]

assignbench data show coco:my/folder --output pictures

assignbench data show shapes --output pictures --split evaluation --images 1,2,3 --recipe tiny
"""

MOST_CLASSES = 30  # in the table; --json has all


class Split(StrEnum):
    """Which splits."""

    BOTH = "both"
    TRAIN = "train"
    EVALUATION = "evaluation"


def stats(
    spec: SpecArgument,
    share: ShareOption = None,
    data_root: DataRootOption = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="R",
            help="Whose resize decides the sizes: a shipped recipe or a YAML file.",
            autocompletion=completing.recipes,
        ),
    ] = "1x",
    short_side: Annotated[
        int | None, typer.Option(min=32, max=4096, metavar="N", help="Short side in pixels, instead of the recipe's.")
    ] = None,
    long_side: Annotated[
        int | None, typer.Option(min=32, max=8192, metavar="N", help="Limit of the long side, likewise.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Count what decides how hard objects are to assign.

    Objects per image, sizes and the levels that take them, aspect ratios,
    classes, overlap, and objects that no location of P3 sees. Sizes are in
    network pixels; crowd regions are left out.
    """
    from dataclasses import asdict

    from assignbench.cli.output import show, show_json
    from assignbench.data.spec.locate import data_root as root_of
    from assignbench.data.spec.locate import open_dataset
    from assignbench.data.spec.share import with_share
    from assignbench.data.stats.stats import split_stats

    sides = _sides(recipe, short_side, long_side)
    splits = open_dataset(with_share(spec, share), root_of(data_root))
    found = [split_stats(dataset, *sides) for dataset in (splits.train, splits.evaluation)]
    if as_json:
        content = {"spec": splits.spec, "short_side": sides[0], "long_side": sides[1]}
        content |= {"splits": {part: asdict(one) for part, one in zip(("train", "evaluation"), found, strict=True)}}
        show_json(content)
    else:
        show(f"{splits.train.name}, sizes in network pixels: short side {sides[0]}, long side at most {sides[1]}\n\n")
        _print(found)


def show(
    spec: SpecArgument,
    output: Annotated[Path, written_option("Folder of the pictures.", metavar="DIR")],
    split: Annotated[Split, typer.Option(metavar="S", help="both, train or evaluation.")] = Split.BOTH,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="How many of each split.")] = 8,
    images: Annotated[
        str | None, typer.Option(metavar="1,2,3", help="These images, by id.", show_default="some of them")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which ones are chosen.")] = 0,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="Show network pixels: a recipe's resize.",
            show_default="as they are stored",
            autocompletion=completing.recipes,
        ),
    ] = None,
    data_root: DataRootOption = None,
) -> None:
    """Write pictures with boxes and class names.

    Everything is shown as the files state it, what training would drop or clip
    included: it is marked with ! and named below the picture. Crowd regions
    are dashed and hatched. A data set that training refuses can be shown, too.
    """
    from functools import partial

    from assignbench.cli import output as screen
    from assignbench.data.check.check import read_raw
    from assignbench.data.show.show import choose, file_name, find, gallery, picture_of, refuse_unknown, save_picture
    from assignbench.data.spec.locate import data_root as root_of
    from assignbench.data.spec.locate import read_folders
    from assignbench.overwriting import refuse_among

    root = root_of(data_root)
    refuse_among(output, read_folders(spec, root))
    resize = None
    if recipe is not None:
        from assignbench.data.load.transforms import resized

        short_side, long_side = _sides(recipe, None, None)
        resize = partial(resized, short_side=short_side, long_side=long_side)
    ids = None if images is None else number_list(images, "--images")
    _, train, evaluation = read_raw(spec, root)
    wanted = [raw for raw in (train, evaluation) if split in (Split.BOTH, raw.part)]
    for raw in wanted:
        if not raw.readable:
            raise DataError(raw.findings[0].details[0])
    if ids is not None:
        refuse_unknown(ids, wanted)
    classes = train.classes or [name for _, name in sorted(train.categories)]
    unread: list[str] = []
    written = 0
    for raw in wanted:
        shown = gallery(raw, classes)
        for place in find(raw, ids) if ids is not None else choose(raw, count, seed):
            try:
                picture = picture_of(shown, place, resize)
            except DataError as error:
                unread.append(str(error))
                continue
            save_picture(picture, output / file_name(shown, place))
            written += 1
    screen.show(f"{written} pictures in {output}\n")
    if unread:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        raise DataError(f"{unread[0]}{more}; assignbench data check names every such picture")


def _sides(recipe: str, short_side: int | None, long_side: int | None) -> tuple[int, int]:
    """As evaluation resizes: of several short sides the largest."""
    from assignbench.config import load_recipe

    data = load_recipe(recipe).recipe.data
    short = short_side or max(data.short_side)
    long = long_side or max(data.long_side, short) if short_side else long_side or data.long_side
    if short > long:
        raise UsageError(f"a short side of {short} exceeds the limit of the long side, {long}; change one of them")
    return short, long


def _print(found: "Sequence[SplitStats]") -> None:
    from assignbench.cli.output import say, show, table

    columns = ["", *(one.split for one in found)]
    rows = [
        ["images", *(f"{one.images:,}" for one in found)],
        ["images without objects", *(f"{one.images_without_objects:,}" for one in found)],
        ["objects", *(f"{one.objects:,}" for one in found)],
        ["crowd regions", *(f"{one.crowd:,} ({percent(one.crowd_fraction)})" for one in found)],
        [
            "objects an image: mean, median, most",
            *(f"{one.mean_objects:.1f}, {one.median_objects:g}, {one.most_objects:,}" for one in found),
        ],
        ["√area, median", *("–" if one.median_side is None else f"{one.median_side:.0f}" for one in found)],
        ["no location of P3 strictly inside", *(percent(one.without_p3) for one in found)],
        ["no location of any level", *(percent(one.without_any) for one in found)],
        ["share a location with another object", *(percent(one.shared_location) for one in found)],
        ["IoU > 0.3 with another of their class", *(percent(one.overlap_own_class) for one in found)],
        ["IoU > 0.3 with any other", *(percent(one.overlap_any) for one in found)],
        [
            "classes; as uneven as … equal ones",
            *(f"{len(one.classes)}; {one.even_classes or 0:.1f}" for one in found),
        ],
    ]
    show(table(columns, rows, numbers=columns[1:]))
    for title, field in (
        ("objects an image", "objects_per_image"),
        ("√area", "sides"),
        ("level by RetinaNet's anchors", "retinanet_levels"),
        ("level by FCOS's ranges, at the box centre", "fcos_levels"),
        ("width : height", "aspect_ratios"),
    ):
        _print_histogram(title, [one.split for one in found], [getattr(one, field) for one in found])
    counts = [{row.name: row for row in one.classes} for one in found]
    total = [max(1, one.objects) for one in found]
    names = sorted(counts[0], key=lambda name: -counts[0][name].objects)
    rows = []
    for name in names[:MOST_CLASSES]:
        own = [count[name].objects for count in counts]
        rows.append([name, *(f"{one:,} ({percent(one / every)})" for one, every in zip(own, total, strict=True))])
    show(table(["class", *columns[1:]], rows, numbers=columns[1:]))
    if len(names) > MOST_CLASSES:
        say(f"and {len(names) - MOST_CLASSES} classes more, see --json")


def _print_histogram(title: str, splits: Sequence[str], found: "Sequence[Histogram]") -> None:
    from assignbench.cli.output import show, table

    rows = []
    for rank, name in enumerate(found[0].bins):
        row = [name]
        for one in found:
            fraction = one.counts[rank] / max(1, sum(one.counts))
            row += [f"{one.counts[rank]:,}", percent(fraction), "█" * round(20 * fraction)]
        rows.append(row)
    columns = [title, *(text for split in splits for text in (split, " ", "  "))]
    show(table(columns, rows, numbers=[*splits, " "]))


def percent(fraction: float | None) -> str:
    """A fraction, or a dash where it would be one of nothing."""
    return "–" if fraction is None else f"{100 * fraction:.1f} %"
