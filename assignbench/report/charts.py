"""The charts of the page, as Vega-Lite specifications without data: the page puts the rows in and draws.

Each row brings its own colour, shape and dash, so that a strategy looks the same everywhere and a colour may be a
variable of the page's style sheet, which is another one in the dark and in print. The rows are in the data set "rows".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

INK, SOFT, LINE, PAPER, ACCENT = (f"var(--{name})" for name in ("ink", "soft", "line", "paper", "accent"))
ROW = 24  # pixels of a strategy's line


COLOURS = 8  # of the page's style sheet, `--s0` to `--s7`


def colours_of(rows: Sequence[str]) -> dict[str, str]:
    """Row → its colour, the same on the whole page.

    Args:
        rows: all rows of the page (`Facts.rows`).
    """
    return {row: f"var(--s{place % COLOURS})" for place, row in enumerate(rows)}


@dataclass(frozen=True)
class Chart:
    """A chart without its rows."""

    title: str
    reading: str  # one sentence that says how to read it
    spec: Mapping[str, Any]
    columns: tuple[tuple[str, str], ...]  # field and heading: of the same numbers as a table
    panel: int | None = None  # least width of a panel; None: it is one chart as wide as the page


@cache
def charts() -> Mapping[str, Chart]:
    """Name → chart."""
    return {
        "forest": _forest(),
        "ranks": _ranks(),
        "pairs": _pairs(),
        "positives": _over_training(
            "Positives per object, by size of the object",
            "One panel a size (square root of the area, in pixels of the network's input); a line is a strategy, and "
            "shows how many locations teach an object of that size while training goes on.",
            "positives",
            "sqrt",
            ".3~g",
        ),
        "without": _over_training(
            "Objects that nothing teaches",
            "One panel a size; a line is a strategy, and shows which share of the objects gets no positive location.",
            "objects without positive",
            "linear",
            ".0%",
        ),
        "levels": _over_training(
            "Which level of the pyramid teaches",
            "One panel a level, P3 is the finest; a line is a strategy, and shows which share of its positives lies "
            "on that level.",
            "share of positives",
            "linear",
            ".0%",
        ),
        "losses": _losses(),
        "common": _over_training(
            "The loss that is the same for all, on the evaluation split",
            "One panel a part, a line is a strategy: what final scores and boxes cost an object, the same for all "
            "strategies; lower is better. Runs with train.validate_every have it.",
            "loss",
            "linear",
            ".3~g",
            points=True,
        ),
        "terms": _terms(),
        "learned": _learned(),
        "cost": _cost(),
    }


def config() -> Mapping[str, Any]:
    """How all of them look; colours are variables of the page."""
    text = {
        "labelColor": INK,
        "titleColor": SOFT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    return {
        "background": "transparent",
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {
            **text,
            "domainColor": LINE,
            "tickColor": LINE,
            "gridColor": LINE,
            "gridOpacity": 0.6,
            "labelLimit": 180,
            "titlePadding": 8,
        },
        "header": {
            "labelColor": INK,
            "titleColor": SOFT,
            "labelFontSize": 12,
            "labelFontWeight": 600,
            "labelLimit": 200,
        },
        "facet": {"spacing": 28},
        "text": {"fill": INK, "fontSize": 11},
        "bar": {"stroke": None},
    }


def _finished(chart: alt.Chart | alt.LayerChart | alt.FacetChart, title: str, reading: str) -> Mapping[str, Any]:
    return bare(chart.properties(data=_rows(), description=f"{title}. {reading}"))


def bare(chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> Mapping[str, Any]:
    """A specification without what the page says for all of them: how charts look (`config`)."""
    return {name: each for name, each in chart.to_dict().items() if name not in ("config", "$schema")}


def row_axis(padding: int = 10) -> alt.Y:
    """A line a strategy, in the order of the rows.

    Args:
        padding: pixels between a name and its line.
    """
    import altair as alt

    return alt.Y("row:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False, labelPadding=padding))


def _rows() -> Any:
    import altair as alt

    return alt.NamedData(name="rows")


def _forest() -> Chart:
    import altair as alt

    title = "Differences to the baseline"
    reading = (
        "A strategy to the right of zero is ahead of the baseline; the thin bar is the 95 % interval, the thick bar "
        "what the seeds alone would leave of it, small dots are single seeds. A full point stands after Holm's "
        "correction for all strategies against the baseline; the interval is that of the one difference alone."
    )
    y = row_axis()
    color = alt.Color("colour:N", scale=None, legend=None)
    tip = [alt.Tooltip(f"{field}:N", title=name) for field, name in _FOREST]
    x = alt.X("low:Q", title="difference in percent points", axis=alt.Axis(tickCount=7))
    base = alt.Chart().transform_filter("datum.kind == 'row'")
    zero = alt.Chart().transform_aggregate(rows="count()").mark_rule(strokeWidth=1.5, color=SOFT).encode(x=alt.datum(0))
    thin = base.mark_rule(strokeWidth=1.5, strokeCap="round").encode(x=x, x2="high:Q", y=y, color=color, tooltip=tip)
    thick = base.mark_rule(strokeWidth=6, opacity=0.45, strokeCap="round").encode(
        x="seeds_low:Q", x2="seeds_high:Q", y=y, color=color, tooltip=tip
    )
    dots = (
        alt.Chart()
        .transform_filter("datum.kind == 'seed'")
        .mark_point(size=16, filled=True, opacity=0.8, yOffset=-8)
        .encode(
            x="mean:Q", y=y, color=color, tooltip=[alt.Tooltip("seed:N"), alt.Tooltip("text:N", title="difference")]
        )
    )
    point = base.mark_point(size=90, strokeWidth=2, opacity=1).encode(
        x="mean:Q",
        y=y,
        stroke=alt.Stroke("colour:N", scale=None, legend=None),
        fill=alt.Fill("fill:N", scale=None, legend=None),
        tooltip=tip,
    )
    layers = alt.layer(zero, thin, thick, dots, point).properties(height=alt.Step(ROW + 4))
    columns = (*_FOREST, ("p", "p"), ("p_family", "p by Holm"), ("about", "about"))
    return Chart(title, reading, _finished(layers, title, reading), columns)


_FOREST = (("row", "strategy"), ("text", "difference"), ("interval", "95 % interval"), ("verdict", "verdict"))


def _ranks() -> Chart:
    import altair as alt

    title = "Ranks that each strategy may have"
    reading = (
        "A bar covers all ranks that the comparisons of all pairs leave open, 1 is the best; coloured strategies may "
        "be the best, and a long bar means that little is known."
    )
    y = row_axis()
    bars = (
        alt.Chart()
        .mark_rule(strokeWidth=12, strokeCap="round", opacity=0.85)
        .encode(
            x=alt.X(
                "best:Q",
                title="rank",
                axis=alt.Axis(labelExpr="datum.value % 1 ? '' : datum.label", tickMinStep=1),
                scale=alt.Scale(zero=False, nice=False, padding=16),
            ),
            x2="worst:Q",
            y=y,
            color=alt.Color("colour:N", scale=None, legend=None),
            tooltip=[alt.Tooltip("row:N", title="strategy"), alt.Tooltip("text:N", title="ranks")],
        )
        .properties(height=alt.Step(ROW))
    )
    columns = (("row", "strategy"), ("text", "ranks"), ("group", "may be the best"))
    return Chart(title, reading, _finished(bars, title, reading), columns)


def _pairs() -> Chart:
    import altair as alt

    title = "Every strategy against every other one"
    reading = (
        "A field is the strategy at its left minus the one above it; coloured fields are decided after Holm's "
        "correction for all pairs, which is stricter than against one baseline: blue where the strategy at the left is "
        "better. White fields are undecided, and grey ones have no verdict."
    )
    tip = [alt.Tooltip(f"{field}:N", title=name) for field, name in _PAIRS]
    x = alt.X("b:N", sort=None, title=None, axis=alt.Axis(orient="top", labelAngle=-45, domain=False, ticks=False))
    y = alt.Y("a:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False))
    base = alt.Chart().encode(x=x, y=y)
    fields = base.mark_rect(stroke=LINE, strokeWidth=1).encode(
        fill=alt.Fill("fill:N", scale=None, legend=None),
        fillOpacity=alt.FillOpacity("strength:Q", scale=None, legend=None),
        tooltip=tip,
    )
    text = base.mark_text(fontSize=10).encode(text="short:N", tooltip=tip)
    layers = alt.layer(fields, text).properties(width=alt.Step(34), height=alt.Step(ROW))
    return Chart(title, reading, _finished(layers, title, reading), _PAIRS, panel=0)


_PAIRS = (
    ("a", "strategy"),
    ("b", "minus"),
    ("text", "difference"),
    ("interval", "95 % interval"),
    ("p_family", "p by Holm"),
    ("verdict", "verdict"),
)


def _lines(y: alt.Y, tooltip: list[alt.Tooltip], detail: list[str]) -> alt.Chart:
    import altair as alt

    return (
        alt.Chart()
        .mark_line(strokeWidth=1.75, point=False, strokeJoin="round", tooltip=True)
        .encode(
            x=alt.X("iteration:Q", title=None, axis=alt.Axis(tickCount=3, grid=False, format=",d")),
            y=y,
            color=alt.Color("colour:N", scale=None, legend=None),
            strokeDash=alt.StrokeDash("dash:N", scale=None, legend=None),
            detail=detail,
            tooltip=tooltip,
        )
    )


def _panel() -> alt.Facet:
    import altair as alt

    return alt.Facet("panel:N", sort=None, title=None, header=alt.Header(labelAnchor="start"))


def _facets(lines: alt.Chart, *, independent: bool) -> alt.FacetChart:

    return (
        lines.properties(width=160, height=110)
        .facet(facet=_panel(), data=_rows(), columns=3)
        .resolve_scale(y="independent" if independent else "shared", x="shared")
        .resolve_axis(x="independent")
    )


def _over_training(title: str, reading: str, what: str, scale: str, form: str, *, points: bool = False) -> Chart:
    import altair as alt

    kind: Any = scale
    y = alt.Y("value:Q", title=None, scale=alt.Scale(type=kind, zero=True), axis=alt.Axis(tickCount=4, format=form))
    tip = [
        alt.Tooltip("row:N", title="strategy"),
        alt.Tooltip("iteration:Q"),
        alt.Tooltip("text:N", title=what),
    ]
    lines = _lines(y, tip, ["row:N"])
    if points:  # of few lines of a log, perhaps of one
        lines = lines.mark_line(strokeWidth=1.75, strokeJoin="round", point=alt.OverlayMarkDef(size=24))
    spec = _finished(_facets(lines, independent=form != ".0%"), title, reading)
    return Chart(title, reading, spec, (), panel=180)


def _losses() -> Chart:
    reading = (
        "One panel a strategy, one line a seed, over the iterations; strategies have losses of different terms, so "
        "that heights of different panels say nothing. Thick lines are the same loss on the evaluation split, where "
        "runs have it."
    )
    return _over_iterations("Total loss", reading, "strategy", "total loss")


def _terms() -> Chart:
    reading = (
        "One panel a term of the loss, one line a seed, over the iterations; thick lines are of the evaluation split."
    )
    return _over_iterations("Terms of the loss", reading, "term", "loss")


def _over_iterations(title: str, reading: str, panel: str, what: str) -> Chart:
    import altair as alt

    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4))
    tip = [alt.Tooltip("seed:N"), alt.Tooltip("split:N"), alt.Tooltip("iteration:Q"), alt.Tooltip("text:N", title=what)]
    lines = _lines(y, tip, ["seed:N", "split:N"]).encode(
        strokeWidth=alt.StrokeWidth("width:Q", scale=None, legend=None)
    )
    spec = _finished(_facets(lines, independent=True), title, reading)
    columns = (("panel", panel), ("seed", "seed"), ("split", "split"), ("iteration", "iteration"), ("text", what))
    return Chart(title, reading, spec, columns, panel=190)


def _learned() -> Chart:
    import altair as alt

    title = "What strategies learned of their own"
    reading = (
        "One panel a learned number, one line a class, one point a strategy (mean over its seeds); of a centre prior, "
        "μ is the shift from the middle of the box and σ the width, both in strides of the level."
    )
    points = (
        alt.Chart()
        .mark_point(size=55, filled=True, opacity=0.9)
        .encode(
            x=alt.X("value:Q", title=None, scale=alt.Scale(zero=False, padding=10), axis=alt.Axis(tickCount=5)),
            y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False, grid=True)),
            color=alt.Color("colour:N", scale=None, legend=None),
            shape=alt.Shape("shape:N", scale=None, legend=None),
            tooltip=[
                alt.Tooltip("row:N", title="strategy"),
                alt.Tooltip("label:N", title="class"),
                alt.Tooltip("text:N", title="value"),
            ],
        )
        .properties(width=200, height=alt.Step(18))
        .facet(facet=_panel(), data=_rows(), columns=4)
        .resolve_scale(x="independent")
    )
    columns = (("row", "strategy"), ("panel", "number"), ("label", "class"), ("text", "value"))
    return Chart(title, reading, _finished(points, title, reading), columns, panel=320)


def _cost() -> Chart:
    import altair as alt

    title = "Where the time goes"
    reading = (
        "One bar a strategy: seconds of a whole run by what they were spent on, mean over its seeds; bars can be held "
        "against each other only where the runs share a machine that did nothing else."
    )
    bars = (
        alt.Chart()
        .mark_bar(height=14)
        .encode(
            x=alt.X("seconds:Q", title="seconds", stack="zero"),
            y=row_axis(),
            color=alt.Color("colour:N", scale=None, legend=None),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("row:N", title="strategy"),
                alt.Tooltip("part:N"),
                alt.Tooltip("text:N", title="seconds"),
            ],
        )
        .properties(height=alt.Step(ROW))
    )
    return Chart(title, reading, _finished(bars, title, reading), ())
