"""The assignment of several strategies on one picture, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assignbench.figures.assigned import LEAST, Assigned, Floats, assigned, levels_in_use
from assignbench.figures.canvas import (
    INK,
    SCREEN,
    SEEN_THROUGH,
    Paper,
    broken,
    clear,
    frame_text,
    outline,
    show_pale,
    show_picture,
)
from assignbench.figures.picture import Picture
from assignbench.figures.teachers import Size, Teacher
from assignbench.plot import styled
from assignbench.run.training.statistics import LEVELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNTAUGHT = "#D4001A"  # red is of objects that nobody teaches, and of nothing else
# Of objects: Okabe and Ito's without vermilion, and three more, apart for the colour-blind too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#6A3D9A", "#8A6D00", "#1B1B1B")
IGNORED = "#4D4D4D"
FAINTEST = 0.12  # opacity of the least weight
LETTER = 0.062  # inches of a letter of a panel's text
DASHED = (0, (1.5, 0.7))  # of a red box, so that it stands out without its colour, too
GROUND = 0.26  # contrast that is left of the picture below squares
NARROWEST = 2.1  # inches of a panel, which the words below it take
ROW = 4  # panels beside each other at most
GROWTH = 1.45  # of a square from one level to the next, where levels share a panel


def colours_of(boxes: Floats) -> list[str]:
    """A colour for each object; of more objects than colours, those of one colour lie far apart."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    chosen: list[int] = []
    for number in range(len(boxes)):
        if number < len(COLOURS):
            chosen.append(number)
            continue
        away = np.hypot(*(centre[:number] - centre[number]).T)
        nearest = [away[np.array(chosen) == colour].min() for colour in range(len(COLOURS))]
        chosen.append(int(np.argmax(nearest)))
    return [COLOURS[colour] for colour in chosen]


def draw_assigned(
    shown: Sequence[Teacher], picture: Picture, size: Size, *, levels: bool = False, paper: Paper = SCREEN
) -> tuple[Figure, list[Assigned]]:
    """The picture, a panel a strategy, and the key; with ``levels`` a row a strategy and a panel a level.

    Returns:
        The figure, and what it draws of each strategy.

    Raises:
        RunError: a strategy fails.
    """
    found = [assigned(one.teach(size.data)) for one in shown]
    with styled():
        figure = _by_level(shown, found, picture, paper) if levels else _together(shown, found, picture, size, paper)
        frame_text(figure, paper, "Which locations teach which object", caption(shown, found, picture, size))
    return figure, found


def _together(
    shown: Sequence[Teacher], found: Sequence[Assigned], picture: Picture, size: Size, paper: Paper
) -> Figure:
    from matplotlib.figure import Figure

    count = len(shown) + 2
    most = max(1, min(ROW, int(paper.layout(2.35 * ROW) / NARROWEST)))
    lines = -(-count // most)
    columns = -(-count // lines)
    ratio = picture.info.height / picture.info.width
    side = paper.side(columns, 0.1 * columns, 2.25 if columns > 2 else 3.2)
    long = any(_long(one, each, side) for one, each in zip(shown, found, strict=True))
    text = 0.62 + 0.16 * long
    figure = Figure(figsize=((side + 0.1) * columns, (side * ratio + text) * lines), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.04, wspace=0.02, hspace=0.02)  # type: ignore[union-attr]
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    colours = colours_of(picture.boxes)
    _draw_objects(panels[0], picture, colours)
    unit = _unit(side, found, picture)
    for panel, one, each in zip(panels[1:], shown, found, strict=False):
        show_pale(panel, picture.pixels, GROUND)
        _draw_boxes(panel, picture, each, colours, side)
        draw_cells(panel, each, colours, unit)
        _finish(panel, picture)
        _name(panel, one, each, len(picture.labels), long=long)
    _draw_key(panels[count - 1], side, unit, found, picture, size)
    for panel in panels[count:]:
        panel.set_axis_off()
    return figure


def _by_level(shown: Sequence[Teacher], found: Sequence[Assigned], picture: Picture, paper: Paper) -> Figure:
    from matplotlib.figure import Figure

    used = levels_in_use(found)
    columns = len(used) + 1
    ratio = picture.info.height / picture.info.width
    side = paper.side(columns, 0.5 + 0.05 * columns, max(1.7, min(2.6, 13 / columns)))
    figure = Figure(
        figsize=((side + 0.05) * columns + 0.5, (side * ratio + 0.3) * len(shown) + 0.25), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.02, wspace=0.01, hspace=0.01)  # type: ignore[union-attr]
    panels = figure.subplots(len(shown), columns, squeeze=False)
    colours = colours_of(picture.boxes)
    unit = _unit(side, found, picture)
    for row, (line, one, each) in enumerate(zip(panels, shown, found, strict=True)):
        for column, panel in enumerate(line):
            show_pale(panel, picture.pixels, GROUND)
            _draw_boxes(panel, picture, each, colours, side)
            if column:
                draw_cells(panel, each, colours, None, used[column - 1])
                number = each.positives[used[column - 1]]
                panel.set_xlabel(f"{_count(number)} positive" if number else "none", fontsize=7, labelpad=2)
            else:
                draw_cells(panel, each, colours, unit)
                _say_untaught(panel, each, len(picture.labels))
            _finish(panel, picture)
            if row == 0:
                panel.set_title(LEVELS[used[column - 1]] if column else "all levels", loc="center", fontsize=9)
        name = "\n".join(broken(one.name, max(6, int(side * ratio / 0.085))))
        line[0].set_ylabel(name, color=INK, weight="bold", fontsize=8.5)
    return figure


def draw_cells(
    panel: Axes, each: Assigned, colours: Sequence[str], unit: float | None, level: int | None = None
) -> None:
    """Cells as squares in the colour of the object; inside one another where a cell teaches several.

    Args:
        panel: where.
        each: what.
        colours: of each object.
        unit: points of a square of P3, a coarser level's are larger but not to scale; None: to scale.
        level: the only one to draw; None: all, coarse ones below.
    """
    from matplotlib.colors import to_rgba

    for number in sorted({*each.ignored.levels.tolist()}, reverse=True):
        if level in (None, number):
            here = each.ignored.levels == number
            wide = 0.5 * (2.2 if unit is None else unit * GROWTH**number)
            panel.scatter(
                *each.ignored.places[here].T, s=wide**2, c=IGNORED, marker="x", linewidths=0.45, alpha=0.75, zorder=2
            )
    cells = each.positive
    chosen = np.flatnonzero((cells.levels == level) if level is not None else np.ones(len(cells.levels), dtype=bool))
    # of a cell the strongest first, since what follows is smaller and lies on it
    order = chosen[np.lexsort((each.strengths[chosen], each.ranks[chosen], -cells.levels[chosen]))]
    if not len(order):
        return
    most = 1.0 if unit is not None else SEEN_THROUGH  # cells to scale would hide the picture
    alpha = np.where(each.strengths > 0, FAINTEST + (most - FAINTEST) * each.strengths, 0.0)
    owners = [int(each.objects[one]) for one in order]
    fills = [to_rgba(colours[owner], float(alpha[one])) for owner, one in zip(owners, order, strict=True)]
    lines = [
        to_rgba("white", 0.95 * float(alpha[one])) if alpha[one] else to_rgba(colours[owner])
        for owner, one in zip(owners, order, strict=True)
    ]
    shrink = 1 - each.ranks[order] / each.sharing[order]
    if unit is not None:
        sizes = (unit * GROWTH ** cells.levels[order] * shrink) ** 2
        panel.scatter(*cells.places[order].T, s=sizes, c=fills, edgecolors=lines, marker="s", linewidths=0.35, zorder=3)
        return
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    sides = cells.sides[order] * shrink[:, None] * 0.92
    low = cells.places[order] - sides / 2
    patches = [Rectangle(tuple(corner), *side) for corner, side in zip(low.tolist(), sides.tolist(), strict=True)]
    panel.add_collection(PatchCollection(patches, facecolors=fills, edgecolors=lines, linewidths=0.4, zorder=3))


def _unit(side: float, found: Sequence[Assigned], picture: Picture) -> float:
    """Points of a square of P3 in a panel ``side`` inches wide."""
    sides = [float(cells.sides[cells.levels == 0].min()) for each in found
             for cells in (each.positive, each.ignored) if (cells.levels == 0).any()]  # fmt: skip
    cell = min(sides, default=picture.info.width / 32) * 72 * side / picture.info.width
    return min(4.6, max(1.6, 0.68 * cell))


def _long(one: Teacher, each: Assigned, side: float) -> bool:
    """Whether the name of a panel and what stands beside it need two lines."""
    beside = f"{len(each.untaught)} taught nowhere"
    return (1.25 * len(one.name) + len(beside) + 2) * LETTER > side


def _name(panel: Axes, one: Teacher, each: Assigned, objects: int, *, long: bool) -> None:
    """The strategy above, and what is not seen at a glance below."""
    panel.set_title(one.name + ("\n " if long else ""), loc="left", fontsize=9, weight="bold", color=INK, pad=3)
    text, style = _untaught_words(each, objects)
    panel.set_title(text, loc="right", fontsize=7.5, pad=3.5, **style)
    levels = " · ".join(f"{LEVELS[at]} {_count(number)}" for at, number in enumerate(each.positives) if number)
    below = [levels or "no positives"]
    more = [f"{each.ignored_locations:,} ignored"] if each.ignored_locations else []
    more += [one.weights] if one.weights else []
    panel.set_xlabel("\n".join([*below, ", ".join(more) or " "]), fontsize=7, color="#333333", labelpad=2.5, loc="left")


def _say_untaught(panel: Axes, each: Assigned, objects: int) -> None:
    text, style = _untaught_words(each, objects)
    panel.set_xlabel(text, fontsize=7, labelpad=2, **style)


def _untaught_words(each: Assigned, objects: int) -> tuple[str, dict[str, Any]]:
    """How many objects nothing teaches, and how that is written."""
    if missing := len(each.untaught):
        return f"{missing} taught nowhere", {"color": UNTAUGHT, "weight": "bold"}
    return f"all {objects} taught", {"color": "#666666", "weight": "normal"}


def _count(number: float) -> str:
    """Whole numbers as they are, small effective ones with a digit."""
    return f"{number:,.0f}" if number >= 100 or abs(number - round(number)) < 1e-6 else f"{number:.1f}"


def _draw_objects(panel: Axes, picture: Picture, colours: Sequence[str]) -> None:
    """The picture with its objects and their numbers."""
    show_picture(panel, picture.pixels)
    for box in picture.ignored_boxes:
        outline(panel, box, IGNORED, 0.9, ":")
    for box, colour in zip(picture.boxes, colours, strict=True):
        outline(panel, box, colour, 1.1)
    _finish(panel, picture)
    for number, (box, colour) in enumerate(zip(picture.boxes, colours, strict=True), start=1):
        _number(panel, number, box, colour)
    panel.set_title("the picture", loc="left", fontsize=9, color=INK, pad=3)
    many = len(picture.labels)
    panel.set_xlabel(f"{many} object{'s' * (many != 1)}\n ", fontsize=7, color="#333333", labelpad=2.5, loc="left")


def _draw_boxes(panel: Axes, picture: Picture, each: Assigned, colours: Sequence[str], side: float) -> None:
    """Thin boxes of objects that are taught; those that are not, in red, on top."""
    from matplotlib.patches import Rectangle

    for number, box in enumerate(picture.boxes):
        x0, y0, x1, y1 = box
        frame: dict[str, Any] = {"xy": (x0, y0), "width": x1 - x0, "height": y1 - y0}
        if number in each.untaught:
            points = min(x1 - x0, y1 - y0) * 72 * side / picture.info.width
            wide = 1.4 if points > 12 else max(0.7, points / 6)
            panel.add_patch(Rectangle(**frame, facecolor=UNTAUGHT, alpha=0.16, linewidth=0, zorder=1.5))
            panel.add_patch(Rectangle(**frame, fill=False, edgecolor="white", linewidth=wide + 1, zorder=5))
            style = DASHED if points > 12 else "-"
            panel.add_patch(
                Rectangle(**frame, fill=False, edgecolor=UNTAUGHT, linewidth=wide, linestyle=style, zorder=6)
            )
        else:
            panel.add_patch(Rectangle(**frame, fill=False, edgecolor=colours[number], linewidth=0.8, zorder=2.5))


def _number(panel: Axes, number: int, box: Floats, colour: str) -> None:
    """An object's number on the upper left corner of its box."""
    small = min(box[2] - box[0], box[3] - box[1]) * 12 < panel.get_xlim()[1]  # its number would hide it
    top = small and box[1] * 12 > panel.get_xlim()[1]
    label = panel.annotate(
        str(number),
        (max(0.0, float(box[0])), max(0.0, float(box[1]))),
        xytext=(0.2, 0.8 if top else -0.5),
        textcoords="offset points",
        ha="left" if not small or top else "right",
        va="bottom" if top else "top",
        fontsize=5.5,
        weight="bold",
        color="white",
        clip_on=True,
        zorder=8,
    )
    label.set_bbox({"facecolor": colour, "edgecolor": "none", "pad": 0.7})


def _finish(panel: Axes, picture: Picture) -> None:
    height, width = picture.pixels.shape[:2]
    panel.set(xlim=(0, width), ylim=(height, 0))
    clear(panel)


def _draw_key(panel: Axes, side: float, unit: float, found: Sequence[Assigned], picture: Picture, size: Size) -> None:
    """What the signs mean."""
    panel.set(xlim=(0, 1), ylim=(0, 1))
    panel.set_axis_off()
    levels = sorted({int(level) for each in found for level in each.positive.levels})
    soft = any(((each.strengths > 0) & (each.strengths < 1)).any() for each in found)
    dark, left, text = "#555555", 0.02, {"fontsize": 7.5, "color": INK, "va": "center"}
    y = 0.93
    panel.text(left, y, "A square: this location teaches the", **text)
    panel.text(left, y - 0.1, "object of its colour, on level", **text)
    y -= 0.245
    x = left
    for level in levels:
        wide = unit * GROWTH**level / 72 / side  # of the panel
        panel.scatter([x + wide / 2], [y], s=(unit * GROWTH**level) ** 2, c=dark, marker="s", linewidths=0)
        panel.text(x + wide + 0.015, y, LEVELS[level], fontsize=7, color=INK, va="center")
        x += wide + 0.115
    y -= 0.165
    if soft:
        for place, strength in enumerate((0.1, 0.4, 0.7, 1.0)):
            alpha = FAINTEST + (1 - FAINTEST) * strength
            panel.scatter([left + 0.03 + place * 0.055], [y], s=42, c=dark, alpha=alpha, marker="s", linewidths=0)
        panel.text(left + 0.26, y, "the fainter, the less it weighs", **text)
        y -= 0.13
    if any(len(each.ignored.levels) for each in found):
        panel.scatter([left + 0.03], [y], s=14, c=IGNORED, marker="x", linewidths=0.8)
        panel.text(left + 0.1, y, "ignored: teaches nothing", **text)
        y -= 0.13
    from matplotlib.patches import Rectangle

    if any(each.untaught for each in found):
        frame: dict[str, Any] = {"xy": (left, y - 0.045), "width": 0.065, "height": 0.09}
        panel.add_patch(Rectangle(**frame, facecolor=UNTAUGHT, alpha=0.16, linewidth=0))
        panel.add_patch(Rectangle(**frame, fill=False, edgecolor=UNTAUGHT, linewidth=1.4, linestyle=DASHED))
        panel.text(left + 0.1, y, "nothing teaches this object", **{**text, "color": UNTAUGHT, "weight": "bold"})
        y -= 0.13
    panel.text(left, y, "elsewhere: background", **text)
    words = size.words(picture).replace(" (", "\n(")
    panel.text(left, max(0.0, y - 0.2), words, fontsize=7, color="#666666", va="center", linespacing=1.3)


def caption(shown: Sequence[Teacher], found: Sequence[Assigned], picture: Picture, size: Size) -> str:
    """What is drawn, and of what."""
    readers: dict[str, list[str]] = {}
    for one in shown:
        if one.weights:
            readers.setdefault(one.weights, []).append(one.name)
    reads = "".join(f"Predictions that {', '.join(names)} read: {weights}. " for weights, names in readers.items())
    faint = sum(each.faint for each in found)
    left = f"Weights below {LEAST:.0%} of the object's largest are not drawn: {faint:,} cells. " if faint else ""
    branches = [one.name for one in shown if one.learner.head.beside]
    main = f"Of {', '.join(branches)} the head that speaks at test. " if branches else ""
    regions = "Dotted: crowd or difficult, taught nowhere on purpose. " if len(picture.ignored_labels) else ""
    missing = "; ".join(
        f"{one.name} {len(each.untaught)}" for one, each in zip(shown, found, strict=True) if each.untaught
    )
    nobody = f"Taught nowhere, of {len(picture.labels)} objects: {missing}. " if missing else ""
    return (
        f"The picture: {picture.title}, {size.words(picture)}. A square is a cell whose location teaches the object of "
        "its colour, the larger the coarser its level, not to scale; inside one another: a cell that teaches several "
        "objects. Opacity: weight as a fraction of the object's largest. Numbers below a panel: positives of each "
        f"level, of soft weights the effective number (Σw)² / Σw². {nobody}{left}{main}{regions}{reads}"
    ).strip()
