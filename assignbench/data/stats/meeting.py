"""Pairs of objects of one picture that may overlap, without a look at all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 18  # pairs at once


def meeting_pairs(
    boxes: NDArray[np.floating[Any]], image: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of objects of one picture that meet along x, each once, some at a time: places, ``[pair]`` each.

    Args:
        boxes: ``[object, 4]`` x0 y0 x1 y1; they may lie outside their pictures.
        image: ``[object]`` number of the picture.
    """
    if not len(boxes):
        return
    # one axis for all pictures, side by side: sorted along it, those that an object meets come next
    span = float(boxes[:, 2].max()) - float(boxes[:, 0].min()) + 1.0
    left, right = (image * span + boxes[:, side].astype(np.float64) for side in (0, 2))
    order = np.argsort(left, kind="stable")
    last = np.searchsorted(left[order], right[order], side="left")
    count = np.maximum(last - np.arange(len(order)) - 1, 0)
    ends = np.cumsum(count)
    start = 0
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + _CHUNK, side="right")))
        some = count[start:stop]
        one = np.repeat(np.arange(start, stop), some)
        rank = np.arange(len(one)) - np.repeat(np.cumsum(some) - some, some)
        yield order[one], order[one + 1 + rank]
        start = stop
