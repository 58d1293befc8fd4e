"""Rows of a matrix ``[object, location]``, a few objects at a time; the best entries of each row, and of each group."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.tensors import free_to_wait

CHUNK = 1 << 17  # entries of an [object, location] matrix held at once on a CPU: its intermediate results stay in cache
BLOCK = 64  # entries of a long row that are represented by their minimum
SPARSE = 16  # groups for each entry, at most, for a table of them to be worth its memory
SLOTS = 4  # of a group, times k
DEVICE_CHUNK = 1 << 24  # on a GPU: 64 MB a float tensor


def object_chunks(object_count: int, location_count: int, device: torch.device | None = None) -> Iterator[slice]:
    """Slices of the object axis so that a slice times all locations stays below `CHUNK` entries.

    Without objects: one empty slice, so that callers need no branch.
    """
    step = max(1, (CHUNK if device is None or device.type == "cpu" else DEVICE_CHUNK) // max(1, location_count))
    for start in range(0, max(1, object_count), step):
        yield slice(start, min(start + step, object_count))


def in_order(values: Tensor) -> Tensor:
    """Integers of 32 bits in the order of floats, −0 as 0: float32 ``[...] → int64 [...]``."""
    bits = (values + 0.0).view(torch.int32)  # −0 becomes 0
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()


def smallest_columns(cost: Tensor, k: int) -> Tensor:
    """Columns of the k smallest entries of each row, ascending, the lower of equal ones first: ``[object, k]``.

    What is not a number counts as infinite.
    """
    cost = cost.nan_to_num(nan=float("inf"), posinf=float("inf"), neginf=float("-inf"))
    length = cost.shape[1]
    k = min(k, length)
    if length <= BLOCK * BLOCK or k * BLOCK * 2 > length:
        return _smallest_columns(cost, k)
    # A long row is cut into blocks; its k smallest entries lie in the k blocks of smallest minima.
    blocks = -(-length // BLOCK)
    padded = F.pad(cost, (0, blocks * BLOCK - length), value=float("inf"))
    chosen = _smallest_columns(padded.view(len(cost), blocks, BLOCK).amin(-1), k)
    columns = (chosen[..., None] * BLOCK + torch.arange(BLOCK, device=cost.device)).flatten(1)
    best = columns.gather(1, _smallest_columns(padded.gather(1, columns), k))
    return best.clamp(max=length - 1)  # a row of infinite entries alone may have ended in what was padded


def _smallest_columns(cost: Tensor, k: int) -> Tensor:
    if k == 0 or len(cost) == 0:
        return torch.zeros(len(cost), k, dtype=torch.int64, device=cost.device)
    last = cost.topk(k, dim=1, largest=False).values[:, -1:]
    below, equal = cost < last, cost == last
    room = k - below.sum(1, keepdim=True)
    return (below | (equal & (equal.cumsum(1) <= room))).nonzero()[:, 1].view(-1, k)


def small_keys(keys: Tensor, count: int) -> Tensor:
    """Keys below ``count`` as `best_of` takes them; where they may be too large, those that occur are numbered."""
    return keys if count < 1 << 31 else keys.unique(return_inverse=True)[1]


def best_of(group: Tensor, score: Tensor, k: int = 1) -> Tensor:
    """Mask of the k best entries of each group; equal scores: the earliest entry. ``[pair], [pair] → bool [pair]``.

    Args:
        group: integer keys from 0 to 2³¹ − 1, they need not be dense.
        score: the larger the better.
        k: at least 1; a group of fewer entries gives all.
    """
    if score.dtype == torch.float32 and len(group) and free_to_wait(group.device):
        groups = int(group.max()) + 1
        if k == 1 and groups <= SPARSE * len(group):
            return best_one(group, score, groups)
        if groups * SLOTS * k <= len(group):
            few = promising(group, score, groups, k).nonzero()[:, 0]
            among = sorted_best(group[few], score[few], k)
            return torch.zeros_like(group, dtype=torch.bool).index_copy_(0, few, among)
    return sorted_best(group, score, k)


def best_one(group: Tensor, score: Tensor, groups: int) -> Tensor:
    """`best_of` for k = 1, by a table of all groups."""
    later = torch.arange(len(group) - 1, -1, -1, device=group.device)  # the earlier, the larger
    key = (in_order(score) << 32) + later
    best = key.new_full((groups,), torch.iinfo(torch.int64).min).scatter_reduce_(0, group, key, "amax")
    return key == best.index_select(0, group)


def promising(group: Tensor, score: Tensor, groups: int, k: int) -> Tensor:
    """Mask of entries that all k best of each group are among, and few others.

    The entries of a group are dealt to slots. Its k-th best is at least as good as the k-th best of the slots' bests.
    """
    slots, value = SLOTS * k, in_order(score)
    slot = group * slots + torch.arange(len(group), device=group.device) % slots
    best = value.new_full((groups * slots,), torch.iinfo(torch.int64).min).scatter_reduce_(0, slot, value, "amax")
    least = best.view(groups, slots).topk(k, dim=1).values[:, -1]
    return value >= least.index_select(0, group)


def sorted_best(group: Tensor, score: Tensor, k: int) -> Tensor:
    """`best_of` by sorting all entries."""
    if score.dtype == torch.float32:
        keys, order = ((group << 32) - in_order(score)).sort(stable=True)
        keys = (keys + (1 << 31)) >> 32
    else:
        order = score.argsort(descending=True, stable=True)
        order = order[group[order].argsort(stable=True)]
        keys = group[order]
    among = torch.ones_like(keys, dtype=torch.bool)
    among[k:] = keys[k:] != keys[:-k]
    return torch.zeros_like(among).scatter(0, order, among)
