"""``assignbench explain``: why a strategy teaches an object where it does, in words and numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import (
    DataRootOption,
    Device,
    DeviceOption,
    JsonOption,
    TrustOption,
    comma_list,
    named_run,
)
from assignbench.cli.picturing import (
    BoxesOption,
    DatasetOption,
    ImageOption,
    PictureArgument,
    RecipeOption,
    SeedOption,
    asked,
)

if TYPE_CHECKING:
    from assignbench.figures.explained import Explanation, Number, Place, Positive

EXAMPLES = r"""[bold]Examples[/bold]

assignbench explain --assigner atss --object 3   [dim]# of a generated scene[/dim]

assignbench explain --assigner fcos photo.jpg --boxes '10 20 110 220 cat'

assignbench explain --run runs/RUN --dataset my/folder --image 000012.jpg --json
"""

MOST = 20  # rows of a table; --json has all


def explain(
    picture: PictureArgument = None,
    assigner: Annotated[
        str | None,
        typer.Option(
            metavar="A",
            help=r"The strategy: a name, file.py:Class, with options or extras.",
            autocompletion=completing.strategies,
        ),
    ] = None,
    object_: Annotated[
        int | None,
        typer.Option(
            "--object", metavar="N", help="Which of the picture's objects, from 1 on.", show_default="the largest"
        ),
    ] = None,
    dataset: DatasetOption = None,
    image: ImageOption = None,
    boxes: BoxesOption = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="A finished run of the strategy, whose weights predict; else untrained ones.",
            callback=named_run,
            autocompletion=completing.run_folders,
        ),
    ] = None,
    recipe: RecipeOption = None,
    seed: SeedOption = 0,
    data_root: DataRootOption = None,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say why a strategy teaches an object where it does.

    Its candidates on each level, the threshold or cost that decides, the
    locations that teach it, those that others took, and, if nothing teaches it,
    why, as far as the record tells. Without PICTURE, of a generated scene.
    """
    from assignbench.cli.output import show_json
    from assignbench.errors import UsageError
    from assignbench.figures.explained import explained
    from assignbench.figures.picture import choose_object
    from assignbench.options import split_list

    wanted = () if assigner is None else comma_list([assigner], "--assigner", split_list)
    if len(wanted) > 1:
        raise UsageError(f"explain is about one strategy, and --assigner names {len(wanted)}")
    found = asked(
        picture, wanted, () if run is None else (run,), dataset, image, boxes, recipe, seed, data_root, device,
        trust=trust, quiet=as_json,
    )  # fmt: skip
    if len(found.teachers) > 1:
        names = " and ".join(one.name for one in found.teachers)
        raise UsageError(f"explain is about one strategy: {names} are named; is the run one of that strategy?")
    teacher = found.teachers[0]
    told = explained(teacher, found.size, choose_object(teacher.picture, object_))
    if as_json:
        show_json(asdict(told))
    else:
        _print(told)


def _print(told: "Explanation") -> None:
    from assignbench.cli.output import say, show, table

    x0, y0, x1, y1 = told.box
    wide, high = told.network_size
    say(
        f"{told.strategy}: object {told.object} of {told.objects}, {told.category}, of {told.picture}",
        f"  box {x0:.4g} {y0:.4g} {x1:.4g} {y1:.4g}: {x1 - x0:.4g} × {y1 - y0:.4g} of the picture's {told.size[0]} × "
        f"{told.size[1]} pixels, {wide:.1f} × {high:.1f} network pixels",
        f"  the picture enters with {told.network}",
        *([f"  predictions: {told.weights}"] if told.weights else []),
        *([f"  of its heads the one that speaks at test, beside {', '.join(told.branches)}"] if told.branches else []),
        "",
        told.rule or "The strategy gives no reasons of its own (Assigner.explain); what follows is its record.",
    )
    if told.numbers:
        say("  " + ", ".join(f"{name} {_number(value)}" for name, value in told.numbers.items()))
    names = list(dict.fromkeys(name for level in told.levels for name in level.ranges))
    columns = ("level", "stride", "in the box", "candidates", "positives", "of the weight", *names)
    rows = (
        (
            level.level,
            f"{level.stride:g}",
            f"{level.inside:,}",
            "–" if level.candidates is None else f"{level.candidates:,}",
            f"{level.positives:,}",
            f"{100 * level.share:.0f} %",
            *(_range(level.ranges.get(name)) for name in names),
        )
        for level in told.levels
    )
    show(table(columns, rows, numbers=columns[1:]))
    if told.positives:
        _rows(
            "It is taught at",
            [(one.place, {**_weights(one), **one.numbers}, _and(one.also)) for one in told.positives],
            "and teaches",
        )
    if told.rivals:
        names = list(dict.fromkeys(name for one in told.rivals for name in one.theirs))[:1]
        _rows(
            "Rivals: in its box, or candidates of it, but they teach others",
            [
                (
                    one.place,
                    {**one.numbers, **{f"{name} of the other": one.theirs.get(name) for name in names}},
                    _and(one.objects),
                )
                for one in told.rivals
            ],
            "teaches",
        )
    if told.ignored:
        say(f"Ignored in its box, taught neither the object nor background: {len(told.ignored):,} locations.")
    if told.untaught:
        say("Nothing teaches this object.", *(f"  {sentence}" for sentence in told.untaught))


def _weights(one: "Positive") -> dict[str, "Number"]:
    quality = {} if one.quality is None else {"score to learn": one.quality}
    return {"weight": one.weight, "box weight": one.box_weight, **quality}


def _rows(title: str, rows: Sequence[tuple["Place", Mapping[str, "Number"], str]], last: str) -> None:
    """A table of locations, the first `MOST` of them."""
    from assignbench.cli.output import say, show, table

    names = list(dict.fromkeys(name for _, numbers, _ in rows for name in numbers))
    anchors = any(place.anchor for place, *_ in rows)
    others = any(text for *_, text in rows)
    columns = ("level", "row", "column", *(("anchor",) if anchors else ()), "x", "y", *names)
    say(f"{title} ({len(rows):,} {'location' if len(rows) == 1 else 'locations'})")
    show(
        table(
            (*columns, *((last,) if others else ())),
            (
                (
                    place.level, str(place.row), str(place.column), *((str(place.anchor),) if anchors else ()),
                    f"{place.x:.1f}", f"{place.y:.1f}", *(_number(numbers.get(name)) for name in names),
                    *((text,) if others else ()),
                )
                for place, numbers, text in rows[:MOST]
            ),
            numbers=columns[1:],
        )
    )  # fmt: skip
    if len(rows) > MOST:
        say(f"  … and {len(rows) - MOST:,} more, which --json has")


def _and(objects: Iterable[int]) -> str:
    listed = [f"object {number}" for number in objects]
    return ", ".join(listed)


def _range(ends: tuple[float, float] | None) -> str:
    """``0.01 – 0.15``, or one number."""
    texts = [] if ends is None else list(dict.fromkeys(f"{end:.3g}" for end in ends))
    return " – ".join(texts)


def _number(value: "Number") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:.4g}"
