"""Boxes that cannot be taught or scored: dropped or clipped, and counted. The rules are `build`'s table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from assignbench.data.annotations import Ledger, Objects

# COCO writes hundredths of a pixel, so no real box is thinner; below this, a box scaled down and stored
# in float32 could lose its width.
THINNEST = 0.005


def mend(
    objects: Objects, size: NDArray[np.float64], training: bool, ledger: Ledger
) -> tuple[Objects, NDArray[np.bool_]]:
    """Mend boxes where that is right, and mark the objects to keep.

    Args:
        objects: in file order.
        size: ``[object, 2]`` width and height of each object's picture.
        training: which column of the table.
        ledger: where repairs are counted.

    Returns:
        The objects with their mended boxes, and ``[object]`` which of them to keep.
    """
    boxes = objects.boxes
    empty = _any(boxes[:, 2:] <= boxes[:, :2])
    outside = ~empty & _any((boxes[:, :2] >= size) | (boxes[:, 2:] <= 0))
    ledger.count("box of zero or negative size dropped", empty)
    ledger.count("box wholly outside the image dropped", outside)
    keep = ~empty & ~outside
    if not training:
        return objects, keep
    clipped = np.clip(boxes, 0, np.tile(size, 2))
    objects = replace(objects, boxes=clipped)
    thin = keep & _any(clipped[:, 2:] - clipped[:, :2] < THINNEST)
    keep &= ~thin
    again = _repeated(objects, keep)
    ledger.count("box clipped to the image", keep & _any(clipped != boxes))
    ledger.count(f"box thinner than {THINNEST} pixels dropped", thin)
    ledger.count("repeated box of the same class dropped", again)
    return objects, keep & ~again


def _any(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``[object, 2 or 4] → [object]``."""
    return np.asarray(rows.any(axis=1), dtype=np.bool_)


def _repeated(objects: Objects, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark kept objects that equal one with a smaller id in image, class, crowd and box."""
    rows = np.column_stack((objects.image, objects.labels, objects.crowd, objects.boxes))
    order = np.lexsort((objects.ids, *rows.T))
    order = order[keep[order]]
    same = ~_any(rows[order][1:] != rows[order][:-1])
    repeated = np.zeros(len(keep), dtype=np.bool_)
    repeated[order[1:][same]] = True
    return repeated
