"""What one picture teaches a learner, as maps: read off the strategy's own record, never computed anew.

The picture is prepared as for evaluation (size of the recipe, no augmentation) and goes through the training's own
path, `Learner.charge`. Norm layers use their running statistics, since statistics of one picture would mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assignbench.core import Assignment, Priors
from assignbench.core.types import Grid
from assignbench.data.dataset import Dataset
from assignbench.data.load.batch import load_batch
from assignbench.data.load.transforms import Geometry, resized
from assignbench.recipe import DataSettings
from assignbench.run.training.learner import Learner

Extent = tuple[float, float, float, float]  # left, right, bottom, top: pixels of the original picture
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Taught:
    """The record for one picture."""

    assignment: Assignment
    priors: Priors
    scale: tuple[float, float]  # network pixels per original pixel, along x and y

    @property
    def grid(self) -> Grid:
        """How the locations are laid out."""
        return self.priors.grid


@dataclass(frozen=True, eq=False)
class LevelMap:
    """Numbers at the locations of one level."""

    name: str  # P3 … P7
    values: Map  # [row, column]; NaN: nothing is said of this location
    extent: Extent  # of all cells; a cell is centred on its location

    @property
    def empty(self) -> bool:
        """Whether nothing is said of any location."""
        return bool(np.isnan(self.values).all())


@dataclass(frozen=True, eq=False)
class Spots:
    """Numbers at locations of several levels, in the order in which they are drawn."""

    places: NDArray[np.float64]  # [spot, 2] x, y in pixels of the original picture
    levels: NDArray[np.int64]  # [spot] 0 = P3
    values: NDArray[np.float64]  # [spot]


@torch.no_grad()
def teach(learner: Learner, dataset: Dataset, index: int, data: DataSettings, progress: float = 1.0) -> Taught:
    """What the picture at ``index`` would teach.

    Args:
        learner: with the weights to be taught.
        dataset: the split.
        index: of the picture in ``dataset.images``.
        data: sizes of the pictures.
        progress: how far the training was with these weights, from 0 to 1, its end.

    Raises:
        DataError: it cannot be read.
        RunError: the strategy's record is impossible.
    """
    info = dataset.images[index]
    geometry = Geometry(*resized(info.width, info.height, *data.test_sides))
    batch = load_batch(dataset, [index], [geometry])
    scale = batch.scales[0].tolist()
    batch = batch.to(learner.detector.mean.device)
    learner.eval()
    step = learner(batch, timed=True, progress=progress)
    return Taught(step.assignment, step.priors.on_host(), (scale[0], scale[1]))


def weight_maps(taught: Taught, number: int) -> list[LevelMap]:
    """w⁺ of one object, per level."""
    pairs = taught.assignment.pairs
    return level_maps(pairs.weight, pairs.object, pairs.location, taught, number)


def relative_weights(taught: Taught, objects: int) -> list[LevelMap]:
    """w⁺ of all objects, each as a fraction of the object's largest; where several meet, the larger fraction."""
    pairs = taught.assignment.pairs
    most = torch.zeros(objects, device=pairs.weight.device)
    most = most.scatter_reduce(0, pairs.object, pairs.weight, "amax")
    return level_maps(pairs.weight / most[pairs.object].clamp(min=1e-30), pairs.object, pairs.location, taught)


def level_fractions(taught: Taught, number: int) -> NDArray[np.float64]:
    """How much of an object's weight each level holds: ``[level]``, 0 everywhere if it is taught nowhere."""
    pairs = taught.assignment.pairs
    mine = pairs.object == number
    levels = taught.priors.level.to(mine.device)[pairs.location[mine]]
    total = torch.zeros(len(taught.grid.rows), dtype=torch.float64, device=mine.device)
    total = total.index_add(0, levels, pairs.weight[mine].double())
    return (total / total.sum().clamp(min=1e-30)).cpu().numpy()


def level_maps(
    values: Tensor, objects: Tensor, locations: Tensor, taught: Taught, number: int | None = None
) -> list[LevelMap]:
    """Numbers of pairs at their places; where a cell has several, the largest.

    Args:
        values: ``[pair]``.
        objects: ``[pair]``.
        locations: ``[pair]``.
        taught: where the locations are.
        number: the object whose pairs count; None: those of all.
    """
    if number is not None:
        mine = objects == number
        values, locations = values[mine], locations[mine]
    values, locations = values.detach().float().cpu(), locations.cpu()
    grid, found = taught.grid, []
    for level, (start, rows, columns, first, step) in enumerate(
        zip(grid.start.tolist(), grid.rows.tolist(), grid.columns.tolist(), grid.first, grid.step, strict=True)
    ):
        cell = (locations - start).div(grid.anchors, rounding_mode="floor")
        here = (cell >= 0) & (cell < rows * columns)
        flat = torch.full((rows * columns,), -torch.inf).scatter_reduce(0, cell[here], values[here], "amax")
        flat[flat == -torch.inf] = torch.nan
        left, top = ((first - step / 2) / torch.tensor(taught.scale)).tolist()
        wide, high = (step * torch.tensor([columns, rows]) / torch.tensor(taught.scale)).tolist()
        extent = (left, left + wide, top + high, top)
        found.append(LevelMap(f"P{level + 3}", flat.view(rows, columns).numpy(), extent))
    return found


def spots(maps: Sequence[LevelMap], least: float) -> Spots:
    """Where numbers of at least ``least`` lie; coarse levels first, and of a level the small numbers."""
    parts = []
    for level, one in enumerate(maps):
        rows, columns = one.values.shape
        left, right, bottom, top = one.extent
        row, column = np.nonzero(np.nan_to_num(one.values, nan=-np.inf) >= least)
        x = left + (column + 0.5) * (right - left) / columns
        y = top + (row + 0.5) * (bottom - top) / rows
        parts.append(np.stack((x, y, np.full(len(x), level), one.values[row, column])))
    x, y, levels, values = np.concatenate(parts, axis=1)
    order = np.lexsort((values, -levels))
    return Spots(np.stack((x, y), axis=1)[order], levels[order].astype(np.int64), values[order])
