"""Boxes that cannot be taught or scored: dropped or clipped, and counted. The rules are `build`'s table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from assignbench.data.read.annotations import Objects
from assignbench.data.read.findings import BOX_CLIPPED, BOX_DEGENERATE, BOX_OUTSIDE, BOX_REPEATED, BOX_THIN, Kind

# COCO writes hundredths of a pixel, so no real box is thinner; below this, a box scaled down and stored
# in float32 could lose its width.
THINNEST = 0.005

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
    empty, outside, moved, thin = (np.zeros(len(boxes), dtype=np.bool_) for _ in range(4))
    clipped = np.empty_like(boxes) if training else boxes
    for some in _blocks(len(boxes)):
        size = sizes[objects.image[some]].astype(np.float64)
        x0, y0, x1, y1 = boxes[some].T
        width, height = size.T
        empty[some] = (x1 <= x0) | (y1 <= y0)
        outside[some] = ((x0 >= width) | (y0 >= height) | (x1 <= 0) | (y1 <= 0)) & ~empty[some]
        if training:
            np.clip(boxes[some], 0, np.tile(size, 2), out=clipped[some])
            moved[some] = _any(clipped[some] != boxes[some])
            thin[some] = _any(clipped[some, 2:] - clipped[some, :2] < THINNEST)
    note(BOX_DEGENERATE, empty)
    note(BOX_OUTSIDE, outside)
    keep = ~empty & ~outside
    if not training:
        return objects, keep
    objects = replace(objects, boxes=clipped)
    thin &= keep
    keep &= ~thin
    again = _repeated(objects, keep)
    note(BOX_CLIPPED, keep & moved)
    note(BOX_THIN, thin)
    note(BOX_REPEATED, again)
    return objects, keep & ~again


def _blocks(count: int) -> Iterator[slice]:
    """Blocks of objects: what is computed on the way stays small, and near the processor."""
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


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
    places = np.flatnonzero(keep)
    digest = np.zeros(len(places), dtype=np.uint64)
    for some in _blocks(len(places)):
        own = places[some]
        boxes = (objects.boxes[own] + 0.0).view(np.uint64)  # −0 becomes 0, which it equals
        columns = (objects.image[own], objects.labels[own], objects.crowd[own], *boxes.T)
        for column, odd in zip(columns, _ODD, strict=True):
            digest[some] += column.astype(np.uint64) * odd
    ordered = np.sort(digest)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.isin(digest, twice) if len(twice) else np.zeros(len(digest), dtype=np.bool_)
