"""Class-wise suppression of a whole batch: only boxes of one image and one class are ever compared.

Greedy, as torchvision.ops.nms: from the best box to the worst, a box stays unless its IoU with a better one that
stays exceeds the threshold. That is the only set with

    stays_j  ⇔  no better box i of j's image and class stays with IoU_ij > threshold,

and it is found without going from box to box: all stays_j are computed anew from the stays_i, again and again, which
puts one more box of every chain of overlaps right each time, until nothing changes.

The best entries of every image come first, block by block: what an earlier one suppresses is not compared again, and
an image that has enough boxes is done. Steps grow with blocks and chains, not with images or classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from assignbench.core import iou, take

BLOCK = 128  # entries of an image in the first block
GROWTH = 4  # length of a block, in lengths of the one before
LONGEST = 2048  # bounds the memory of overlaps found in a block
PAIRS = 1 << 14  # compared at once on a CPU: they stay in its cache
DEVICE_PAIRS = 1 << 23  # on a GPU: bounds the memory, some 300 bytes a pair
ROUNDS = 4  # between two looks whether anything still changes: each look makes the host wait for a GPU


def best_apart(boxes: Tensor, labels: Tensor, valid: Tensor, threshold: float, limit: int) -> Tensor:
    """Which boxes stay, ``[image, entry]``. Overlaps are computed in float64.

    Args:
        boxes: of each image, best first: ``[image, entry, 4]``.
        labels: their classes, ``[image, entry]``.
        valid: which entries exist, ``[image, entry]``; in each image they come first.
        threshold: IoU above which the worse of two boxes of a class goes.
        limit: boxes that stay in an image at most, the best.
    """
    images, entries = valid.shape
    rank = torch.arange(entries, device=valid.device)
    group = labels * images + torch.arange(images, device=valid.device)[:, None]
    stays = torch.zeros_like(valid)
    start, length = 0, BLOCK
    while start < entries:
        unfinished = stays.sum(1, keepdim=True) < limit
        new = valid & unfinished & (rank >= start) & (rank < start + length)
        image, entry = (new | stays & unfinished).nonzero(as_tuple=True)
        if not bool((entry >= start).any()):
            break  # enough everywhere, or no more entries
        order = group[image, entry].argsort(stable=True)  # within a group the best stay first
        image, entry = image[order], entry[order]
        left = _left(boxes[image, entry], group[image, entry], entry >= start, threshold)
        stays[image[left], entry[left]] = True
        start, length = start + length, min(GROWTH * length, LONGEST)
    return stays & (stays.cumsum(1) <= limit)


def _left(boxes: Tensor, group: Tensor, new: Tensor, threshold: float) -> Tensor:
    """Which new entries stay, as places; entries stand group by group, in each those that stay for sure, then new ones.

    A new one is held against those that stay for sure first, and only what is left against one another.
    """
    sure = (~new).cumsum(0)  # up to and with this place
    first = torch.searchsorted(group, group)
    count = (sure - sure[first] + ~new[first]).where(new, 0)
    gone = torch.zeros_like(new)
    for _, worse in _overlapping(boxes, first, count, threshold):
        gone[worse] = True
    left = (new & ~gone).nonzero()[:, 0]
    return left[_greedy(boxes[left], group[left], threshold)]


def _greedy(boxes: Tensor, group: Tensor, threshold: float) -> Tensor:
    """Which entries stay of those that stand group by group, best first: ``[entry]`` bool."""
    first = torch.searchsorted(group, group)
    place = torch.arange(len(group), device=group.device)
    pairs = list(_overlapping(boxes, first, place - first, threshold))
    better, worse = (torch.cat(side) for side in zip(*pairs, strict=True)) if pairs else (place[:0], place[:0])
    before, stays = place[:0], torch.ones_like(place)
    while not torch.equal(before, stays):
        for _ in range(ROUNDS):
            before, stays = stays, torch.ones_like(place).scatter_reduce_(0, worse, 1 - stays[better], "amin")
    return stays.bool()


def _overlapping(boxes: Tensor, first: Tensor, count: Tensor, threshold: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Places of two boxes that overlap by more than the threshold: each with the ``count`` ones from ``first`` on."""
    ends = count.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    if total == 0:
        return
    size = PAIRS if boxes.device.type == "cpu" else DEVICE_PAIRS
    whole = total if total <= size else None  # known: the host need not wait for it
    cuts = [] if whole else torch.searchsorted(ends, torch.arange(0, total, size, device=boxes.device)).tolist()
    for start, end in pairwise(sorted({0, *cuts, len(ends)})):
        worse = torch.arange(start, end, device=boxes.device).repeat_interleave(count[start:end], output_size=whole)
        begin = ends[start] - count[start]
        better = torch.arange(len(worse), device=boxes.device) + (first - ends + count + begin)[worse]
        overlap = iou(take(boxes, better).double(), take(boxes, worse).double())
        hit = (overlap > threshold).nonzero()[:, 0]
        yield better[hit], worse[hit]
