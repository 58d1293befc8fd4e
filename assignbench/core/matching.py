"""Building blocks of strategies: pairs of objects and locations, who wins a location, sums by group.

Pairs travel as two index tensors of equal length, ``objects [pair]`` and ``locations [pair]``, ordered by
object, then location. Nothing here loops over images or objects; where a matrix ``[object, location]`` is
needed it is built for a few objects at a time, which bounds memory and changes no bit of the result.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assignbench.core.assignment import Assignment, Discounts, Normalisers, Pairs
from assignbench.core.fast.rows import best_of, object_chunks, small_keys, smallest_columns
from assignbench.core.geometry import pick
from assignbench.core.tensors import free_to_wait
from assignbench.core.types import Priors, Targets


def smallest_k(cost: Tensor, k: int | Tensor) -> Tensor:
    """Mask of the k smallest entries of each row: ``[object, location] → bool [object, location]``.

    Equal costs: the lower location first, on every device (`torch.topk` leaves that open). Rows shorter than k, costs
    that are infinite and those that are not a number give fewer.

    Args:
        cost: the smaller the better.
        k: of all rows, or of each: int64 ``[object]``.
    """
    most = k if isinstance(k, int) else int(k.max()) if len(k) else 0
    columns = smallest_columns(cost, most)
    found = cost.gather(1, columns)
    taken = found.isfinite()
    if not isinstance(k, int):
        rank = found.nan_to_num(nan=float("inf")).sort(dim=1, stable=True).indices.argsort(dim=1)
        taken &= rank < k[:, None]
    return torch.zeros_like(cost, dtype=torch.bool).scatter(1, columns, taken)


def sum_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sum of the values of each group: ``[pair], [pair] → [group]``."""
    return values.new_zeros(groups).index_add(0, group, values)


def max_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Largest value of each group, −∞ for a group without any: ``[pair], [pair] → [group]``."""
    return values.new_full((groups,), _extreme(values.dtype)[0]).scatter_reduce_(0, group, values, "amax")


def min_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Smallest value of each group, ∞ for a group without any: ``[pair], [pair] → [group]``."""
    return values.new_full((groups,), _extreme(values.dtype)[1]).scatter_reduce_(0, group, values, "amin")


def _extreme(dtype: torch.dtype) -> tuple[float, float]:
    """−∞ and ∞, or the least and the greatest integer."""
    if dtype.is_floating_point:
        return -float("inf"), float("inf")
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def mean_by(values: Tensor, group: Tensor, groups: int, times: Tensor | None = None) -> Tensor:
    """Mean of each group, 0 of an empty one, in which a value counts ``times``: ``[pair], [pair] → [group]``."""
    times = torch.ones_like(values) if times is None else times
    return sum_by(times * values, group, groups) / sum_by(times, group, groups).clamp(min=1)


def moments_by(values: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n − 1) of each group, 0 of one value: ``[pair], [pair] → [group], [group]``."""
    count = sum_by(torch.ones_like(values), group, groups)
    mean = sum_by(values, group, groups) / count.clamp(min=1)
    variance = sum_by((values - mean[group]).square(), group, groups) / (count - 1).clamp(min=1)
    return mean, variance.sqrt()


def above_moments(values: Tensor, group: Tensor, groups: int, able: Tensor, *, rescue: bool = False) -> Tensor:
    """Which values reach mean + standard deviation (n − 1) of their group: ``[pair] each → bool [pair]``.

    Args:
        values: all of them make the moments.
        group: of each value.
        groups: how many there are.
        able: the values that may be chosen: bool ``[pair]``.
        rescue: whether a group of which none is chosen gets its largest able values, all equal ones.
    """
    mean, deviation = moments_by(values, group, groups)
    least = mean + deviation
    if rescue:
        least = torch.fmin(least, max_by(values.where(able, -torch.inf), group, groups))
    return able & (values >= pick(least, group))


def level_means(cost: Tensor, objects: Tensor, level: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mean of each object's costs on each level, infinite where it has no pair: ``[pair] each → [object, level]``.

    Args:
        cost: of each pair.
        objects: the pair's object.
        level: the pair's level.
        shape: numbers of objects and of levels.
    """
    slot, slots = objects * shape[1] + level, shape[0] * shape[1]
    total, pairs = (sum_by(each, slot, slots) for each in (cost, torch.ones_like(cost)))
    return (total / pairs.clamp(min=1)).where(pairs > 0, torch.inf).view(shape)


def softmax_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Softmax within each group, exp(v) / Σ exp(v); values of any size do not overflow: ``[pair], [pair] → [pair]``."""
    largest = max_by(values.detach(), group, groups)
    powers = (values - pick(largest, group)).exp()
    return powers / pick(sum_by(powers, group, groups), group)


def winners(score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Tensor:
    """Mask of the pairs that win their location: at most one object an image and location.

    Highest score wins; equal scores: the object that stands first in the list. ``[pair]`` each.
    """
    return best_of(pick(targets.image, objects) * len(priors) + locations, score)


def class_winners(
    score: Tensor,
    objects: Tensor,
    locations: Tensor,
    targets: Targets,
    priors: Priors,
    classes: int,
    *,
    inside: bool = False,
) -> Tensor:
    """As `winners`, but objects compete only with objects of their own class.

    Args:
        score: ``[pair]``.
        objects: ``[pair]``.
        locations: ``[pair]``.
        targets: the objects.
        priors: the locations.
        classes: of the detector.
        inside: whether each location lies in its object's box. Only objects that meet can then compete, and few do.
    """
    place = torch.add(locations, pick(targets.image, objects), alpha=len(priors))
    key = torch.add(pick(targets.labels, objects), place, alpha=classes)
    key = small_keys(key, targets.images * len(priors) * classes)
    few = len(targets) ** 2 <= 4 * len(key)  # else it costs more to see who meets than to sort all
    if not (inside and few and free_to_wait(key.device)):
        return best_of(key, score)
    rivals = pick(same_class_neighbours(targets), objects).nonzero()[:, 0]
    won = torch.ones_like(key, dtype=torch.bool)
    return won.index_copy_(0, rivals, best_of(pick(key, rivals), pick(score, rivals)))


def match_overlaps(
    objects: Tensor,
    locations: Tensor,
    overlap: Tensor,
    targets: Targets,
    priors: Priors,
    *,
    positive: float,
    background: float,
    forced: Literal["best", "last", "off"] = "best",
    least_forced: float = 0.0,
) -> Tensor:
    """RetinaNet's matching by overlap: which object each location learns, −1 background, −2 neither.

    From ``positive`` on a location learns the object of its highest overlap, of equal ones the one listed first; below
    ``background`` it is background. Each object is then given all locations of its own largest overlap.

    Args:
        objects: of the pairs that overlap, each pair once: ``[pair]``. Pairs below ``background`` may be left out,
            but for those of an object's largest overlap.
        locations: ``[pair]``.
        overlap: ``[pair]``.
        targets: the objects.
        priors: the locations.
        positive: overlap.
        background: overlap, at most ``positive``.
        forced: who gets a location that several objects are given: the one of best overlap, or the one listed last.
        least_forced: an object whose largest overlap is less is given nothing.

    Returns:
        int64 ``[image, location]``.
    """
    best = targets.boxes.new_zeros(targets.images, len(priors))
    won = winners(overlap, objects, locations, targets, priors)
    place = targets.image[objects[won]], locations[won]
    best[place] = overlap[won]
    owner = torch.full_like(best, -1, dtype=torch.int64).masked_fill(best >= background, -2)
    owner[place] = objects[won].where(overlap[won] >= positive, owner[place])
    if forced != "off":
        forcing = (overlap == max_by(overlap, objects, len(targets))[objects]) & (overlap >= least_forced)
        objects, locations, overlap = objects[forcing], locations[forcing], overlap[forcing]
        won = winners(overlap if forced == "best" else objects, objects, locations, targets, priors)
        owner[targets.image[objects[won]], locations[won]] = objects[won]
    return owner


def image_floor(objects: Tensor, targets: Targets) -> Tensor:
    """Σ over images of max(1, pairs of the image): ``[pair] → []``. At least the number of images."""
    ones = torch.ones_like(objects, dtype=targets.boxes.dtype)
    return sum_by(ones, targets.image[objects], targets.images).clamp(min=1).sum()


def same_class_neighbours(targets: Targets) -> Tensor:
    """Which objects meet another one of their class: boxes of one image that overlap or touch: bool ``[object]``."""
    low, high, every = targets.boxes[:, :2], targets.boxes[:, 2:], torch.arange(len(targets))
    found = [torch.zeros(0, dtype=torch.bool)]
    for chunk in object_chunks(len(targets), len(targets)):
        meet = ((low[chunk, None] <= high) & (low <= high[chunk, None])).all(-1)
        meet &= (targets.image[chunk, None] == targets.image) & (targets.labels[chunk, None] == targets.labels)
        found.append((meet & (every[chunk, None] != every)).any(1))
    return torch.cat(found)


def hard_assignment(
    objects: Tensor,
    locations: Tensor,
    targets: Targets,
    *,
    quality: Tensor | None = None,
    box_weight: Tensor | None = None,
    ignored: Tensor | None = None,
    background: Tensor | None = None,
    normalisers: Normalisers | None = None,
) -> Assignment:
    """The record of a hard strategy: these pairs are positive, at most one at a location; the rest is background.

    Args:
        objects: ``[pair]``.
        locations: ``[pair]``.
        targets: the batch's objects.
        quality: ``[pair]`` class score to learn; None: what the class loss says.
        box_weight: ``[pair]`` weight of the box part (FCOS and ATSS: centerness); None: 1.
        ignored: bool ``[image, location]``, locations that are taught nothing; None: there are none.
        background: ``[image, location]`` share of the class background that a location is taught; None: 1 everywhere.
        normalisers: None: the number of pairs, for the box part the sum of ``box_weight``.
    """
    one = targets.boxes.new_ones(len(objects))
    box_weight = one if box_weight is None else box_weight
    if normalisers is None:
        normalisers = Normalisers(positive=one.sum(), box=box_weight.sum(), negative=one.sum())
    return Assignment(
        pairs=Pairs(objects, locations, weight=one, box_weight=box_weight, quality=quality),
        # a positive location's own class is no background; its other classes are
        discounts=Discounts.of_pairs(objects, locations, targets, torch.zeros_like(one)),
        normalisers=normalisers,
        background=background,
        ignored=ignored,
    )


def matched_assignment(
    owner: Tensor, targets: Targets, normaliser: Literal["batch", "image", "local"] = "batch"
) -> Assignment:
    """The record of what `match_overlaps` says.

    Args:
        owner: which object each location learns, −1 background, −2 neither: int64 ``[image, location]``.
        targets: the batch's objects.
        normaliser: the positives of the batch; those of each image, at least one an image; or the latter of each
            process on its own (local).
    """
    positive = owner >= 0
    objects, locations = owner[positive], positive.nonzero()[:, 1]
    count = positive.sum().to(targets.boxes.dtype) if normaliser == "batch" else image_floor(objects, targets)
    return hard_assignment(
        objects,
        locations,
        targets,
        ignored=owner == -2,
        normalisers=Normalisers(count, count, count, local=normaliser == "local"),
    )
