"""Boxes that cannot be taught or scored: dropped or clipped, and counted. The rules are `build`'s table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from assignbench.data.read.annotations import Objects
from assignbench.data.read.findings import BOX_CLIPPED, BOX_DEGENERATE, BOX_OUTSIDE, BOX_REPEATED, BOX_THIN, Kind

# COCO writes hundredths of a pixel, so no real box is thinner; below this, a box scaled down and stored
# in float32 could lose its width.
THINNEST = 0.005

# Odd numbers of 64 bits, from a generator: a row's columns times these add up to a digest.
_ODD = np.random.default_rng(0).integers(0, 2**63, 7, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def mend(
    objects: Objects, size: NDArray[np.float64], training: bool, note: Callable[[Kind, NDArray[np.bool_]], None]
) -> tuple[Objects, NDArray[np.bool_]]:
    """Mend boxes where that is right, and mark the objects to keep.

    Args:
        objects: in file order.
        size: ``[object, 2]`` width and height of each object's picture.
        training: which column of the table.
        note: told each kind of repair, and which objects it is done to: ``[object]``.

    Returns:
        The objects with their mended boxes, and ``[object]`` which of them to keep.
    """
    boxes = objects.boxes
    empty = _any(boxes[:, 2:] <= boxes[:, :2])
    outside = ~empty & _any((boxes[:, :2] >= size) | (boxes[:, 2:] <= 0))
    note(BOX_DEGENERATE, empty)
    note(BOX_OUTSIDE, outside)
    keep = ~empty & ~outside
    if not training:
        return objects, keep
    clipped = _clipped(boxes, size)
    objects = replace(objects, boxes=clipped)
    thin = keep & _any(clipped[:, 2:] - clipped[:, :2] < THINNEST)
    keep &= ~thin
    again = _repeated(objects, keep)
    note(BOX_CLIPPED, keep & _any(clipped != boxes) if clipped is not boxes else np.zeros_like(keep))
    note(BOX_THIN, thin)
    note(BOX_REPEATED, again)
    return objects, keep & ~again


def _clipped(boxes: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes inside their pictures; the same array where all of them are."""
    if not len(boxes) or (boxes.min() >= 0 and np.all(boxes[:, 2:] <= size) and np.all(boxes[:, :2] <= size)):
        return boxes
    return np.clip(boxes, 0, np.tile(size, 2))


def _any(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``[object, 2 or 4] → [object]``; a column at a time, since numpy is slow along short rows."""
    return np.asarray(np.logical_or.reduce(list(rows.T)), dtype=np.bool_)


def _repeated(objects: Objects, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark kept objects that equal one with a smaller id in image, class, crowd and box."""
    repeated = np.zeros(len(keep), dtype=np.bool_)
    doubtful = np.flatnonzero(keep)[_maybe_equal(objects, keep)]
    some = objects.take(doubtful)
    rows = np.column_stack((some.image, some.labels, some.crowd, some.boxes))
    order = np.lexsort((some.ids, *rows.T))
    same = ~_any(rows[order][1:] != rows[order][:-1])
    repeated[doubtful[order[1:][same]]] = True
    return repeated


def _maybe_equal(objects: Objects, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``[kept]`` whether another row may be equal; sorting ten million whole rows would take half a minute.

    Each row becomes one number: the sum of its columns' bits, each times an odd number of its own. Equal rows become
    equal numbers, and others hardly ever.
    """
    boxes = (objects.boxes[keep] + 0.0).view(np.uint64)  # −0 becomes 0, which it equals
    columns = (objects.image[keep], objects.labels[keep], objects.crowd[keep], *boxes.T)
    digest = np.zeros(len(boxes), dtype=np.uint64)
    for column, odd in zip(columns, _ODD, strict=True):
        digest += column.astype(np.uint64) * odd
    order = np.argsort(digest)
    same = digest[order[1:]] == digest[order[:-1]]
    shared = np.zeros(len(digest), dtype=np.bool_)
    shared[order[1:][same]] = shared[order[:-1][same]] = True
    return shared
