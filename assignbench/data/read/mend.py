"""Boxes that cannot be taught or scored: dropped or clipped, and counted. The rules are `build`'s table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from assignbench.data.read.annotations import Objects
from assignbench.data.read.findings import (
    BOX_CLIPPED,
    BOX_DEGENERATE,
    BOX_OUTSIDE,
    BOX_REPEATED,
    BOX_ROUNDED,
    BOX_THIN,
    Kind,
)

# COCO writes hundredths of a pixel, so no real box is thinner; below this, a box scaled down and stored
# in float32 could lose its width.
THINNEST = 0.005

ROUNDING = 0.01  # pixels: six digits of a fraction leave less, in a picture of 10,000 pixels

_BLOCK = 1 << 16  # objects

# Odd numbers of 64 bits, from a generator: a row's columns times these add up to a digest.
_ODD = np.random.default_rng(0).integers(0, 2**63, 7, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def mend(
    objects: Objects, sizes: NDArray[np.int64], training: bool, note: Callable[[Kind, NDArray[np.bool_]], None]
) -> tuple[Objects, NDArray[np.bool_]]:
    """Mend boxes where that is right, and mark the objects to keep.

    Args:
        objects: in file order.
        sizes: ``[image, 2]`` width and height of the pictures.
        training: which column of the table.
        note: told each kind of repair, and which objects it is done to: ``[object]``.

    Returns:
        The objects with their mended boxes, and ``[object]`` which of them to keep.
    """
    boxes = objects.boxes
    empty, outside, moved, far, thin = (np.zeros(len(boxes), dtype=np.bool_) for _ in range(5))
    limits = np.tile(sizes, 2).astype(np.float64)
    clipped = boxes  # until one has to be clipped: millions of boxes take a gigabyte
    for some in blocks(len(boxes)):
        own, limit = boxes[some], limits[objects.image[some]]
        x0, y0, x1, y1 = np.ascontiguousarray(own.T)
        width, height = limit.T[:2]
        empty[some] = (x1 <= x0) | (y1 <= y0)
        outside[some] = ((x0 >= width) | (y0 >= height) | (x1 <= 0) | (y1 <= 0)) & ~empty[some]
        if training:
            inside = np.minimum(np.maximum(own, 0), limit)  # several times as fast as `np.clip`
            moved[some] = _any(inside != own)
            if moved[some].any():
                far[some] = _any(np.abs(inside - own) >= ROUNDING)
            thin[some] = _any(inside[:, 2:] - inside[:, :2] < THINNEST)
            if inside.tobytes() != own.tobytes():  # −0 becomes 0, too
                clipped = boxes.copy() if clipped is boxes else clipped
                clipped[some] = inside
    note(BOX_DEGENERATE, empty)
    note(BOX_OUTSIDE, outside)
    keep = ~empty & ~outside
    if not training:
        return objects, keep
    objects = replace(objects, boxes=clipped)
    thin &= keep
    keep &= ~thin
    again = _repeated(objects, keep)
    note(BOX_CLIPPED, keep & far)
    note(BOX_ROUNDED, keep & moved & ~far)
    note(BOX_THIN, thin)
    note(BOX_REPEATED, again)
    return objects, keep & ~again


def blocks(count: int) -> Iterator[slice]:
    """Blocks of objects: what is computed on the way stays small, and near the processor."""
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


def _any(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``[object, 2 or 4] → [object]``; a column at a time, since numpy is slow along short rows."""
    return np.asarray(np.logical_or.reduce(list(rows.T)), dtype=np.bool_)


def _repeated(objects: Objects, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark kept objects that equal one with a smaller id in image, class, crowd and box."""
    repeated = np.zeros(len(keep), dtype=np.bool_)
    doubtful = _maybe_equal(objects, keep)
    some = objects.take(doubtful)
    rows = np.column_stack((some.image, some.labels, some.crowd, some.boxes))
    order = np.lexsort((some.ids, *rows.T))
    same = ~_any(rows[order][1:] != rows[order][:-1])
    repeated[doubtful[order[1:][same]]] = True
    return repeated


def _maybe_equal(objects: Objects, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places of kept rows that another may equal; sorting ten million whole rows would take half a minute."""
    digests = np.empty(len(keep), dtype=np.uint64)
    for some in blocks(len(keep)):
        digests[some] = _digests(objects, some)
    if not keep.all():
        digests = digests[keep]
    digests.sort()  # in place, and made again below: most files hold no row twice, and memory is short here
    twice = digests[1:][digests[1:] == digests[:-1]]
    del digests
    doubtful = np.zeros(len(keep), dtype=np.bool_)
    for some in blocks(len(keep) if len(twice) else 0):
        own = _digests(objects, some)
        doubtful[some] = twice[np.minimum(np.searchsorted(twice, own), len(twice) - 1)] == own
    return np.flatnonzero(doubtful & keep)


def _digests(objects: Objects, some: slice) -> NDArray[np.uint64]:
    """Each row as one number: the sum of its columns' bits, each times an odd number of its own.

    Equal rows become equal numbers, and others hardly ever.
    """
    boxes = (np.ascontiguousarray(objects.boxes[some].T) + 0.0).view(np.uint64)  # −0 becomes 0, which it equals
    columns = (objects.image[some], objects.labels[some], objects.crowd[some], *boxes)
    digests = np.zeros(boxes.shape[1], dtype=np.uint64)
    for column, odd in zip(columns, _ODD, strict=True):
        digests += column.astype(np.uint64) * odd
    return digests
