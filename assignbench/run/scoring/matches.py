"""COCO's matching, all pictures and classes at once: which detections are right, which wrong, and which do not count.

Within a picture and class the detections, by falling score and at most 100 of them, choose one after the other. Each
takes the object that it overlaps most among those that are free; of equal overlaps the last object. Ignored objects
(crowd regions, and objects outside the range of areas) are chosen only where no other one is left, a crowd region by
any number of detections; what has chosen one does not count. Nor does a detection outside the range of areas that has
found nothing. All of that for ten thresholds of IoU and four ranges of areas. The overlap with a crowd region is
measured against the detection's own area.

Source: `COCOeval.evaluateImg` of pycocotools, to the bit. It asks each picture, class and range in turn; here all
detections of equal rank choose at the same time, since they never want the same object.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from assignbench.run.scoring.evaluators import CAPS

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
CAP = CAPS[-1]  # detections of a class that count in a picture


@dataclass(frozen=True)
class Objects:
    """What there is to be found."""

    image: NDArray[np.int64]  # [object] number of the picture, in the evaluator's order
    label: NDArray[np.int64]  # [object] number of the class, in the evaluator's order
    box: NDArray[np.float64]  # [object, 4] x y width height
    area: NDArray[np.float64]  # [object] as annotated
    crowd: NDArray[np.bool_]  # [object]


@dataclass(frozen=True)
class Found:
    """What was found, in an order that is kept among equal scores."""

    image: NDArray[np.int64]  # [detection] as in `Objects`
    label: NDArray[np.int64]  # [detection] as in `Objects`
    box: NDArray[np.float64]  # [detection, 4] x y width height
    score: NDArray[np.float64]  # [detection]


@dataclass(frozen=True)
class Matches:
    """What became of the detections of one file; they stand by class, then by falling score, then by picture."""

    images: int
    image: NDArray[np.int32]  # [detection]
    label: NDArray[np.int32]  # [detection] ascending
    right: NDArray[np.bool_]  # [area, threshold, detection]
    counted: NDArray[np.bool_]  # [area, threshold, detection] right or wrong
    objects: NDArray[np.int32]  # [area, image, class] objects that are not ignored


def match(objects: Objects, found: Found, images: int, classes: int) -> Matches:
    """Hold detections against objects.

    Args:
        objects: in the order of their annotations.
        found: detections.
        images: number of pictures.
        classes: number of classes.
    """
    lows, highs = np.array(list(AREAS.values())).T[:, :, None]
    ignored = objects.crowd | (objects.area < lows) | (objects.area > highs)  # [area, object]
    required = np.zeros((len(AREAS), images, classes), dtype=np.int32)
    for area, skip in enumerate(ignored):
        np.add.at(required[area], (objects.image[~skip], objects.label[~skip]), 1)

    group = found.image * classes + found.label
    order = np.lexsort((-found.score, group))  # stable
    group = group[order]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    order, group, rank = (each[rank < CAP] for each in (order, group, rank))
    box = found.box[order]
    right, ignores = _choose(group, rank, box, objects, ignored, classes)
    outside = (box[:, 2] * box[:, 3] < lows) | (box[:, 2] * box[:, 3] > highs)  # [area, detection]
    counted = ~(ignores | (~right & outside[:, None]))

    image, label = found.image[order], found.label[order]
    last = np.lexsort((np.arange(len(order)), -found.score[order], label))
    return Matches(
        images,
        image[last].astype(np.int32),
        label[last].astype(np.int32),
        right[..., last],
        counted[..., last],
        required,
    )


def _choose(
    group: NDArray[np.int64],
    rank: NDArray[np.int64],
    box: NDArray[np.float64],
    objects: Objects,
    ignored: NDArray[np.bool_],
    classes: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections take an object, and which an ignored one: both ``[area, threshold, detection]``."""
    detection, target, overlap = _pairs(group, box, objects, classes)
    order = np.lexsort((-target, -overlap, detection, rank[detection]))  # a detection's pairs: the one it wants first
    detection, target, overlap = detection[order], target[order], overlap[order]
    shape = (len(AREAS), len(THRESHOLDS))
    right, ignores = (np.zeros((*shape, len(group)), dtype=np.bool_) for _ in range(2))
    free = np.ones((*shape, len(objects.image)), dtype=np.bool_)
    bounds = np.searchsorted(rank[detection], np.arange(CAP + 1))
    for first, end in pairwise(bounds):
        if first == end:
            continue
        who, what = detection[first:end], target[first:end]
        starts = np.flatnonzero(np.diff(who, prepend=-1))
        may = (free[..., what] | objects.crowd[what]) & (overlap[first:end] >= THRESHOLDS[:, None])
        place = np.arange(len(who))
        skip = ignored[:, None, what]
        wish = np.where(may, place + len(who) * skip, 2 * len(who))  # the ignored ones come behind all others
        choice = np.minimum.reduceat(wish, starts, axis=-1)  # [area, threshold, detection of this rank]
        area, threshold, chooser = np.nonzero(choice < 2 * len(who))
        choice = choice[area, threshold, chooser]
        taken = what[choice % len(who)]
        free[area, threshold, taken] = False
        right[area, threshold, who[starts[chooser]]] = choice < len(who)
        ignores[area, threshold, who[starts[chooser]]] = choice >= len(who)
    return right, ignores


def _pairs(
    group: NDArray[np.int64], box: NDArray[np.float64], objects: Objects, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Detections and objects of one picture and class that overlap by the lowest threshold, and their IoU."""
    theirs = objects.image * classes + objects.label
    by_group = np.argsort(theirs, kind="stable")
    first = np.searchsorted(theirs[by_group], group, side="left")
    count = np.searchsorted(theirs[by_group], group, side="right") - first
    detection = np.repeat(np.arange(len(group)), count)
    target = by_group[np.arange(len(detection)) - np.repeat(np.cumsum(count) - count - first, count)]
    mine, other = box[detection], objects.box[target]
    side = np.minimum(mine[:, :2] + mine[:, 2:], other[:, :2] + other[:, 2:]) - np.maximum(mine[:, :2], other[:, :2])
    inner = np.maximum(side, 0).prod(axis=1)
    own = mine[:, 2] * mine[:, 3]
    union = np.where(objects.crowd[target], own, own + other[:, 2] * other[:, 3] - inner)
    overlap = np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)  # a side may be 0
    near = overlap >= THRESHOLDS[0]
    return detection[near], target[near], overlap[near]
