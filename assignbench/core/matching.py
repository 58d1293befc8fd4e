"""Building blocks of strategies: pairs of objects and locations, who wins a location, sums by group.

Pairs travel as two index tensors of equal length, ``objects [pair]`` and ``locations [pair]``, ordered by
object, then location. Nothing here loops over images or objects; where a matrix ``[object, location]`` is
needed it is built for a few objects at a time, which bounds memory and changes no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.geometry import iou_matrix, sides, take
from assignbench.core.types import Assignment, Discounts, Grid, Normalisers, Pairs, Predictions, Priors, Targets

CHUNK = 1 << 17  # entries of an [object, location] matrix held at once on a CPU: its intermediate results stay in cache
BLOCK = 64  # entries of a long row that are represented by their minimum
SLACK = 1e-2  # pixels; more than rounding moves the centres of one cell's anchors apart
DEVICE_CHUNK = 1 << 24  # on a GPU: 64 MB a float tensor


def object_chunks(object_count: int, location_count: int, device: torch.device | None = None) -> Iterator[slice]:
    """Slices of the object axis so that a slice times all locations stays below `CHUNK` entries.

    Without objects: one empty slice, so that callers need no branch.
    """
    step = max(1, (CHUNK if device is None or device.type == "cpu" else DEVICE_CHUNK) // max(1, location_count))
    for start in range(0, max(1, object_count), step):
        yield slice(start, min(start + step, object_count))


def matrix_pairs(rows: Callable[[slice], Tensor], object_count: int, location_count: int) -> tuple[Tensor, Tensor]:
    """The true entries of an ``[object, location]`` mask that is computed a few objects at a time.

    Args:
        rows: the mask's rows for a slice of objects, bool ``[slice, location]``.
        object_count: number of rows in all.
        location_count: number of columns.

    Returns:
        objects and locations of the true entries, ordered by object, then location: ``[pair]`` each.
    """
    found = []
    for chunk in object_chunks(object_count, location_count):
        objects, locations = rows(chunk).nonzero(as_tuple=True)
        found.append(torch.stack((objects + chunk.start, locations)))
    objects, locations = torch.cat(found, dim=1)
    return objects, locations


def inside_pairs(
    targets: Targets, priors: Priors, margin: float = 0.0, within: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All pairs whose location lies strictly inside the object's box, by more than ``margin`` pixels.

    On a grid only the cells that the box covers are looked at, so the cost grows with the pairs that are found.
    ``within``: further boxes, ``[object, level, 4]``, outside of which the caller needs no pair; some may come anyway.
    """

    def rows(chunk: slice) -> Tensor:
        distance = sides(targets.boxes[chunk, None], priors.centers_of(targets.image[chunk]))
        return distance.amin(-1) > margin

    if priors.grid is None:
        return matrix_pairs(rows, len(targets), len(priors))
    boxes = targets.boxes[:, None]
    if within is not None:
        low = torch.maximum(boxes[..., :2], within[..., :2] - margin)
        high = torch.minimum(boxes[..., 2:], within[..., 2:] + margin)
        boxes = torch.cat((low, high), dim=-1)
    if priors.grid.anchors == 1:
        return covered_pairs(boxes, priors, margin)
    objects, locations = covered_pairs(boxes, priors, margin - SLACK)
    inside = sides(take(targets.boxes, objects), take(priors.centers, locations)).amin(-1) > margin
    return objects[inside], locations[inside]


def covered_pairs(boxes: Tensor, priors: Priors, margin: float = 0.0) -> tuple[Tensor, Tensor]:
    """Pairs of boxes and the locations of all cells whose centre lies in them: a rectangle of cells on every level.

    Exact where a cell has one location; of several, whose centres may differ by rounding, the first decides for all.
    Ordered by box, then location. The priors must lie on a grid.

    Args:
        boxes: ``[box, level, 4]``, or ``[box, 1, 4]`` where they are the same on every level.
        priors: on a grid.
        margin: pixels between centre and side.
    """
    grid = priors.grid
    if grid is None:
        raise ValueError("only priors on a grid can be counted off")
    size = torch.stack((grid.columns, grid.rows), dim=-1)  # [level, 2]
    low = ((boxes[..., :2] + margin - grid.first) / grid.step).floor().long().clamp(min=0)  # [box, level, 2]
    high = torch.minimum(((boxes[..., 2:] - margin - grid.first) / grid.step).ceil().long(), size - 1)
    for _ in range(2):  # at most two cells too wide on each side
        low = low + (cell_centers(low, priors, grid) - boxes[..., :2] <= margin).long()
        high = high - (boxes[..., 2:] - cell_centers(high, priors, grid) <= margin).long()
    width, height = (high - low + 1).clamp(min=0).unbind(-1)
    height = height * (width > 0)

    # first the rows of all rectangles, then the locations of all rows
    owner = torch.repeat_interleave(height.flatten())  # [row] → box · level
    level = owner % len(grid.start)
    row = torch.arange(len(owner), device=boxes.device) - (height.flatten().cumsum(0) - height.flatten())[owner]
    row = row + low[..., 1].flatten()[owner]
    first = grid.start[level] + (row * grid.columns[level] + low[..., 0].flatten()[owner]) * grid.anchors
    length = width.flatten()[owner] * grid.anchors
    line = torch.repeat_interleave(length)  # [pair] → row
    shift = first - (length.cumsum(0) - length)
    location = torch.arange(len(line), device=boxes.device) + shift[line]
    return (owner // len(grid.start))[line], location


def cell_centers(cell: Tensor, priors: Priors, grid: Grid) -> Tensor:
    """X of columns and y of rows as the priors have them, to the last bit: ``[box, level, 2] → [box, level, 2]``."""
    inner = torch.minimum(cell.clamp(min=0), torch.stack((grid.columns, grid.rows), dim=-1) - 1)
    x = priors.centers[grid.start + inner[..., 0] * grid.anchors, 0]
    y = priors.centers[grid.start + inner[..., 1] * grid.columns * grid.anchors, 1]
    return torch.stack((x, y), dim=-1)


def smallest_k(cost: Tensor, k: int) -> Tensor:
    """Mask of the k smallest entries of each row: ``[object, location] → bool [object, location]``.

    Equal costs: the lower location first, on every device (`torch.topk` leaves that open). Rows shorter
    than k, and infinite costs, give fewer.
    """
    columns = smallest_columns(cost, k)
    found = cost.gather(1, columns).isfinite()
    return torch.zeros_like(cost, dtype=torch.bool).scatter(1, columns, found)


def smallest_columns(cost: Tensor, k: int) -> Tensor:
    """Columns of the k smallest entries of each row, ascending, the lower of equal ones first: ``[object, k]``."""
    length = cost.shape[1]
    k = min(k, length)
    if length <= BLOCK * BLOCK or k * BLOCK * 2 > length:
        return _smallest_columns(cost, k)
    # A long row is cut into blocks; its k smallest entries lie in the k blocks of smallest minima.
    blocks = -(-length // BLOCK)
    padded = F.pad(cost, (0, blocks * BLOCK - length), value=float("inf"))
    chosen = _smallest_columns(padded.view(len(cost), blocks, BLOCK).amin(-1), k)
    columns = (chosen[..., None] * BLOCK + torch.arange(BLOCK, device=cost.device)).flatten(1)
    return columns.gather(1, _smallest_columns(padded.gather(1, columns), k))


def _smallest_columns(cost: Tensor, k: int) -> Tensor:
    if k == 0 or len(cost) == 0:
        return torch.zeros(len(cost), k, dtype=torch.int64, device=cost.device)
    last = cost.topk(k, dim=1, largest=False).values[:, -1:]
    below, equal = cost < last, cost == last
    room = k - below.sum(1, keepdim=True)
    return (below | (equal & (equal.cumsum(1) <= room))).nonzero()[:, 1].view(-1, k)


def nearest_locations(points: Tensor, priors: Priors, k: int) -> tuple[Tensor, Tensor]:
    """On every level the locations of the k cells nearest to each point: ``[point, 2] → [pair], [pair]``.

    Equal distances: the lower cell first. Levels of fewer cells give all. Ordered by point, then location. The
    priors must lie on a grid. The k nearest cells lie at most k rows and columns from the one that the point is in.
    """
    grid = priors.grid
    if grid is None:
        raise ValueError("only priors on a grid have neighbours that can be counted off")
    size = torch.stack((grid.columns, grid.rows), dim=-1)  # [level, 2]
    middle = torch.minimum(((points[:, None] - grid.first) / grid.step).round().long().clamp(min=0), size - 1)
    offset = torch.arange(-k, k + 1, device=points.device)
    x, y = (middle[..., None] + offset).unbind(-2)  # [point, level, offset]
    fits_x, fits_y = (x >= 0) & (x < grid.columns[:, None]), (y >= 0) & (y < grid.rows[:, None])
    cell = (y[..., :, None] * grid.columns[:, None, None] + x[..., None, :]).flatten(-2)  # [point, level, cell]
    fits = (fits_y[..., :, None] & fits_x[..., None, :]).flatten(-2)
    location = grid.start[:, None] + cell * grid.anchors
    center = priors.centers[location.where(fits, 0)]
    distance = (center - points[:, None, None]).square().sum(-1).sqrt().masked_fill(~fits, float("inf"))
    nearest = smallest_columns(distance.flatten(0, 1), k)
    chosen = nearest.view(*distance.shape[:2], nearest.shape[1])
    point, level, rank = fits.gather(-1, chosen).nonzero(as_tuple=True)
    first = location[point, level, chosen[point, level, rank]]
    every = first[:, None] + torch.arange(grid.anchors, device=points.device)
    return point.repeat_interleave(grid.anchors), every.flatten()


def sum_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sum of the values of each group: ``[pair], [pair] → [group]``."""
    return values.new_zeros(groups).index_add(0, group, values)


def max_by(values: Tensor, group: Tensor, groups: int, empty: float = 0.0) -> Tensor:
    """Largest value of each group, ``empty`` for a group without any: ``[pair], [pair] → [group]``."""
    return values.new_full((groups,), empty).scatter_reduce(0, group, values, "amax", include_self=False)


def min_by(values: Tensor, group: Tensor, groups: int, empty: float = 0.0) -> Tensor:
    """Smallest value of each group, ``empty`` for a group without any: ``[pair], [pair] → [group]``."""
    return values.new_full((groups,), empty).scatter_reduce(0, group, values, "amin", include_self=False)


def best_of(group: Tensor, score: Tensor) -> Tensor:
    """Mask of the best entry of each group; equal scores: the earliest entry. ``[pair], [pair] → bool [pair]``.

    Args:
        group: integer keys from 0 to 2³¹ − 1, they need not be dense.
        score: the larger the better.
    """
    if score.dtype == torch.float32:
        bits = (score + 0.0).view(torch.int32)  # −0 becomes 0
        rank = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()  # integers in the order of the floats
        keys, order = ((group << 32) - rank).sort(stable=True)
        keys = (keys + (1 << 31)) >> 32
    else:
        order = score.argsort(descending=True, stable=True)
        order = order[group[order].argsort(stable=True)]
        keys = group[order]
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    return torch.zeros_like(first).scatter(0, order, first)


def winners(score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Tensor:
    """Mask of the pairs that win their location: at most one object an image and location.

    Highest score wins; equal scores: the object that stands first in the list. ``[pair]`` each.
    """
    return best_of(targets.image[objects] * len(priors) + locations, score)


def class_winners(score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Tensor:
    """As `winners`, but objects compete only with objects of their own class."""
    classes = int(targets.labels.max()) + 1 if len(targets) else 1
    key = (targets.image[objects] * len(priors) + locations) * classes + targets.labels[objects]
    if targets.images * len(priors) * classes >= 1 << 31:  # more than `best_of` takes: number those that occur
        key = key.unique(return_inverse=True)[1]
    return best_of(key, score)


def image_floor(objects: Tensor, targets: Targets) -> Tensor:
    """Σ over images of max(1, pairs of the image): ``[pair] → []``. At least the number of images."""
    ones = torch.ones_like(objects, dtype=targets.boxes.dtype)
    return sum_by(ones, targets.image[objects], targets.images).clamp(min=1).sum()


def same_class_neighbours(targets: Targets) -> Tensor:
    """Which objects meet another one of their class: boxes of one image that overlap or touch: bool ``[object]``."""
    found = [torch.zeros(0, dtype=torch.bool, device=targets.boxes.device)]
    low, high, every = (
        targets.boxes[:, :2],
        targets.boxes[:, 2:],
        torch.arange(len(targets), device=targets.boxes.device),
    )
    for chunk in object_chunks(len(targets), len(targets), targets.boxes.device):
        meet = ((low[chunk, None] <= high) & (low <= high[chunk, None])).all(-1)
        meet &= (targets.image[chunk, None] == targets.image) & (targets.labels[chunk, None] == targets.labels)
        found.append((meet & (every[chunk, None] != every)).any(1))
    return torch.cat(found)


@dataclass(frozen=True)
class Overlaps:
    """IoU of some objects of one image with boxes of that image."""

    objects: Tensor  # [some] int64
    image: int
    iou: Tensor  # [some, box]


def overlaps(targets: Targets, boxes: Tensor) -> Iterator[Overlaps]:
    """IoU of every object with every box of its image, a few objects of one image at a time.

    Args:
        targets: the objects, in any order; of one image they come in theirs.
        boxes: the same for all images, ``[box, 4]``, or ``[image, box, 4]``.
    """
    # coordinate by coordinate, each contiguous: four times as fast as boxes side by side
    planes = boxes.movedim(-1, 0).contiguous().movedim(0, -1)
    order = targets.image.argsort(stable=True)
    counts = torch.bincount(targets.image, minlength=targets.images).tolist()
    start = 0
    for image, count in enumerate(counts):
        own = planes if planes.ndim == 2 else planes[image]
        for chunk in object_chunks(count, len(own), boxes.device):
            objects = order[start + chunk.start : start + chunk.stop]
            if len(objects):
                yield Overlaps(objects, image, iou_matrix(targets.boxes[objects], own))
        start += count


@torch.no_grad()
def best_overlap(predictions: Predictions, targets: Targets) -> Tensor:
    """Largest IoU of each predicted box with any object of its image, of any class: ``[image, location]``."""
    best = predictions.boxes.new_zeros(predictions.images, predictions.locations)
    for part in overlaps(targets, predictions.boxes):
        torch.maximum(best[part.image], part.iou.amax(0), out=best[part.image])
    return best


def hard_assignment(
    objects: Tensor,
    locations: Tensor,
    targets: Targets,
    *,
    quality: Tensor | None = None,
    box_weight: Tensor | None = None,
    background: Tensor | None = None,
    normalisers: Normalisers | None = None,
) -> Assignment:
    """The record of a hard strategy: these pairs are positive, at most one at a location; the rest is background.

    Args:
        objects: ``[pair]``.
        locations: ``[pair]``.
        targets: the batch's objects.
        quality: ``[pair]`` class score to learn; None: 1.
        box_weight: ``[pair]`` weight of the box part (FCOS and ATSS: centerness); None: 1.
        background: ``[image, location]`` share of the negative term; 0 ignores a location.
        normalisers: None: the number of pairs, for the box part the sum of ``box_weight``.
    """
    one = targets.boxes.new_ones(len(objects))
    box_weight = one if box_weight is None else box_weight
    if normalisers is None:
        normalisers = Normalisers(positive=one.sum(), box=box_weight.sum(), negative=one.sum())
    return Assignment(
        pairs=Pairs(objects, locations, weight=one, box_weight=box_weight, quality=one if quality is None else quality),
        # a positive location's own class is no background; its other classes are
        discounts=Discounts(targets.image[objects], locations, targets.labels[objects], torch.zeros_like(one)),
        normalisers=normalisers,
        background=background,
    )
