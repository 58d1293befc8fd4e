"""The picture of ``assignbench bench growth``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from assignbench.cli.commands.bench.growing import AREA, AXES
from assignbench.plot import COLOURS, GREY, MARKERS, log_log, slope_guides, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from assignbench.bench.exponent import Growth, GrowthRow
    from assignbench.bench.growth import GrowthReport

MOST_TICKS = 8  # of an axis; of more only the ends and powers of ten between them are written


def draw_growth(outcome: GrowthReport) -> Figure:
    """Above: time along each axis, beside its floor. Below: what objects add, over their pairs, beside slope 1."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = outcome.rows
    axes = [axis for axis in AXES if any(row.axis == axis for row in rows)]
    looks = dict(zip(dict.fromkeys(row.strategy for row in rows), cycle(zip(COLOURS, MARKERS, strict=True))))
    with styled():
        figure = Figure(figsize=(3.7 * len(axes) + 0.6, 7.2), layout="constrained")
        panels = figure.subplots(2, len(axes), sharey="row", squeeze=False)
        for axis, above, below in zip(axes, *panels, strict=True):
            own = [row for row in rows if row.axis == axis]
            draw_times(above, axis, own, looks)
            draw_added(below, own, [one for one in outcome.growth if one.axis == axis], looks)
        for panel in panels[1]:
            slope_guides(panel)
        name_floors(panels[0, 0], [row for row in rows if row.axis == axes[0]])
        panels[0, 0].set_ylabel("assignment and loss (ms)")
        panels[1, 0].set_ylabel("what objects add (ms)")
        panels[1, 0].set_title("Numbers are exponents: 1 is proportional to pairs", weight="normal", size="medium")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        handles += [Line2D([], [], color=GREY, linestyle=style) for style in ("--", ":")]
        labels += ["floor", "proportional to pairs"]
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(handles), 3 * len(axes)))
    return figure


def draw_times(panel: Axes, axis: str, rows: Sequence[GrowthRow], looks: Mapping[str, tuple[str, str]]) -> None:
    """Time of each strategy, and the floor of each number of priors."""
    log_log(panel)
    for name, (colour, marker) in looks.items():
        own = [row for row in rows if row.strategy == name]
        panel.plot([place(row) for row in own], [row.ms for row in own], color=colour, marker=marker, label=name)
    for floor in floors(rows).values():
        panel.plot(list(floor), list(floor.values()), "--", color=GREY)
    ticks = {place(row): tick(row) for row in rows}
    if len(ticks) > MOST_TICKS:
        least, most = min(ticks), max(ticks)
        round_ones = {x for x in ticks if math.log10(x).is_integer() and 2 * least < x < most / 2}
        ticks = {x: ticks[x] for x in (least, *sorted(round_ones), most)}
    panel.set_xticks(list(ticks), list(ticks.values()))
    one, image = rows[0], rows[0].image.replace("x", "×")
    titles = {"objects": "More objects", "image": "Larger images", "batch": "Larger batches"}
    labels = {
        "objects": f"objects in an image of {image}",
        "image": f"image size, with an object for every {math.isqrt(AREA)}² pixels",
        "batch": f"images of {image} with {one.objects} objects each",
    }
    panel.set(title=titles[axis], xlabel=labels[axis])


def draw_added(
    panel: Axes, rows: Sequence[GrowthRow], growth: Sequence[Growth], looks: Mapping[str, tuple[str, str]]
) -> None:
    """What objects add to the empty batch, where that is more than noise; its exponent at the end of the line."""
    log_log(panel)
    panel.margins(x=0.12)
    panel.set_xlabel("pairs of an object and a location in its box")
    for name, (colour, marker) in looks.items():
        own = [row for row in rows if row.strategy == name]
        added = [row.added_ms if row.noticed else math.nan for row in own]
        panel.plot([row.pairs or math.nan for row in own], added, color=colour, marker=marker)
    fitted = {one.strategy: one.exponent for one in growth if one.exponent is not None}
    ends = {row.strategy: row for row in rows if row.noticed and row.strategy in fitted}  # the last of each stays
    order = sorted(ends.values(), key=lambda row: row.added_ms)
    for below, row, above in zip((None, *order), order, (*order[1:], None), strict=False):
        crowded = [other is not None and is_near(row, other) for other in (below, above)]
        panel.annotate(
            f"{fitted[row.strategy]:.2f}",
            (row.pairs, row.added_ms),
            xytext=(5, 0),
            textcoords="offset points",
            va="bottom" if crowded == [True, False] else "top" if crowded == [False, True] else "center",
            color=looks[row.strategy][0],
            weight="bold",
        )


def is_near(one: GrowthRow, other: GrowthRow) -> bool:
    """Whether numbers beside the two points would touch."""
    ratios = (one.added_ms / other.added_ms, one.pairs / other.pairs)
    return abs(math.log(ratios[0], 2)) < 1 and abs(math.log(ratios[1], 3)) < 1


def floors(rows: Sequence[GrowthRow]) -> dict[int, dict[float, float]]:
    """For each number of priors a cell: place on the axis → the least floor that was measured there, ms."""
    found: dict[int, dict[float, float]] = {}
    for row in rows:
        line = found.setdefault(row.priors, {})
        line[place(row)] = min(row.floor_ms, line.get(place(row), math.inf))
    return found


def name_floors(panel: Axes, rows: Sequence[GrowthRow]) -> None:
    """Write the number of priors to the start of each floor."""
    lines = sorted(floors(rows).items())
    for index, (priors, line) in enumerate(lines):
        low = index == 0 and len(lines) > 1
        panel.annotate(
            f"floor, {priors} prior{'s' * (priors > 1)} a cell",
            next(iter(line.items())),
            xytext=(0, -8 if low else 5),
            textcoords="offset points",
            va="top" if low else "bottom",
            color=GREY,
        )


def place(row: GrowthRow) -> float:
    """Where a case stands on its axis."""
    height, width = map(int, row.image.split("x"))
    return {"objects": row.objects, "image": math.sqrt(height * width), "batch": row.batch}[row.axis]


def tick(row: GrowthRow) -> str:
    """What is written there."""
    height, width = row.image.split("x")
    image = f"{height}²" if height == width else f"{height}×{width}"
    return {"objects": f"{row.objects:,}", "image": image, "batch": str(row.batch)}[row.axis]
