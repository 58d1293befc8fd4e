"""Building blocks of strategies: pairs of objects and locations, who wins a location, sums by group.

Pairs travel as two index tensors of equal length, ``objects [pair]`` and ``locations [pair]``, ordered by
object, then location. Nothing here loops over images or objects; where a matrix ``[object, location]`` is
needed it is built for a few objects at a time, which bounds memory and changes no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from assignbench.core.geometry import iou, sides
from assignbench.core.types import Assignment, Discounts, Normalisers, Pairs, Predictions, Priors, Targets

CHUNK = 1 << 23  # entries of an [object, location] matrix held at once: 32 MB a float tensor


def object_chunks(object_count: int, location_count: int) -> Iterator[slice]:
    """Slices of the object axis so that a slice times all locations stays below `CHUNK` entries.

    Without objects: one empty slice, so that callers need no branch.
    """
    step = max(1, CHUNK // max(1, location_count))
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


def inside_pairs(targets: Targets, priors: Priors, margin: float = 0.0) -> tuple[Tensor, Tensor]:
    """All pairs whose location lies strictly inside the object's box, by more than ``margin`` pixels."""

    def rows(chunk: slice) -> Tensor:
        distance = sides(targets.boxes[chunk, None], priors.centers_of(targets.image[chunk]))
        return distance.amin(-1) > margin

    return matrix_pairs(rows, len(targets), len(priors))


def smallest_k(cost: Tensor, k: int) -> Tensor:
    """Mask of the k smallest entries of each row: ``[object, location] → bool [object, location]``.

    Equal costs: the lower location first, on every device (`torch.topk` leaves that open). Rows shorter
    than k, and infinite costs, give fewer.
    """
    k = min(k, cost.shape[1])
    if k == 0 or len(cost) == 0:
        return torch.zeros_like(cost, dtype=torch.bool)
    last = cost.topk(k, dim=1, largest=False).values[:, -1:]
    below, equal = cost < last, cost == last
    room = k - below.sum(1, keepdim=True)
    return (below | (equal & (equal.cumsum(1) <= room))) & cost.isfinite()


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
        group: any integer keys, they need not be dense.
        score: the larger the better.
    """
    if len(group) == 0:
        return torch.zeros_like(group, dtype=torch.bool)
    keys, index = group.unique(return_inverse=True)
    best = score == max_by(score, index, len(keys))[index]
    order = torch.arange(len(group), device=group.device)
    first = torch.full_like(keys, len(group)).scatter_reduce(0, index[best], order[best], "amin")
    return order == first[index]


def winners(score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Tensor:
    """Mask of the pairs that win their location: at most one object an image and location.

    Highest score wins; equal scores: the object that stands first in the list. ``[pair]`` each.
    """
    return best_of(targets.image[objects] * len(priors) + locations, score)


def class_winners(score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Tensor:
    """As `winners`, but objects compete only with objects of their own class."""
    classes = int(targets.labels.max()) + 1 if len(targets) else 1
    key = (targets.image[objects] * len(priors) + locations) * classes + targets.labels[objects]
    return best_of(key, score)


def image_floor(objects: Tensor, targets: Targets) -> Tensor:
    """Σ over images of max(1, pairs of the image): ``[pair] → []``. At least the number of images."""
    ones = torch.ones_like(objects, dtype=targets.boxes.dtype)
    return sum_by(ones, targets.image[objects], targets.images).clamp(min=1).sum()


@torch.no_grad()
def best_overlap(predictions: Predictions, targets: Targets) -> Tensor:
    """Largest IoU of each predicted box with any object of its image, of any class: ``[image, location]``."""
    best = predictions.boxes.new_zeros(predictions.images, predictions.locations)
    for chunk in object_chunks(len(targets), predictions.locations):
        image = targets.image[chunk]
        overlap = iou(predictions.boxes[image], targets.boxes[chunk, None])
        best.scatter_reduce_(0, image[:, None].expand_as(overlap), overlap, "amax")
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
