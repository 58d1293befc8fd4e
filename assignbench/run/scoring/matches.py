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
    # [threshold, object] whether it was found, in the order of `Objects` and with the area "all"; of a crowd: False
    taken: NDArray[np.bool_]


@dataclass(frozen=True)
class Choices:
    """What each detection has chosen; those behind the first 100 of their picture and class are left out.

    They stand by picture, then by class, then by falling score.
    """

    detection: NDArray[np.int64]  # [choice] place in `Found`
    right: NDArray[np.bool_]  # [area, threshold, choice] it has taken an object that counts
    counted: NDArray[np.bool_]  # [area, threshold, choice] it is right or wrong
    # [threshold, choice] what a right one has taken, as a place in `Objects`, with the area "all"; -1: it is not right
    target: NDArray[np.int32]


def match(objects: Objects, found: Found, images: int, classes: int) -> Matches:
    """Hold detections against objects.

    Args:
        objects: in the order of their annotations.
        found: detections.
        images: number of pictures.
        classes: number of classes.
    """
    required = np.zeros((len(AREAS), images, classes), dtype=np.int32)
    for area, skip in enumerate(ignored_objects(objects)):
        np.add.at(required[area], (objects.image[~skip], objects.label[~skip]), 1)
    choices = choose(objects, found, classes)
    taken = np.zeros((len(THRESHOLDS), len(objects.image)), dtype=np.bool_)
    threshold, choice = np.nonzero(choices.right[0])
    taken[threshold, choices.target[threshold, choice]] = True

    order = choices.detection
    label = found.label[order]
    last = np.lexsort((np.arange(len(order)), -found.score[order], label))
    return Matches(
        images,
        found.image[order[last]].astype(np.int32),
        label[last].astype(np.int32),
        choices.right[..., last],
        choices.counted[..., last],
        required,
        taken,
    )


def choose(objects: Objects, found: Found, classes: int) -> Choices:
    """Let detections choose objects.

    Args:
        objects: in the order of their annotations.
        found: detections.
        classes: number of classes.
    """
    group = found.image * classes + found.label
    order = np.lexsort((-found.score, group))  # stable
    group = group[order]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    order, group, rank = (each[rank < CAP] for each in (order, group, rank))
    box = found.box[order]
    right, ignores, target = _choose(group, rank, box, objects, ignored_objects(objects), classes)
    lows, highs = _bounds()
    outside = (box[:, 2] * box[:, 3] < lows) | (box[:, 2] * box[:, 3] > highs)  # [area, detection]
    return Choices(order, right, ~(ignores | (~right & outside[:, None])), target)


def _bounds() -> NDArray[np.float64]:
    """``[2, area, 1]`` the smallest and the largest area of each range."""
    return np.array(list(AREAS.values())).T[:, :, None]


def ignored_objects(objects: Objects) -> NDArray[np.bool_]:
    """``[area, object]`` crowd regions, and what is outside the range of areas."""
    lows, highs = _bounds()
    return objects.crowd | (objects.area < lows) | (objects.area > highs)


def _choose(
    group: NDArray[np.int64],
    rank: NDArray[np.int64],
    box: NDArray[np.float64],
    objects: Objects,
    ignored: NDArray[np.bool_],
    classes: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int32]]:
    """Which detections take an object, and which an ignored one: both ``[area, threshold, detection]``.

    And what they take, where it counts and with the area "all": ``[threshold, detection]``.
    """
    detection, wanted, overlap = _pairs(group, box, objects, classes)
    order = np.lexsort((-wanted, -overlap, detection, rank[detection]))  # a detection's pairs: the one it wants first
    detection, wanted, overlap = detection[order], wanted[order], overlap[order]
    shape = (len(AREAS), len(THRESHOLDS))
    right, ignores = (np.zeros((*shape, len(group)), dtype=np.bool_) for _ in range(2))
    target = np.full((len(THRESHOLDS), len(group)), -1, dtype=np.int32)
    free = np.ones((*shape, len(objects.image)), dtype=np.bool_)
    bounds = np.searchsorted(rank[detection], np.arange(CAP + 1))
    for first, end in pairwise(bounds):
        if first == end:
            continue
        who, what = detection[first:end], wanted[first:end]
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
        chooser = who[starts[chooser]]
        right[area, threshold, chooser] = choice < len(who)
        ignores[area, threshold, chooser] = choice >= len(who)
        every = (area == 0) & (choice < len(who))  # the first range is "all"
        target[threshold[every], chooser[every]] = taken[every]
    return right, ignores, target


def _pairs(
    group: NDArray[np.int64], box: NDArray[np.float64], objects: Objects, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Detections and objects of one picture and class that overlap by the lowest threshold, and their IoU."""
    theirs = objects.image * classes + objects.label
    by_group = np.argsort(theirs, kind="stable")
    detection, target = alike(group, theirs[by_group])
    target = by_group[target]
    overlap = overlaps(box[detection], objects.box[target], objects.crowd[target])
    near = overlap >= THRESHOLDS[0]
    return detection[near], target[near], overlap[near]


def alike(mine: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of equal numbers: places in the one and the other, ``[pair]`` each, by place in the first.

    Args:
        mine: in any order.
        others: ascending.
    """
    first = np.searchsorted(others, mine, side="left")
    count = np.searchsorted(others, mine, side="right") - first
    place = np.repeat(np.arange(len(mine)), count)
    return place, np.arange(len(place)) - np.repeat(np.cumsum(count) - count - first, count)


def overlaps(box: NDArray[np.float64], other: NDArray[np.float64], crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``[pair]`` IoU of row and row; with a crowd region the part of the own area.

    Args:
        box: ``[pair, 4]`` x y width height.
        other: ``[pair, 4]`` likewise.
        crowd: ``[pair]`` whether the other one is a crowd region.
    """
    side = np.minimum(box[:, :2] + box[:, 2:], other[:, :2] + other[:, 2:]) - np.maximum(box[:, :2], other[:, :2])
    inner = np.maximum(side, 0).prod(axis=1)
    own = box[:, 2] * box[:, 3]
    union = np.where(crowd, own, own + other[:, 2] * other[:, 3] - inner)
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)  # a side may be 0
