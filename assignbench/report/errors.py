"""Why detections are wrong (TIDE's types), and whether scores mean what they say, as figures of one run a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from assignbench.analysis.calibration import Reliability, reliability
from assignbench.analysis.tide import SPECIAL, TYPES, Errors, tide
from assignbench.data.dataset import Dataset
from assignbench.report.charts import SOFT, bare, row_axis
from assignbench.report.figure import Field, Figure
from assignbench.report.where import HEIGHT
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.detections import DetectionRows
from assignbench.run.scoring.kept_matches import found_of, objects_of
from assignbench.run.scoring.matches import choose

LEAST = 10  # detections that a point of a calibration curve stands on


def error_figures(
    key: str,
    dataset: Dataset,
    runs: Iterable[tuple[RunRecord, Callable[[], DetectionRows]]],
    colours: Mapping[str, str],
) -> tuple[Figure, ...]:
    """Figures of one data set.

    Args:
        key: of the data set on the page.
        dataset: the split that the runs were evaluated on.
        runs: one record a row, and what reads its detections.
        colours: row → colour.
    """
    objects = objects_of(dataset)
    errors: dict[str, Errors] = {}
    scores: dict[str, Reliability] = {}
    seeds: set[int] = set()
    for record, read in runs:
        found = found_of(dataset, read())
        choices = choose(objects, found, len(dataset.classes))
        errors[record.row] = tide(objects, found, choices, len(dataset.classes))
        scores[record.row] = reliability(found, choices)
        seeds.add(record.seed)
    if not errors:
        return ()
    of = f"Of the runs with seed {', '.join(map(str, sorted(seeds)))}."
    calibration = _calibration(key, dataset.name, scores, of, colours)
    if not len(objects.image[~objects.crowd]):  # nothing can be missed, and AP50 is not a number
        return (calibration,)
    return _types(key, dataset.name, errors, of, colours), calibration


def _types(key: str, name: str, errors: Mapping[str, Errors], of: str, colours: Mapping[str, str]) -> Figure:
    kinds = (*TYPES, *SPECIAL)
    rows = tuple((row, _number(one.ap50), *(_number(one.gains[kind]) for kind in kinds)) for row, one in errors.items())
    reading = (
        "By how many points AP50 would rise if errors of one type alone were put right; a longer bar is a larger loss, "
        f"and the bars of a strategy do not add up. {of}"
    )
    values = [
        {"part": kind, "row": row, "gain": round(one.gains[kind], 3), "colour": colours[row]}
        for kind in TYPES
        for row, one in errors.items()
    ]
    return Figure(
        f"Types of errors on {name}", reading, ("strategy", "AP50", *kinds), rows, _bars(values), {"dataset": key}
    )


def _calibration(key: str, name: str, scores: Mapping[str, Reliability], of: str, colours: Mapping[str, str]) -> Figure:
    rows = tuple(
        (row, int(one.detections.sum()), _number(100 * one.error), _number(_mean_score(one)))
        for row, one in scores.items()
    )
    reading = (
        "One panel a strategy: the part of the detections of a score that are right, at IoU 0.5. On the diagonal a "
        "score says how often it is right, below it the strategy is too sure of itself. AP does not ask for that: it "
        f"looks at the order of scores alone. Points stand on {LEAST} detections or more. {of}"
    )
    values = [
        {"row": row, "score": round(float(score), 4), "right": round(float(right), 4), "colour": colours[row]}
        for row, one in scores.items()
        for count, score, right in zip(one.detections, one.score, one.precision, strict=True)
        if count >= LEAST
    ]
    columns = ("strategy", "detections", "calibration error, %", "mean score, %")
    return Figure(f"Calibration of scores on {name}", reading, columns, rows, _curves(values), {"dataset": key})


def _mean_score(one: Reliability) -> float:
    """In percent; NaN: there are no detections."""
    count = one.detections.sum()
    return float(100 * np.nansum(one.score * one.detections) / count) if count else float("nan")


def _number(value: float) -> Field:
    return None if np.isnan(value) else round(value, 3)


def _bars(values: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    import altair as alt

    bars = (
        alt.Chart(alt.InlineData(values=list(values)))
        .mark_bar(height=10)
        .encode(
            x=alt.X("gain:Q", title="AP50 points", axis=alt.Axis(tickCount=4)),
            y=row_axis(8),
            color=alt.Color("colour:N", scale=None, legend=None),
            tooltip=[alt.Tooltip("row:N", title="strategy"), alt.Tooltip("gain:Q", title="AP50 points", format=".1f")],
        )
        .properties(width=200, height=alt.Step(HEIGHT))
        .facet(alt.Facet("part:N", sort=list(TYPES), title=None), columns=3)
    )
    return bare(bars)


def _curves(values: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    import altair as alt

    unit = alt.Scale(domain=[0, 1])
    x = alt.X("score:Q", title="score", scale=unit, axis=alt.Axis(values=[0, 0.5, 1]))
    y = alt.Y("right:Q", title="right", scale=unit, axis=alt.Axis(values=[0, 0.5, 1], format=".0%"))
    ends = alt.InlineData(values=[{"score": 0, "right": 0}, {"score": 1, "right": 1}])
    diagonal = alt.Chart(ends).mark_line(color=SOFT, strokeDash=[4, 4], strokeWidth=1).encode(x=x, y=y)
    curve = (
        alt.Chart()
        .mark_line(strokeWidth=1.75, point={"size": 18, "filled": True})
        .encode(
            x=x,
            y=y,
            color=alt.Color("colour:N", scale=None, legend=None),
            tooltip=[alt.Tooltip("score:Q", format=".2f"), alt.Tooltip("right:Q", format=".0%")],
        )
    )
    panels = list(dict.fromkeys(str(one["row"]) for one in values))
    layers = alt.layer(diagonal, curve, data=alt.InlineData(values=list(values))).properties(width=110, height=110)
    return bare(layers.facet(alt.Facet("row:N", sort=panels, title=None), columns=6))
