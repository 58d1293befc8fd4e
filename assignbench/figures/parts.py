"""Figure 3: what AutoAssign's positive weights are made of: centre weighting G times confidence weighting C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assignbench.data.dataset import Dataset
from assignbench.errors import UsageError
from assignbench.figures.canvas import (
    INK,
    SCREEN,
    TRUE,
    Paper,
    confidence_key,
    confidence_scale,
    frame_text,
    key,
    outline,
    percent,
    show_level,
    show_pale,
    show_picture,
    signed,
    zoom,
)
from assignbench.figures.picture import Picture, chosen_by, taught_nowhere
from assignbench.figures.runs import ShownRun
from assignbench.figures.taught import LevelMap, Taught, level_fractions, level_maps, teach, weight_maps
from assignbench.plot import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


OBJECT = 1.5  # width of the panel of the object, in panels of a level


@dataclass(frozen=True, eq=False)
class Parts:
    """The weights of one object and what they are made of, per level."""

    center: Sequence[LevelMap]
    confidence: Sequence[LevelMap]
    weight: Sequence[LevelMap]
    fractions: np.ndarray  # [level] of the object's weight


def parts_of(taught: Taught, number: int, strategy: str) -> Parts:
    """G, C and w⁺ of one object.

    Raises:
        UsageError: the strategy's weights have no such parts.
    """
    pairs, shown = taught.assignment.pairs, taught.assignment.diagnostics
    if not {"center", "confidence"} <= shown.keys():
        raise UsageError(
            f"the weights of {strategy} are not made of a centre and a confidence weighting; name a run of autoassign"
        )
    return Parts(
        center=level_maps(shown["center"], pairs.object, pairs.location, taught, number),
        confidence=level_maps(shown["confidence"], pairs.object, pairs.location, taught, number),
        weight=weight_maps(taught, number),
        fractions=level_fractions(taught, number),
    )


def draw_parts(run: ShownRun, dataset: Dataset, picture: Picture, number: int, paper: Paper = SCREEN) -> Figure:
    """Rows G, C and w⁺, a column a level; on the left the object, once.

    Raises:
        UsageError: as `parts_of`, or the object is taught at no location.
    """
    parts = parts_of(teach(run.learner, dataset, picture.index, run.recipe.data), number, run.record.assigner.label)
    if all(one.empty for one in parts.center):
        raise taught_nowhere(picture, number)
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    largest = max(float(np.nanmax(one.values, initial=0)) for one in parts.weight)
    levels = len(parts.weight)
    box = picture.boxes[number]
    with styled():
        side = paper.side(levels + OBJECT, 1.3, 1.7)
        wide = side >= 1.4  # else words beside a panel would meet those of the next
        figure = Figure(figsize=(side * (levels + OBJECT) + 1.3, (side + 0.15) * 3 + 0.4), layout="constrained")
        grid = figure.add_gridspec(3, levels + 1, width_ratios=[OBJECT, *[1] * levels])
        whole = figure.add_subplot(grid[:, 0])
        show_picture(whole, picture.pixels)
        zoom(whole, box)
        outline(whole, box, TRUE)
        whole.set_title(picture.name(number), loc="center")
        whole.set_xlabel(settings_of(run, picture.name(number)), linespacing=1.5, fontsize=9 if wide else 7)
        panels = [[figure.add_subplot(grid[row, 1 + level]) for level in range(levels)] for row in range(3)]
        rows = (
            ("G: centre", "centre weighting G", parts.center, Normalize(0, 1)),
            ("C: confidence", "confidence weighting C", parts.confidence, confidence_scale(parts.confidence)),
            ("w⁺ ∝ G · C", "positive weight w⁺", parts.weight, Normalize(0, largest or 1)),
        )
        for line, (name, label, maps, norm) in zip(panels, rows, strict=True):
            image = None
            for column, (panel, one) in enumerate(zip(line, maps, strict=True)):
                show_pale(panel, picture.pixels)
                image = show_level(panel, one, norm)
                zoom(panel, box)
                outline(panel, box, TRUE, 0.9)
                if maps is parts.center:  # the top line
                    panel.set_title(one.name, loc="center")
                if maps is parts.weight:
                    panel.set_xlabel(f"{percent(parts.fractions[column])}{' of w⁺' if wide else ''}")
                if one.empty:
                    panel.text(0.5, 0.5, "no weight", transform=panel.transAxes, ha="center", va="center")
            line[0].set_ylabel(name if wide else name.split()[0].rstrip(":"), weight="bold", fontsize=10, color=INK)
            if image is not None and maps is parts.confidence:
                confidence_key(figure, image, line, "confidence weighting C" if wide else "C")
            elif image is not None:
                key(figure, image, line, label if wide else label.split()[-1])
        frame_text(figure, paper, "What a positive weight is made of", caption(run, dataset, picture, number))
    return figure


def settings_of(run: ShownRun, category: str) -> str:
    """The numbers behind G and C."""
    learned = run.record.learned
    prior = learned.get(category) or learned.get("all")
    options = run.record.assigner.options
    tau = None if options.get("confidence") == "off" else options.get("tau")
    lines = (
        []
        if prior is None or not {"mu_x", "mu_y", "sigma_x", "sigma_y"} <= prior.keys()
        else [
            f"μ = {signed(prior['mu_x'], prior['mu_y'])}",
            f"σ = ({prior['sigma_x']:.2f}, {prior['sigma_y']:.2f})",
            "in strides",
        ]
    )
    return "\n".join([*lines, *([f"τ = {tau:.3g}"] if isinstance(tau, float) else [])])


def meaning_of_center(run: ShownRun) -> str:
    """What G is under the run's options."""
    return {
        "category": "G: Gaussian of the category's learned prior.",
        "shared": "G: Gaussian of the learned prior that all categories share.",
        "fixed": "G: Gaussian of a fixed prior.",
        "none": "G: switched off, 1 everywhere.",
    }.get(str(run.record.assigner.options.get("center")), "G: centre weighting.")


def meaning_of_blanks(run: ShownRun) -> str:
    """What a cell of the box without colour says, a sentence and a space; nothing where there is none."""
    if run.record.assigner.options.get("center") == "none":
        return ""
    return "A cell without colour: its location lies outside the box, or G is so small there that it weighs nothing. "


def meaning_of_confidence(run: ShownRun) -> str:
    """What C is under the run's options."""
    return {
        "joint": "C = exp(P⁺/τ), logarithmic colours.",
        "class": "C = exp(P(class)/τ), logarithmic colours.",
        "location": "C = exp(P(box)/τ), logarithmic colours.",
        "off": "C: switched off, 1 everywhere.",
    }.get(str(run.record.assigner.options.get("confidence")), "C: confidence weighting, logarithmic colours.")


def caption(run: ShownRun, dataset: Dataset, picture: Picture, number: int) -> str:
    """What is drawn, and of what."""
    return (
        f"One object, {picture.name(number)} ({number + 1} of {len(picture.labels)}), over the pyramid's levels: a "
        f"square is the cell of one location, as large as its stride. {meaning_of_center(run)} "
        f"{meaning_of_confidence(run)} w⁺: their product, divided by its sum over all levels. Blue: true box; only "
        f"locations inside it take part. {meaning_of_blanks(run)}"
        f"{chosen_by([picture])}{dataset.name}, {dataset.split}, {picture.title}. {run.facts}."
    )
