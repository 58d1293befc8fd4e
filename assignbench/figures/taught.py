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
from PIL import Image
from torch import Tensor

from assignbench.core import Assignment, Priors, Reasons, Regions, Targets, reasons_of
from assignbench.core.head import MAIN
from assignbench.core.types import Grid
from assignbench.data.dataset import Dataset
from assignbench.data.load.batch import Batch, load_batch, padded
from assignbench.data.load.transforms import (
    Geometry,
    moved_boxes,
    put_picture,
    resized,
    scales_of,
    sizes_of,
    windows,
)
from assignbench.figures.picture import Picture
from assignbench.recipe import DataSettings
from assignbench.run.training.learner import Learner

Extent = tuple[float, float, float, float]  # left, right, bottom, top: pixels of the original picture
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Taught:
    """The record for one picture."""

    assignment: Assignment  # in the host's memory, as all else
    priors: Priors
    targets: Targets  # in network pixels
    scale: tuple[float, float]  # network pixels per original pixel, along x and y
    reasons: Reasons | None = None  # of the strategy, where they are asked for and it gives any
    branches: tuple[str, ...] = ()  # of the head beside the one that speaks, whose record this is

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
    return taught_by(learner, load_batch(dataset, [index], [geometry_of(info.width, info.height, data)]), progress)


def geometry_of(width: int, height: int, data: DataSettings) -> Geometry:
    """How a picture is sized, as for evaluation."""
    return Geometry(*resized(width, height, *data.test_sides))


def batch_of(picture: Picture, geometry: Geometry) -> Batch:
    """A picture that is in memory, as `load_batch` would make it of a split."""
    sizes, owner = sizes_of([geometry]), np.zeros(len(picture.labels) + len(picture.ignored_labels), dtype=np.int64)
    kept = windows([(picture.info.width, picture.info.height)], [geometry])
    images = torch.zeros(1, 3, *padded([geometry]), dtype=torch.uint8)
    put_picture(
        Image.fromarray(picture.pixels), geometry, None, images[0].numpy()[:, : geometry.height, : geometry.width]
    )
    both = np.concatenate((picture.boxes, picture.ignored_boxes))
    boxes, whose = torch.from_numpy(moved_boxes(both, owner, kept, sizes, [geometry])), torch.from_numpy(owner)
    count = len(picture.labels)
    return Batch(
        images=images,
        sizes=torch.from_numpy(sizes),
        targets=Targets(
            boxes=boxes[:count],
            labels=torch.from_numpy(picture.labels),
            image=whose[:count],
            images=1,
            ignore=Regions(boxes[count:], whose[count:]),
        ),
        indices=(picture.index,),
        scales=torch.from_numpy(scales_of(kept, sizes).astype(np.float32)),
    )


@torch.no_grad()
def taught_by(learner: Learner, batch: Batch, progress: float = 1.0, *, explained: bool = False) -> Taught:
    """What a batch of one picture would teach.

    Args:
        learner: with the weights to be taught.
        batch: the picture.
        progress: how far the training was with these weights, from 0 to 1, its end.
        explained: whether the strategy is asked for its reasons, too.

    Raises:
        RunError: the strategy's record is impossible.
    """
    scale_x, scale_y = batch.scales[0].tolist()
    batch = batch.to(learner.detector.mean.device)
    learner.eval()
    seen = learner.detector.every_branch(batch.images, batch.sizes, progress)
    step = learner.charge(seen, batch.targets, timed=True, progress=progress)
    reasons = None
    if explained:
        with torch.autocast(batch.images.device.type, enabled=False):
            reasons = reasons_of(learner.assigner, learner.views(seen, batch.targets, progress), progress)
    return Taught(
        step.assignment.to("cpu"),
        step.priors.on_host(),
        batch.targets.on_host(),
        (scale_x, scale_y),
        reasons,
        tuple(branch for branch in seen if branch != MAIN),
    )


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
