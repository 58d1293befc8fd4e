"""Figure 4: the learned centre prior of categories, drawn on an object of each.

μ and σ are in strides, so a prior is as many places as there are levels: what is drawn is the one of the level that
holds most of the object's weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assignbench.data.dataset import Dataset
from assignbench.errors import UsageError
from assignbench.figures.best import BestPlace
from assignbench.figures.canvas import (
    SCREEN,
    Paper,
    frame_text,
    legend_on_top,
    outline,
    percent,
    show_picture,
    signed,
    zoom,
)
from assignbench.figures.picture import LOOKED_AT, Picture, open_picture, standouts
from assignbench.figures.runs import ShownRun
from assignbench.figures.taught import level_fractions, teach
from assignbench.plot import styled
from assignbench.run.results.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OFF_CENTRE = 0.05  # of a box: a true offset that is worth a panel of its own
PER_LINE = 4  # panels
PRIOR, CENTRE, TRUTH, BEST = "#D55E00", "#0072B2", "#009E73", "#CC79A7"

NARROWEST = 2.3  # inches of a panel, which the words above and below it take

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class CategoryPrior:
    """The prior of a category on one of its objects, in pixels of the original picture."""

    name: str
    prior: Mapping[str, float]  # strides
    picture: Picture
    number: int  # of the object in it
    level: str  # that holds most of the object's weight
    fraction: float  # of the weight, on that level
    center: Point  # of the box
    middle: Point  # of the prior: where G = 1
    deviations: Point  # σ along x and y
    truth: Point | None  # centre of the category's visible mass; None: the data set does not say
    best: Point | None  # where another run detects the category best; None: not asked for


def chosen_categories(
    priors: Mapping[str, Mapping[str, float]], offsets: Mapping[str, Point] | None, classes: Sequence[str], count: int
) -> list[str]:
    """Those with the longest μ, and those whose true mass is known to lie off the centre; in the order of ``classes``.

    Of a prior shared by all, the first ones.
    """
    off = {name for name, offset in (offsets or {}).items() if math.hypot(*offset) >= OFF_CENTRE}
    if set(priors) != set(classes):  # one for all
        ranked = list(classes)
    else:
        ranked = sorted(classes, key=lambda name: -math.hypot(priors[name]["mu_x"], priors[name]["mu_y"]))
    return [name for name in classes if name in {*ranked[:count], *off}]


def learned_prior(record: RunRecord) -> Mapping[str, Mapping[str, float]]:
    """The prior that a run learned.

    Raises:
        UsageError: it learned none.
    """
    if not record.learned or "mu_x" not in next(iter(record.learned.values())):
        raise UsageError(
            f"{record.assigner.label} learned no centre prior; name a run of autoassign with center=category or shared"
        )
    return record.learned


def category_priors(
    run: ShownRun, dataset: Dataset, count: int, best: Mapping[str, BestPlace] | None = None
) -> tuple[list[CategoryPrior], list[str]]:
    """What is drawn, and the categories that are left out since no picture shows them.

    Raises:
        UsageError: the run learned no prior, or no picture shows any of the categories.
    """
    record, priors = run.record, learned_prior(run.record)
    names = chosen_categories(priors, record.true_offsets, dataset.classes, count)
    examples: dict[int, tuple[Picture, int]] = {}
    wanted = {dataset.classes.index(name) for name in names}
    for index, number in standouts(dataset):
        objects = dataset.objects_of(index)
        label = int(dataset.labels[objects][~dataset.crowd[objects]][number])
        if label in wanted and label not in examples:
            examples[label] = (open_picture(dataset, index), number)
    found = [place(run, dataset, *examples[label], best or {}) for label in sorted(examples)]
    absent = [name for name in names if dataset.classes.index(name) not in examples]
    if not found:
        raise UsageError(f"the first {LOOKED_AT} pictures of {dataset.name} show none of: {', '.join(names)}")
    return found, absent


def place(
    run: ShownRun, dataset: Dataset, picture: Picture, number: int, best: Mapping[str, BestPlace]
) -> CategoryPrior:
    """Where the prior of an object's category lies on it."""
    record, name = run.record, picture.name(number)
    prior = record.learned.get(name) or record.learned["all"]
    taught = teach(run.learner, dataset, picture.index, run.recipe.data)
    fractions = level_fractions(taught, number)
    level = int(fractions.argmax())
    stride = float(taught.priors.stride[taught.grid.start[level]])
    step_x, step_y = stride / taught.scale[0], stride / taught.scale[1]
    x0, y0, x1, y1 = picture.boxes[number].tolist()
    center = ((x0 + x1) / 2, (y0 + y1) / 2)

    def inside(offset: Point | None) -> Point | None:
        """A place in box sizes from the centre, in pixels."""
        return None if offset is None else (center[0] + offset[0] * (x1 - x0), center[1] + offset[1] * (y1 - y0))

    return CategoryPrior(
        name=name,
        prior=prior,
        picture=picture,
        number=number,
        level=f"P{level + 3}",
        fraction=float(fractions[level]),
        center=center,
        middle=(center[0] + prior["mu_x"] * step_x, center[1] + prior["mu_y"] * step_y),
        deviations=(prior["sigma_x"] * step_x, prior["sigma_y"] * step_y),
        truth=inside((record.true_offsets or {}).get(name)),
        best=inside(best[name].likelihood.mean if name in best else None),
    )


def draw_priors(
    run: ShownRun,
    dataset: Dataset,
    count: int,
    other: ShownRun | None = None,
    best: Mapping[str, BestPlace] | None = None,
    *,
    paper: Paper = SCREEN,
) -> Figure:
    """A panel a category.

    Args:
        run: that learned a prior.
        dataset: its evaluation split.
        count: categories with the longest μ to show.
        other: a run whose best places are marked, too.
        best: those places.
        paper: how it is laid out.

    Raises:
        UsageError: as `category_priors`.
    """
    found, absent = category_priors(run, dataset, count, best)
    from matplotlib.figure import Figure

    most = max(1, min(PER_LINE, int(paper.layout(2.5 * PER_LINE) / NARROWEST)))
    lines = -(-len(found) // most)
    columns = -(-len(found) // lines)
    side = paper.side(columns, 0.1, 2.5)
    with styled():
        figure = Figure(
            figsize=(max(6.0 if paper.width is None else 0.0, side * columns + 0.1), (side + 0.45) * lines),
            layout="constrained",
        )
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for panel, one in zip(panels, found, strict=False):
            draw_prior(panel, one)
        for panel in panels[len(found) :]:
            panel.set_axis_off()
        signs = [pair for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
        labels, handles = zip(*{label: handle for handle, label in reversed(signs)}.items(), strict=True)
        labels, handles = labels[::-1], handles[::-1]
        frame_text(
            figure, paper, "The learned centre prior of each category", caption(run, dataset, found, absent, other)
        )
        legend_on_top(figure, handles, labels)
    return figure


def around(boxes: Sequence[Sequence[float]]) -> Box:
    """The smallest box that holds them all, so that what lies beside an object is seen, too."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def draw_prior(panel: Axes, one: CategoryPrior) -> None:
    """The object, its box, both centres and the Gaussian."""
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import Normal, Stroke

    glow = [Stroke(linewidth=3.2, foreground="white"), Normal()]
    show_picture(panel, one.picture.pixels)
    box = one.picture.boxes[one.number]
    outline(panel, box, CENTRE, 1.0)
    for sigmas, style in ((1, "-"), (2, "--")):
        width, height = 2 * sigmas * one.deviations[0], 2 * sigmas * one.deviations[1]
        ring = Ellipse(one.middle, width, height, fill=False, edgecolor=PRIOR, linewidth=1.4, linestyle=style)
        ring.set_path_effects(glow)
        ring.set_label(f"{sigmas} σ")
        panel.add_patch(ring)
    # From below: hollow and large to small and full, so that none hides another where they meet.
    signs = [("prior's centre, μ", one.middle, "o", PRIOR, 4.5), ("box centre", one.center, "+", CENTRE, 11.0)]
    if one.truth is not None:
        signs.append(("true centre of mass", one.truth, "D", TRUTH, 9.0))
    if one.best is not None:
        signs.append(("best location", one.best, "^", BEST, 14.0))
    for order, (label, (x, y), marker, color, size) in enumerate(sorted(signs, key=lambda sign: -sign[-1])):
        hollow = marker in "D^"
        (sign,) = panel.plot(
            [x],
            [y],
            marker,
            color=color,
            markersize=size,
            markeredgewidth=1.8,
            fillstyle="none" if hollow else "full",
            zorder=4 + order,
        )
        sign.set_label(label)
        sign.set_path_effects(glow)
    zoom(panel, around([box, *((x, y, x, y) for _, (x, y), *_ in signs)]))
    mu, sigma = (
        signed(one.prior["mu_x"], one.prior["mu_y"]),
        f"({one.prior['sigma_x']:.2f}, {one.prior['sigma_y']:.2f})",
    )
    panel.set_title(f"{one.name} on {one.level} ({percent(one.fraction)} of w⁺)", fontsize=9)
    panel.set_xlabel(f"μ = {mu}, σ = {sigma}", fontsize=8.5)


def caption(
    run: ShownRun,
    dataset: Dataset,
    found: Sequence[CategoryPrior],
    absent: Sequence[str],
    other: ShownRun | None = None,
) -> str:
    """What is drawn, and of what."""
    shared = "" if set(run.record.learned) != {"all"} else "One prior is shared by all categories. "
    truth = "" if run.record.true_offsets is None else "Diamond: mean centre of the category's visible mass, as drawn. "
    if other is not None:
        truth += (
            "Triangle: mean place of each object's location with the highest P⁺ by "
            f"{other.name} (run {other.short_id}), of the category. "
        )
    left = f"Not shown, since no picture has them: {', '.join(absent)}. " if absent else ""
    ids = ", ".join(dict.fromkeys(str(one.picture.info.id) for one in found))
    return (
        "μ and σ are learned in strides of a location's level, so a prior lies elsewhere on each level: drawn is the "
        "level (in the title, with its part of the weight) that holds most of this object's positive weight. μ: to the "
        f"right and down. Ellipses: one and two σ. {truth}{shared}{left}Of each category the largest object standing "
        f"alone in the first {LOOKED_AT} pictures of {dataset.name}, {dataset.split}: pictures {ids}. {run.facts}."
    )
