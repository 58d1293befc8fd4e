"""Building blocks of strategies: pairs of objects and locations, who wins a location, sums by group.

Pairs travel as two index tensors of equal length, ``objects [pair]`` and ``locations [pair]``, ordered by
object, then location. Nothing here loops over images or objects; where a matrix ``[object, location]`` is
needed it is built for a few objects at a time, which bounds memory and changes no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.assignment import Assignment, Discounts, Normalisers, Pairs
from assignbench.core.geometry import pick
from assignbench.core.types import Priors, Targets

CHUNK = 1 << 17  # entries of an [object, location] matrix held at once on a CPU: its intermediate results stay in cache
BLOCK = 64  # entries of a long row that are represented by their minimum
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


def sum_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sum of the values of each group: ``[pair], [pair] → [group]``."""
    return values.new_zeros(groups).index_add(0, group, values)


def max_by(values: Tensor, group: Tensor, groups: int, empty: float = 0.0) -> Tensor:
    """Largest value of each group, ``empty`` for a group without any: ``[pair], [pair] → [group]``."""
    return values.new_full((groups,), empty).scatter_reduce(0, group, values, "amax", include_self=False)


def min_by(values: Tensor, group: Tensor, groups: int, empty: float = 0.0) -> Tensor:
    """Smallest value of each group, ``empty`` for a group without any: ``[pair], [pair] → [group]``."""
    return values.new_full((groups,), empty).scatter_reduce(0, group, values, "amin", include_self=False)


def best_of(group: Tensor, score: Tensor, k: int = 1) -> Tensor:
    """Mask of the k best entries of each group; equal scores: the earliest entry. ``[pair], [pair] → bool [pair]``.

    Args:
        group: integer keys from 0 to 2³¹ − 1, they need not be dense.
        score: the larger the better.
        k: at least 1; a group of fewer entries gives all.
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
    among = torch.ones_like(keys, dtype=torch.bool)
    among[k:] = keys[k:] != keys[:-k]
    return torch.zeros_like(among).scatter(0, order, among)


def winners(score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Tensor:
    """Mask of the pairs that win their location: at most one object an image and location.

    Highest score wins; equal scores: the object that stands first in the list. ``[pair]`` each.
    """
    return best_of(pick(targets.image, objects) * len(priors) + locations, score)


def class_winners(
    score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors, classes: int
) -> Tensor:
    """As `winners`, but objects compete only with objects of their own class, one of ``classes``."""
    key = (pick(targets.image, objects) * len(priors) + locations) * classes + pick(targets.labels, objects)
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
