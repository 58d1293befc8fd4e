"""TIDE's types of errors, and how much AP50 rises when one of them alone is put right.

The matches are COCO's at IoU 0.5, with its crowd regions and its first 100 detections of a picture and class, so that
AP50 is that of the record. A wrong detection (counted, not right) is of one type, by its largest IoU with the objects
of its class, `own`, and with those of the other classes, `other`; crowd regions are no objects here.

    duplicate        own ≥ 0.5                 the object has been taken by a detection of higher score
    localisation     0.1 ≤ own < 0.5
    classification   own < 0.1, other ≥ 0.5
    both             own < 0.1, 0.1 ≤ other < 0.5
    background       own < 0.1, other < 0.1
    missed           an object that is not taken, and that no error of localisation or classification points to

An error of localisation points to the object of its class with the largest IoU, one of classification to that of
another class; of equal ones to the last, as in COCO's matching. Each type is put right alone:

    classification   the detection gets the class of the object that it points to, and has found it
    localisation     the detection gets the box of the object that it points to, and has found it
                     (in both, of all that have found one object only the one of the highest score is kept)
    both, duplicate, background    the detection is removed
    missed           the object is no longer required: recall is stretched
    false positives  every wrong detection is removed
    false negatives  every object that is not taken is no longer required

A gain is AP50 then − AP50. The gains of the six types do not add up to anything. The mean is over the classes that
have objects in the data: one of which nothing was found keeps AP50 0 when its objects are no longer required.

The paper gives conditions for the types, not which of them counts where two hold; here the detection's own class is
looked at first. It leaves both sides of a threshold to two types; here the upper one has it.

Source: D. Bolya, S. Foley, J. Hays, J. Hoffman, TIDE: A General Toolbox for Identifying Object Detection Errors,
ECCV 2020, arXiv 2008.08115.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assignbench.comparison import weighted
from assignbench.run.scoring.matches import Choices, Found, Objects, alike, ignored_objects, overlaps

TYPES = ("classification", "localisation", "both", "duplicate", "background", "missed")
SPECIAL = ("false positives", "false negatives")
FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU
_CHUNK = 1 << 18  # pairs at once

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Errors:
    """The errors of one run."""

    ap50: float  # percent points; NaN: there are no objects
    gains: Mapping[str, float]  # each of TYPES and SPECIAL → by how much AP50 rises without it, in percent points
    counts: Mapping[str, int]  # each of TYPES and SPECIAL → detections; of "missed" and "false negatives": objects


@dataclass(frozen=True)
class _Run:
    """Detections that stand within the cap, and the objects they were held against."""

    label: Places  # [detection]
    score: Floats  # [detection]
    right: NDArray[np.bool_]  # [detection]
    counted: NDArray[np.bool_]  # [detection]
    target: Places  # [detection] object that a right one has taken
    object_label: Places  # [object]
    required: Floats  # [class] objects


def tide(objects: Objects, found: Found, choices: Choices, classes: int) -> Errors:
    """Sort the errors of one run, and put each type right.

    Args:
        objects: in the order of their annotations.
        found: detections.
        choices: of these detections among these objects (`matches.choose`).
        classes: number of classes.
    """
    real = np.flatnonzero(~ignored_objects(objects)[0])
    order = choices.detection
    run = _Run(
        found.label[order],
        found.score[order],
        choices.right[0, 0],
        choices.counted[0, 0],
        choices.target[0].astype(np.int64),
        objects.label,
        _per_class(objects.label[real], classes),
    )
    wrong = np.flatnonzero(run.counted & ~run.right)
    kind, goal = _sorted_out(objects, real, found, order[wrong])
    of_type = {name: wrong[kind == number] for number, name in enumerate(TYPES)}
    goals = np.full(len(order), -1)
    goals[wrong] = goal
    lost = np.zeros(len(objects.label), dtype=np.bool_)
    lost[real] = True
    lost[run.target[run.right]] = False
    unfound = np.flatnonzero(lost)
    lost[goal[goal >= 0]] = False
    missed = np.flatnonzero(lost)

    base = _ap50(run)
    fixed = {name: _pointed(run, of_type[name], goals) for name in ("classification", "localisation")}
    fixed |= {name: _removed(run, of_type[name]) for name in ("both", "duplicate", "background")}
    fixed |= {"missed": _not_required(run, missed), "false positives": _removed(run, wrong)}
    fixed |= {"false negatives": _not_required(run, unfound)}
    counts = {name: len(some) for name, some in of_type.items()}
    counts |= {"missed": len(missed), "false positives": len(wrong), "false negatives": len(unfound)}
    return Errors(base, {name: fixed[name] - base for name in (*TYPES, *SPECIAL)}, counts)


def _sorted_out(objects: Objects, real: Places, found: Found, detection: Places) -> tuple[Places, Places]:
    """``[wrong]`` the type of each wrong detection, as a place in TYPES, and the object that it points to, or −1."""
    by_image = real[np.argsort(objects.image[real], kind="stable")]
    most = np.zeros((2, len(detection)))  # IoU with objects of the own class, and of others
    nearest = np.full((2, len(detection)), -1)
    image = objects.image[by_image]
    for some in _chunks(found.image[detection], image):
        mine = detection[some]
        who, what = alike(found.image[mine], image)
        what = by_image[what]
        overlap = overlaps(found.box[mine[who]], objects.box[what], objects.crowd[what])
        own = found.label[mine[who]] == objects.label[what]
        for row, kept in enumerate((own & (overlap >= BACKGROUND), ~own & (overlap >= BACKGROUND))):
            one, other, value = who[kept], what[kept], overlap[kept]
            starts = np.flatnonzero(np.diff(one, prepend=-1))
            if len(starts):
                most[row, some.start + one[starts]] = np.maximum.reduceat(value, starts)
                last = np.where(value == most[row, some.start + one], other, -1)
                nearest[row, some.start + one[starts]] = np.maximum.reduceat(last, starts)
    own, other = most
    conditions = [own >= FOREGROUND, own >= BACKGROUND, other >= FOREGROUND, other >= BACKGROUND]
    names = ("duplicate", "localisation", "classification", "both")
    kind = np.select(conditions, [TYPES.index(name) for name in names], TYPES.index("background"))
    pointing = [kind == TYPES.index("localisation"), kind == TYPES.index("classification")]
    return kind, np.select(pointing, list(nearest), -1)


def _chunks(mine: Places, others: Places) -> Iterator[slice]:
    """Slices of ``mine`` of not too many pairs; ``others`` ascending."""
    count = np.searchsorted(others, mine, side="right") - np.searchsorted(others, mine, side="left")
    ends = np.cumsum(count)
    start = 0
    while start < len(mine):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        yield slice(start, stop)
        start = stop


def _pointed(run: _Run, fixed: Places, goals: Places) -> float:
    """AP50 when some wrong detections have found what they point to."""
    goal = np.where(run.right, run.target, -1)
    goal[fixed] = goals[fixed]
    claims = np.flatnonzero(goal >= 0)
    claims = claims[np.lexsort((-run.score[claims], goal[claims]))]  # stable
    right = np.zeros(len(goal), dtype=np.bool_)
    right[claims[np.unique(goal[claims], return_index=True)[1]]] = True  # the highest score of each object
    label = np.where(right, run.object_label[goal], run.label) if len(run.object_label) else run.label
    return _ap50(run, label=label, right=right, counted=run.counted & (right | (goal < 0)))


def _removed(run: _Run, some: Places) -> float:
    """AP50 without some detections."""
    counted = run.counted.copy()
    counted[some] = False
    return _ap50(run, counted=counted)


def _not_required(run: _Run, some: Places) -> float:
    """AP50 when some objects need not be found."""
    return _ap50(run, required=run.required - _per_class(run.object_label[some], len(run.required)))


def _ap50(
    run: _Run,
    *,
    label: Places | None = None,
    right: NDArray[np.bool_] | None = None,
    counted: NDArray[np.bool_] | None = None,
    required: Floats | None = None,
) -> float:
    """AP50 in percent points, of the run or of what was changed in it."""
    label, right = run.label if label is None else label, run.right if right is None else right
    some = np.flatnonzero(run.counted if counted is None else counted)
    some = some[np.lexsort((-run.score[some], label[some]))]  # stable
    place = np.flatnonzero(right[some])
    packed = weighted.Packed(  # as if of one picture
        np.zeros(len(some), dtype=np.int32),
        label[some].astype(np.int32),
        np.ones((1, len(some)), dtype=np.bool_),
        place,
        np.zeros_like(place),
        (run.required if required is None else required)[None],
    )
    values = np.nan_to_num(weighted.by_class(packed))[run.required > 0]
    return 100 * float(values.mean()) if len(values) else float("nan")


def _per_class(label: Places, classes: int) -> Floats:
    """``[class]`` how many."""
    return np.bincount(label, minlength=classes).astype(np.float64)
