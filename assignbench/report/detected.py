"""What a run detects in one picture: right or wrong at IoU 0.5, by COCO's own matching among all its detections.

Scores of different strategies have no common unit, and AP asks for their order alone. So each run has a score of its
own from which on its detections are shown: that at which it detects, in the whole split, as many as there are objects.
The others are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset
from assignbench.run.scoring.detections import DetectionRows
from assignbench.run.scoring.matches import CAP, Found, Objects, match

MOST_SHOWN = 20  # detections of a picture; as many as there are objects, if those are more

Box = tuple[float, float, float, float]  # x0 y0 x1 y1 in pixels of the original picture
# ignored: on a crowd or difficult region, where nothing is asked for, or behind the first 100 of its class
State = Literal["right", "wrong", "ignored"]


@dataclass(frozen=True)
class TrueObject:
    """What there is to be found."""

    box: Box
    name: str  # of its class
    crowd: bool  # crowd or difficult region: neither taught nor required


@dataclass(frozen=True)
class Detection:
    """One detection."""

    box: Box
    name: str  # of its class
    score: float
    state: State
    object: int | None  # the object that it finds, by its place in `Picture.objects`


@dataclass(frozen=True)
class Detected:
    """The detections of one run in one picture."""

    shown: tuple[Detection, ...]  # best first
    least: float  # score from which on detections are shown, `shown_from`
    low: int  # detections with a score below that; not shown
    more: int  # detections with a score of at least that which are not shown either: there are too many
    wrong: int  # wrong detections with a score of at least that, shown or not
    # [object] score of the detection that finds it, shown or not; None: nothing finds it, or it is a crowd region
    scores: tuple[float | None, ...]

    @property
    def found(self) -> int:
        """Objects that some detection finds."""
        return sum(score is not None for score in self.scores)


def true_objects(dataset: Dataset, place: int) -> tuple[TrueObject, ...]:
    """The objects of a picture, crowd regions among them."""
    own = dataset.objects_of(place)
    boxes, labels, crowd = dataset.boxes[own].tolist(), dataset.labels[own].tolist(), dataset.crowd[own].tolist()
    return tuple(
        TrueObject((x0, y0, x1, y1), dataset.classes[label], alone)
        for (x0, y0, x1, y1), label, alone in zip(boxes, labels, crowd, strict=True)
    )


def shown_from(dataset: Dataset, rows: DetectionRows) -> float:
    """The score from which on a run's detections are, in the whole split, as many as there are objects.

    0: there are not so many. Of equal scores all count.
    """
    objects = int((~dataset.crowd).sum())
    if not 0 < objects < len(rows):
        return 0.0 if objects else 1.0
    return float(np.partition(rows.score, -objects)[-objects])


def detected(dataset: Dataset, place: int, rows: DetectionRows, least: float) -> Detected:
    """Hold the detections in one picture against its objects.

    Args:
        dataset: the split.
        place: of the picture in ``dataset.images``.
        rows: of the whole split, as `read_detections` gives them.
        least: score from which on detections are shown.
    """
    objects, own = dataset.objects_of(place), dataset.images[place].id
    first, end = np.searchsorted(rows.image_id, own, side="left"), np.searchsorted(rows.image_id, own, side="right")
    box, score = rows.bbox[first:end], rows.score[first:end]
    categories = np.array(dataset.category_ids, dtype=np.int64)
    by_id = np.argsort(categories)
    number = np.argsort(by_id)  # of a class, in the evaluator's order
    theirs = np.searchsorted(categories[by_id], rows.category_id[first:end])
    true_box = np.hstack([dataset.boxes[objects, :2], dataset.boxes[objects, 2:] - dataset.boxes[objects, :2]])
    labels, crowd = number[dataset.labels[objects]], dataset.crowd[objects]
    there = Objects(np.zeros_like(labels), labels, true_box, dataset.area[objects], crowd)
    matches = match(there, Found(np.zeros_like(theirs), theirs, box, score), 1, len(categories))
    # both stand by class, then by falling score; the matches leave out what comes behind the first 100 of a class
    counts = np.arange(len(theirs)) - np.searchsorted(theirs, theirs) < CAP
    right, wrong = (np.zeros(len(theirs), dtype=np.bool_) for _ in range(2))
    right[counts] = matches.right[0, 0]
    wrong[counts] = matches.counted[0, 0] & ~matches.right[0, 0]
    taken = _taken(box, theirs, right, true_box, np.where(crowd, -1, labels))
    order = np.argsort(-score, kind="stable")
    high = order[score[order] >= least]
    shown = high[: max(MOST_SHOWN, int((~crowd).sum()))]
    corners = np.hstack([box[:, :2], box[:, :2] + box[:, 2:]])
    finder = {what: one for one, what in taken.items()}
    return Detected(
        tuple(
            Detection(
                (x0, y0, x1, y1),
                dataset.classes[by_id[theirs[one]]],
                float(score[one]),
                "right" if right[one] else "wrong" if wrong[one] else "ignored",
                taken.get(one),
            )
            for one, (x0, y0, x1, y1) in zip(shown.tolist(), corners[shown].tolist(), strict=True)
        ),
        least,
        len(order) - len(high),
        len(high) - len(shown),
        int(wrong[high].sum()),
        tuple(float(score[finder[what]]) if what in finder else None for what in range(len(labels))),
    )


def _taken(
    box: NDArray[np.float64],
    theirs: NDArray[np.int64],
    right: NDArray[np.bool_],
    true_box: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> dict[int, int]:
    """Right detection → object: one after the other takes what it overlaps most, of equals the last, as in `matches`.

    Args:
        box: ``[detection, 4]`` x y width height, within a class by falling score.
        theirs: ``[detection]`` class.
        right: ``[detection]``.
        true_box: ``[object, 4]`` x y width height.
        labels: ``[object]`` class; −1: nobody takes it.
    """
    free = np.ones(len(labels), dtype=np.bool_)
    found: dict[int, int] = {}
    for one in np.flatnonzero(right).tolist():
        mine, some = box[one], np.flatnonzero(free & (labels == theirs[one]))
        other = true_box[some]
        side = np.minimum(mine[:2] + mine[2:], other[:, :2] + other[:, 2:]) - np.maximum(mine[:2], other[:, :2])
        inner = np.maximum(side, 0).prod(axis=1)
        overlap = inner / (mine[2] * mine[3] + other[:, 2] * other[:, 3] - inner)
        what = int(some[len(some) - 1 - np.argmax(overlap[::-1])])
        free[what] = False
        found[one] = what
    return found
