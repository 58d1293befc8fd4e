"""Figure 1: the positive weights of several strategies on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assignbench.data.dataset import Dataset
from assignbench.errors import UsageError
from assignbench.figures.canvas import (
    HEAT,
    TRUE,
    clear,
    frame_text,
    key,
    name_rows,
    outline,
    percent,
    show_level,
    show_pale,
)
from assignbench.figures.picture import Picture
from assignbench.figures.runs import ShownRun
from assignbench.figures.taught import LevelMap, Spots, level_fractions, relative_weights, spots, teach
from assignbench.plot import styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

LEAST = 0.02  # of an object's largest weight: what is less is not drawn


@dataclass(frozen=True, eq=False)
class StrategyWeights:
    """What one strategy makes of one picture."""

    maps: Sequence[LevelMap]  # each weight as a fraction of its object's largest
    spots: Spots  # the same, all levels together
    fractions: np.ndarray  # [level] of all weight, every object that is taught counting the same


def strategy_weights(run: ShownRun, dataset: Dataset, picture: Picture) -> StrategyWeights:
    """The weights of a run on a picture.

    Raises:
        UsageError: the picture has no object.
    """
    count = len(picture.labels)
    if not count:
        raise UsageError(f"{picture.title} holds no object to be learned; name another with --picture")
    taught = teach(run.learner, dataset, picture.index, run.recipe.data)
    fractions = np.stack([level_fractions(taught, number) for number in range(count)])
    maps = relative_weights(taught, count)
    return StrategyWeights(maps, spots(maps, LEAST), fractions.sum(0) / max(1, int((fractions.sum(1) > 0).sum())))


def draw_weights(runs: Sequence[ShownRun], dataset: Dataset, pictures: Sequence[Picture]) -> Figure:
    """A row a strategy: all levels together, and, of a single picture, each level.

    Raises:
        UsageError: a picture has no object.
    """
    table = [[strategy_weights(run, dataset, picture) for picture in pictures] for run in runs]
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    single = len(pictures) == 1
    columns = 1 + len(table[0][0].maps) if single else len(pictures)
    ratio = float(np.mean([len(picture.pixels) / picture.pixels.shape[1] for picture in pictures]))
    side = max(1.7, min(2.8, 13 / columns))
    norm = Normalize(0, 1)
    with styled():
        figure = Figure(figsize=(side * columns + 1.3, (side * ratio + 0.25) * len(runs) + 1.4), layout="constrained")
        panels = figure.subplots(len(runs), columns, squeeze=False)
        for run, line, founds in zip(runs, panels, table, strict=True):
            for panel, picture, found in zip(line, pictures, founds, strict=False):
                show_pale(panel, picture.pixels)
                show_spots(panel, found.spots, norm)
                if single or run is runs[0]:
                    panel.set_title("all levels" if single else f"picture {picture.info.id}", loc="center")
            if single:
                for panel, level, fraction in zip(line[1:], founds[0].maps, founds[0].fractions, strict=True):
                    show_pale(panel, pictures[0].pixels)
                    show_level(panel, level, norm, LEAST)
                    panel.set_title(f"{level.name}: {percent(fraction)}", loc="center", weight="normal")
            for column, panel in enumerate(line):
                finish(panel, pictures[0 if single else column])
        name_rows(panels[:, 0], [run.name for run in runs], side * ratio)
        key(figure, ScalarMappable(norm, HEAT), panels.ravel().tolist(), "weight as a fraction of the object's largest")
        frame_text(figure, "Positive weights w⁺: where each object is learned", caption(runs, dataset, pictures))
    return figure


def show_spots(panel: Axes, found: Spots, norm: Normalize) -> PathCollection:
    """A square at every location; coarser levels have larger ones, far from to scale, so that none hides others."""
    sizes = (2.4 + 1.5 * found.levels) ** 2
    return panel.scatter(
        *found.places.T, s=sizes, c=found.values, cmap=HEAT, norm=norm, marker="s", linewidths=0.4, edgecolors="white"
    )


def finish(panel: Axes, picture: Picture) -> None:
    """The true boxes, and the picture's borders again."""
    for box in picture.boxes:
        outline(panel, box, TRUE, 0.9)
    height, width = picture.pixels.shape[:2]
    panel.set(xlim=(0, width), ylim=(height, 0))
    clear(panel)


def caption(runs: Sequence[ShownRun], dataset: Dataset, pictures: Sequence[Picture]) -> str:
    """What is drawn, and of what."""
    where = "; ".join(picture.title for picture in pictures)
    levels = "" if len(pictures) > 1 else (
        "P3 … P7: a square is the cell of one location, as large as its stride; percentages are parts of all weight, "
        "every object counting the same. "
    )  # fmt: skip
    return (
        "Colour: a location's weight for an object as a fraction of that object's largest weight; less than "
        f"{LEAST:.0%} is not drawn; where a cell has several anchors or objects, the largest. All levels: a square at "
        f"each location, the larger the coarser its level, not to scale. {levels}Blue: true boxes. {dataset.name}, "
        f"{dataset.split}, {where}. {'; '.join(run.facts for run in runs)}."
    )
