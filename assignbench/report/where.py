"""Where one strategy wins and another loses: recall of groups of objects, and AP of each class, as figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from assignbench.analysis.by_class import class_differences, class_measure, class_parts, class_values
from assignbench.analysis.by_object import (
    Groups,
    by_centre,
    by_crowding,
    by_size,
    group_differences,
    group_measure,
    group_values,
)
from assignbench.analysis.parts import LEAST_PICTURES, Floats, Measure, Part, PartDifference
from assignbench.data.dataset import Dataset
from assignbench.report.charts import SOFT, bare, row_axis
from assignbench.report.figure import Field, Figure
from assignbench.report.judged import halves
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.kept_matches import class_names, objects_of
from assignbench.run.scoring.matches import Matches

MOST_CLASSES = 100  # that the table shows: those with the most objects
HEIGHT = 18  # pixels of a strategy's line

# title → how the objects are sorted, and what the sentence below says of it
GROUPINGS: Mapping[str, tuple[Callable[..., Groups], str]] = {
    "by the size of the object": (by_size, "small is below 32², large from 96² pixels on"),
    "by crowding": (by_crowding, "by the largest IoU of the object's box with another one"),
    "by what stands at the object's centre": (by_centre, "by whether the box of another object holds the centre"),
}

Measures = dict[str, dict[int, Measure]]  # row → seed → run
Values = dict[str, list[Floats]]  # row → [part] of each seed
Judged = Mapping[tuple[str, str], tuple[PartDifference, ...]]


@dataclass(frozen=True)
class _Kind:
    """One way to take the data apart."""

    title: str
    reading: str
    parts: tuple[Part, ...]
    values: Values
    rows: Measures
    judge: Callable[[Measures, Sequence[tuple[str, str]]], Judged]
    classes: bool = False  # many of them: no chart


def where_figures(
    key: str,
    dataset: Dataset,
    runs: Iterable[tuple[RunRecord, Matches]],
    baseline: str,
    colours: Mapping[str, str],
) -> tuple[Figure, ...]:
    """Figures of one data set: each group of objects and each class, every row against the baseline.

    Args:
        key: of the data set on the page.
        dataset: the split that the runs were evaluated on.
        runs: records with their matches; one after the other is looked at and dropped.
        baseline: the row that the others are held against.
        colours: row → colour, in the order of the rows.
    """
    images, objects = len(dataset), objects_of(dataset)
    groups = {title: (sort(objects, images), says) for title, (sort, says) in GROUPINGS.items()}
    by_group: dict[str, Measures] = {title: {} for title in groups}
    group_means: dict[str, Values] = {title: {} for title in groups}
    by_class: Measures = {}
    class_means: Values = {}
    parts: tuple[Part, ...] = ()
    for record, matches in runs:
        parts = parts or class_parts(matches, class_names(dataset))
        for title, (some, _) in groups.items():
            by_group[title].setdefault(record.row, {})[record.seed] = group_measure(matches, some)
            group_means[title].setdefault(record.row, []).append(group_values(matches, some))
        by_class.setdefault(record.row, {})[record.seed] = class_measure(matches)
        class_means.setdefault(record.row, []).append(class_values(matches))
    if not by_class:
        return ()
    kinds = [
        _Kind(
            f"Recall on {dataset.name} {title}",
            f"Average recall, {says}",
            some.parts(),
            group_means[title],
            by_group[title],
            partial(group_differences, some),
        )
        for title, (some, says) in groups.items()
    ]
    judge = partial(class_differences, parts, images)
    title = f"AP on {dataset.name} by class"
    kinds.append(_Kind(title, "AP of each class", parts, class_means, by_class, judge, classes=True))
    return tuple(_figure(key, kind, baseline, colours) for kind in kinds if any(part.objects for part in kind.parts))


def _figure(key: str, kind: _Kind, baseline: str, colours: Mapping[str, str]) -> Figure:
    """A table of values with what stands of their differences; of a few parts a chart of the differences, too."""
    rows = [row for row in colours if row in kind.rows]
    others = [(row, baseline) for row in rows if row != baseline] if baseline in rows else []
    judged = kind.judge({row: kind.rows[row] for row in rows}, others)
    values = {row: np.mean(kind.values[row], axis=0).tolist() for row in rows}
    order = [place for place, part in enumerate(kind.parts) if part.objects]
    classes = kind.classes
    if classes:
        order.sort(key=lambda place: -kind.parts[place].objects)
    shown = order[:MOST_CLASSES]
    reading = [f"{kind.reading}, in percent points, mean over the seeds."]
    if others:
        rule = "at most one in ten of these signs is wrong" if classes else "after Holm's correction over the groups"
        reading.append(f"▲ better and ▼ worse than {baseline}, {rule}; no sign means undecided, not equal.")
    if any(not kind.parts[place].settles for place in shown):
        reading.append(f"Without a verdict: what stands on fewer than {LEAST_PICTURES} pictures.")
    if len(order) > len(shown):
        reading.append(f"Shown are the {len(shown)} classes with the most objects of {len(order)}.")
    if not classes and others:
        reading.insert(
            1, f"The chart shows the differences to {baseline} with their 95 % intervals; full points stand."
        )
    table = tuple(
        (
            kind.parts[place].name,
            kind.parts[place].objects,
            *(_field(values[row][place], judged.get((row, baseline)), place) for row in rows),
        )
        for place in shown
    )
    spec = None if classes or not others else _chart(kind, judged, shown, others, colours)
    columns = ("class" if classes else "group", "objects", *rows)
    return Figure(kind.title, " ".join(reading), columns, table, spec, {"dataset": key})


def _field(value: float, judged: tuple[PartDifference, ...] | None, place: int) -> Field:
    """A value with the sign of its verdict."""
    text = f"{value:.1f}"
    if judged is None or not judged[place].decided:
        return text
    one = judged[place].difference
    return text if one is None else f"{text} {'▲' if one.mean > 0 else '▼'}"


def _chart(
    kind: _Kind,
    judged: Judged,
    shown: Sequence[int],
    pairs: Sequence[tuple[str, str]],
    colours: Mapping[str, str],
) -> Mapping[str, Any]:
    """Differences to the baseline, a panel a part."""
    known = [
        (kind.parts[place].name, row, one, judged[row, base][place].decided)
        for place in shown
        for row, base in pairs
        if (one := judged[row, base][place].difference) is not None
    ]
    half = halves([one for _, _, one, _ in known])
    values = [
        {
            "part": part,
            "row": row,
            "mean": round(one.mean, 3),
            "low": None if width is None else round(one.mean - width, 3),
            "high": None if width is None else round(one.mean + width, 3),
            "colour": colours[row],
            "fill": colours[row] if decided else "var(--paper)",
        }
        for (part, row, one, decided), width in zip(known, half, strict=True)
    ]
    return faceted(values, [kind.parts[place].name for place in shown])


def faceted(values: Sequence[Mapping[str, Any]], panels: Sequence[str]) -> Mapping[str, Any]:
    """Points with their intervals, a line a row and a panel a part.

    Args:
        values: ``part``, ``row``, ``mean``, ``low``, ``high``, ``colour`` and ``fill`` of each point.
        panels: parts in their order.
    """
    import altair as alt

    y = row_axis(8)
    x = alt.X("low:Q", title="difference", axis=alt.Axis(tickCount=4))
    color = alt.Color("colour:N", scale=None, legend=None)
    tip = [alt.Tooltip("row:N", title="strategy"), alt.Tooltip("mean:Q", title="difference", format="+.1f")]
    base = alt.Chart()
    zero = base.mark_rule(strokeWidth=1, color=SOFT).encode(x=alt.datum(0))
    bars = base.mark_rule(strokeWidth=1.5).encode(x=x, x2="high:Q", y=y, color=color, tooltip=tip)
    points = base.mark_point(size=45, strokeWidth=1.5, opacity=1).encode(
        x="mean:Q",
        y=y,
        stroke=alt.Stroke("colour:N", scale=None, legend=None),
        fill=alt.Fill("fill:N", scale=None, legend=None),
        tooltip=tip,
    )
    layers = alt.layer(zero, bars, points, data=alt.InlineData(values=list(values)))
    facet = layers.properties(width=150, height=alt.Step(HEIGHT)).facet(
        alt.Facet("part:N", sort=list(panels), title=None), columns=4
    )
    return bare(facet)
