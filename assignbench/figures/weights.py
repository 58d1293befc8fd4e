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
    SCREEN,
    TRUE,
    Paper,
    clear,
    frame_text,
    key,
    name_rows,
    outline,
    percent,
    show_level,
    show_pale,
)
from assignbench.figures.picture import Picture, chosen_by
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


def require_equal_lengths(runs: Sequence[ShownRun]) -> None:
    """Refuse trainings of different lengths: what differs would be their progress as well as their strategies.

    Raises:
        UsageError: they differ.
    """
    iterations = {run.name: run.record.iterations for run in runs}
    if len(set(iterations.values())) > 1:
        listed = ", ".join(f"{name} {count:,}" for name, count in iterations.items())
        raise UsageError(
            f"figure 1 compares strategies after equally many iterations, and these runs have {listed}; name runs of "
            "one length"
        )


def draw_weights(
    runs: Sequence[ShownRun], dataset: Dataset, pictures: Sequence[Picture], paper: Paper = SCREEN
) -> Figure:
    """A row a strategy: all levels together, and, of a single picture, each level that holds some weight.

    Raises:
        UsageError: a picture has no object, or the runs have different numbers of iterations.
    """
    require_equal_lengths(runs)
    table = [[strategy_weights(run, dataset, picture) for picture in pictures] for run in runs]
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    single = len(pictures) == 1
    levels = levels_with_weight([line[0] for line in table]) if single else []
    columns = 1 + len(levels) if single else len(pictures)
    ratio = float(np.mean([len(picture.pixels) / picture.pixels.shape[1] for picture in pictures]))
    side = paper.side(columns, 1.3, max(1.7, min(2.8, 13 / columns)))
    norm = Normalize(0, 1)
    with styled():
        figure = Figure(figsize=(side * columns + 1.3, (side * ratio + 0.25) * len(runs) + 0.2), layout="constrained")
        panels = figure.subplots(len(runs), columns, squeeze=False)
        for run, line, founds in zip(runs, panels, table, strict=True):
            for panel, picture, found in zip(line, pictures, founds, strict=False):
                show_pale(panel, picture.pixels)
                show_spots(panel, found.spots, norm)
                if single or run is runs[0]:
                    panel.set_title("all levels" if single else f"picture {picture.info.id}", loc="center")
            for panel, level in zip(line[1:], levels, strict=False):
                one, fraction = founds[0].maps[level], founds[0].fractions[level]
                show_pale(panel, pictures[0].pixels)
                show_level(panel, one, norm, LEAST)
                panel.set_title(f"{one.name}: {percent(fraction)}", loc="center", weight="normal")
            for column, panel in enumerate(line):
                finish(panel, pictures[0 if single else column])
        name_rows(panels[:, 0], [run.name for run in runs], side * ratio)
        label = "weight as a fraction of the object's largest"
        long = side * ratio * len(runs) > 0.07 * len(label)  # inches of the bar, and of the words beside it
        key(figure, ScalarMappable(norm, HEAT), panels.ravel().tolist(), label if long else "weight / largest")
        empty = [one.name for at, one in enumerate(table[0][0].maps) if at not in levels] if single else []
        title = "Positive weights w⁺: where each object is learned"
        frame_text(figure, paper, title, caption(runs, dataset, pictures, empty))
    return figure


def levels_with_weight(found: Sequence[StrategyWeights]) -> list[int]:
    """The levels on which a cell of some strategy is drawn."""
    return sorted(
        {at for one in found for at, level in enumerate(one.maps) if (np.nan_to_num(level.values) >= LEAST).any()}
    )


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


def caption(runs: Sequence[ShownRun], dataset: Dataset, pictures: Sequence[Picture], empty: Sequence[str] = ()) -> str:
    """What is drawn, and of what."""
    where = "; ".join(picture.title for picture in pictures)
    levels = "" if len(pictures) > 1 else (
        "P3 … P7: a square is the cell of one location, as large as its stride; percentages are parts of all weight, "
        "every object counting the same. "
        + (f"Left out, since nothing is drawn there: {', '.join(empty)}. " if empty else "")
    )  # fmt: skip
    return (
        "Colour: a location's weight for an object as a fraction of that object's largest weight; less than "
        f"{LEAST:.0%} is not drawn; where a cell has several anchors or objects, the largest. All levels: a square at "
        f"each location, the larger the coarser its level, not to scale. {levels}Blue: true boxes. "
        f"{chosen_by(pictures)}{dataset.name}, {dataset.split}, {where}. {'; '.join(run.facts for run in runs)}."
    )
