"""What the protocols of VOC and WIDER FACE share: a detection belongs to the object that it overlaps most.

That object alone decides. If it is to be ignored, so is the detection; if a detection with a higher score has it
already, the detection is wrong, whatever else it overlaps. (COCO looks for the best object that is still free.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.5  # smallest IoU of a match


@dataclass(frozen=True)
class Verdict:
    """What became of each detection."""

    right: NDArray[np.bool_]  # [detection]
    counted: NDArray[np.bool_]  # [detection] right or wrong; the others belong to ignored objects


def judge(
    boxes: NDArray[np.float64],
    owners: NDArray[np.int64],
    true_boxes: NDArray[np.float64],
    true_owners: NDArray[np.int64],
    ignored: NDArray[np.bool_],
    margin: float = 0.0,
) -> Verdict:
    """Hold detections against objects.

    Args:
        boxes: ``[detection, 4]`` x0 y0 x1 y1 in the order in which they take objects: by falling score.
        owners: ``[detection]`` number of the image, or of image and class: only equals can match.
        true_boxes: ``[object, 4]`` of equal overlap the first object counts.
        true_owners: ``[object]`` ascending.
        ignored: ``[object]`` neither required nor an error.
        margin: pixels that belong to a box beyond ``x1 − x0`` and ``y1 − y0``.
    """
    first = np.searchsorted(true_owners, owners, side="left")
    counts = np.searchsorted(true_owners, owners, side="right") - first
    some = np.flatnonzero(counts)  # detections with objects to look at; their pairs stand one after the other
    starts = np.cumsum(counts[some]) - counts[some]
    detection = np.repeat(some, counts[some])
    target = np.arange(len(detection)) - np.repeat(starts - first[some], counts[some])
    overlap = _overlaps(boxes[detection], true_boxes[target], margin)
    most, best = np.zeros(len(boxes)), np.zeros(len(boxes), dtype=np.int64)
    if len(some):
        most[some] = np.maximum.reduceat(overlap, starts)
        best[some] = np.minimum.reduceat(np.where(overlap == most[detection], target, len(true_boxes)), starts)
    matched = most >= OVERLAP
    counted = np.ones(len(boxes), dtype=np.bool_)
    counted[matched] = ~ignored[best[matched]]
    claims = np.flatnonzero(matched & counted)
    right = np.zeros(len(boxes), dtype=np.bool_)
    right[claims[np.unique(best[claims], return_index=True)[1]]] = True  # the first of each object
    return Verdict(right, counted)


def envelope(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[point]`` the best precision at this recall or a higher one; points by rising recall."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def _overlaps(a: NDArray[np.float64], b: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """``[pair]`` IoU of row and row."""
    inner = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + margin, 0).prod(axis=1)
    areas = [(each[:, 2:] - each[:, :2] + margin).prod(axis=1) for each in (a, b)]
    return inner / (areas[0] + areas[1] - inner)
