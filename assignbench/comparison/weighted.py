"""AP with a weight for each picture, and how much each picture moves it.

    TP_j   Σ w of the right detections up to the j-th right one       of a class at a threshold, by falling score
    ALL_j  Σ w of the detections that count, up to there
    P_j    TP_j / ALL_j                                               precision
    E_j    max_{k ≥ j} P_k                                            its envelope
    n      Σ w · objects of the picture
    AP     mean over 101 levels of recall of E at the first j with TP_j / n ≥ level

With weights 1 this is pycocotools' AP, to the bit; with whole weights it is that of a set in which a picture is there
as often. Between two right detections precision only falls, so E is needed at the right ones alone.

The influence u_i of a picture is the derivative of AP by its weight, where AP is taken as the area below the envelope,
Σ_j (w_j / n) E_j, and each E_j keeps the place k of its maximum. Σ u = 0. Over new sets of pictures like these AP has
the variance Σ u², and a difference of two networks Σ (u_a − u_b)²: what a bootstrap over pictures finds, without one.
Where a class stands on few pictures the derivative is too small; leaving out one picture at a time is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assignbench.run.scoring.matches import AREAS, Matches

LEVELS = np.linspace(0.0, 1.0, 101)  # of recall
_EPSILON = np.spacing(1)  # pycocotools', against 0 / 0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Packed:
    """The matches of one range of areas, without what cannot move AP. ``cell``: class at a threshold."""

    image: NDArray[np.int32]  # [entry] picture of a detection that counts at some threshold
    label: NDArray[np.int32]  # [entry] ascending
    counted: NDArray[np.bool_]  # [threshold, entry]
    place: NDArray[np.int64]  # [right] its entry
    threshold: NDArray[np.int64]  # [right] ascending
    objects: Floats  # [image, class]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.objects.shape[1]

    @property
    def images(self) -> int:
        """Number of pictures."""
        return len(self.objects)

    @property
    def cell(self) -> NDArray[np.int64]:
        """``[right]`` threshold · classes + class, ascending."""
        return self.threshold * self.classes + self.label[self.place]


def pack(matches: Matches, area: str = "all", thresholds: slice = slice(None)) -> Packed:
    """What AP of one range of areas needs.

    Args:
        matches: of one run.
        area: "all", "small", "medium" or "large".
        thresholds: of IoU, as places in `THRESHOLDS`.
    """
    row = list(AREAS).index(area)
    right, counted = matches.right[row, thresholds], matches.counted[row, thresholds]
    position = np.arange(len(matches.image))
    last = np.zeros(matches.objects.shape[2] + 1, dtype=np.int64)  # behind the last right one of a class
    some = right.any(axis=0)
    np.maximum.at(last, matches.label[some], position[some] + 1)
    keep = counted.any(axis=0) & (position < last[matches.label])
    threshold, place = np.nonzero(right[:, keep])
    return Packed(
        matches.image[keep],
        matches.label[keep],
        counted[:, keep],
        place,
        threshold,
        matches.objects[row].astype(np.float64),
    )


def only(packed: Packed, classes: slice) -> Packed:
    """Some classes that stand one after the other, alone."""
    first, end, _ = classes.indices(packed.classes)
    low, high = np.searchsorted(packed.label, (first, max(first, end)))
    some = (packed.place >= low) & (packed.place < high)
    return Packed(
        packed.image[low:high],
        packed.label[low:high] - first,
        packed.counted[:, low:high],
        packed.place[some] - low,
        packed.threshold[some],
        packed.objects[:, classes],
    )


@dataclass(frozen=True)
class _Curve:
    """Precision and recall at the right detections."""

    total: Floats  # [right] ALL
    precision: Floats  # [right] P
    recall: Floats  # [right]
    required: Floats  # [class] n


def _curve(packed: Packed, weights: Floats) -> _Curve:
    entry, cell = weights[packed.image], packed.cell
    running = np.zeros((len(packed.counted), len(entry) + 1))
    np.cumsum(packed.counted * entry, axis=1, out=running[:, 1:])
    start = np.searchsorted(packed.label, np.arange(packed.classes))
    label = packed.label[packed.place]
    total = running[packed.threshold, packed.place + 1] - running[packed.threshold, start[label]]
    right = np.concatenate([[0.0], np.cumsum(entry[packed.place])])
    counts = np.bincount(cell, minlength=len(packed.counted) * packed.classes)
    right = right[1:] - np.repeat(right[np.cumsum(counts) - counts], counts)
    required = weights @ packed.objects
    with np.errstate(divide="ignore", invalid="ignore"):  # where all objects of a class have weight 0
        recall = np.nan_to_num(right / required[label])
    return _Curve(total, right / (total + _EPSILON), recall, required)


def precision(packed: Packed, weights: Floats | None = None) -> Floats:
    """``[threshold, level of recall, class]`` as pycocotools gives it; −1: a class without objects.

    Args:
        packed: what AP needs.
        weights: ``[image]`` at least 0; None: 1 for each.
    """
    curve = _curve(packed, np.ones(packed.images) if weights is None else weights)
    level = np.searchsorted(LEVELS, curve.recall, side="right") - 1
    slot = packed.cell * len(LEVELS) + level  # ascending
    found, starts = np.unique(slot, return_index=True)
    best = np.zeros(len(packed.counted) * packed.classes * len(LEVELS))
    if len(found):
        best[found] = np.maximum.reduceat(curve.precision, starts)
    best = best.reshape(len(packed.counted), packed.classes, len(LEVELS))
    envelope = np.maximum.accumulate(best[..., ::-1], axis=-1)[..., ::-1]
    return np.where(curve.required > 0, envelope.transpose(0, 2, 1), -1.0)


def ap(packed: Packed, weights: Floats | None = None) -> float:
    """AP as a fraction, the mean over thresholds, levels and classes; NaN: there are no objects."""
    values = precision(packed, weights)
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else float("nan")


def by_class(packed: Packed, weights: Floats | None = None) -> Floats:
    """``[class]`` AP of each class as a fraction; NaN: it has no objects."""
    values = precision(packed, weights)
    return np.where(values[0, 0] > -1, values.mean(axis=(0, 1)), np.nan)


def influence(packed: Packed) -> Floats:
    """``[class, image]`` the derivative of each class's AP by the weight of each picture; 0: it has no objects."""
    classes, images, thresholds = packed.classes, packed.images, len(packed.counted)
    curve = _curve(packed, np.ones(images))
    label, cell = packed.label[packed.place], packed.cell
    step = 1 / np.maximum(curve.required, 1)[label]  # of recall at a right detection
    carrier = _carrier(curve.precision, cell)
    mass = np.bincount(carrier, weights=step, minlength=len(cell))  # of recall whose envelope a right one carries
    # what adding to TP of its place gives all that come behind, and what adding to ALL takes
    gain = _from_here(mass / curve.total, cell)
    loss = mass * curve.precision / curve.total
    entry, bounds = np.zeros(len(packed.image)), np.searchsorted(packed.threshold, np.arange(thresholds + 1))
    for row, first, end in zip(packed.counted, bounds[:-1], bounds[1:], strict=True):  # each fits into a cache
        taken = np.zeros(len(entry))
        taken[packed.place[first:end]] = loss[first:end]
        entry -= row * _from_here(taken, packed.label)
    entry += np.bincount(packed.place, weights=step * curve.precision[carrier] + gain, minlength=len(entry))
    moved = np.bincount(packed.label.astype(np.int64) * images + packed.image, entry, minlength=classes * images)
    area = np.bincount(label, step * curve.precision[carrier], minlength=classes)
    moved = moved.reshape(classes, images) - (area / np.maximum(curve.required, 1))[:, None] * packed.objects.T
    return moved / thresholds


def deleted(packed: Packed, classes: NDArray[np.bool_] | None = None) -> Floats:
    """``[class, image]`` AP of each class without the picture; NaN: no object of the class is left.

    Args:
        packed: what AP needs.
        classes: ``[class]`` those that are asked for, the others are NaN; None: all.
    """
    left = np.repeat(by_class(packed)[:, None], packed.images, axis=1)
    asked = np.ones(packed.classes, dtype=np.bool_) if classes is None else classes
    left[~asked] = np.nan
    bounds = np.searchsorted(packed.label, np.arange(packed.classes + 1))
    rights = np.searchsorted(packed.cell, np.arange(len(packed.counted) * packed.classes + 1))
    for label in np.flatnonzero(asked & ~np.isnan(left[:, 0])):
        first, end = bounds[label], bounds[label + 1]
        objects = packed.objects[:, label]
        pictures = np.union1d(packed.image[first:end], np.flatnonzero(objects))
        row = np.searchsorted(pictures, packed.image[first:end])
        required = objects.sum() - objects[pictures]
        total = np.zeros(len(pictures))
        for threshold, counted in enumerate(packed.counted[:, first:end]):
            cell = threshold * packed.classes + label
            place = packed.place[rights[cell] : rights[cell + 1]] - first
            total += _without(row, counted, place, required)
        left[label, pictures] = np.where(required > 0, total / len(packed.counted), np.nan)
    return left


def _without(row: NDArray[np.int64], counted: NDArray[np.bool_], place: NDArray[np.int64], required: Floats) -> Floats:
    """``[picture]`` AP of one class at one threshold without the picture.

    Args:
        row: ``[entry]`` number of its picture.
        counted: ``[entry]``.
        place: ``[right]`` its entry, ascending.
        required: ``[picture]`` objects that are left without it.
    """
    shape = (len(required), len(place))
    if not len(place):
        return np.zeros(len(required))
    behind = np.searchsorted(place, np.arange(len(row)))  # the first right one that an entry stands ahead of, or is
    some = counted & (behind < len(place))
    lost = np.bincount(row[some] * len(place) + behind[some], minlength=shape[0] * shape[1]).reshape(shape)
    total = np.cumsum(counted)[place] - np.cumsum(lost, axis=1)
    taken = row[place] == np.arange(len(required))[:, None]
    right = np.arange(1, len(place) + 1) - np.cumsum(taken, axis=1)
    envelope = np.maximum.accumulate((right / (total + _EPSILON))[:, ::-1], axis=1)[:, ::-1]
    kinds, kind = np.unique(required, return_inverse=True)
    steps = np.arange(len(place) + 1) / np.maximum(kinds, 1)[:, None]
    level = np.searchsorted(LEVELS, steps, side="right")[kind[:, None], right]  # levels that are reached
    return (np.diff(level, axis=1, prepend=0) * envelope).sum(axis=1) / len(LEVELS)


def deletion_influence(left: Floats) -> Floats:
    """``[…, image]`` values without a picture, on the scale of `influence`: the sum of squares is a variance.

    Args:
        left: ``[…, image]`` as `deleted` gives it, or its mean over classes; a NaN has no influence.
    """
    mean = mean_of_known(left, axis=-1)[..., None]
    images = left.shape[-1]
    return np.sqrt((images - 1) / images) * np.nan_to_num(mean - left)


def mean_of_known(values: Floats, axis: int) -> Floats:
    """Mean along an axis of what is no NaN; 0 where nothing is known."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis=axis) / np.maximum(known.sum(axis=axis), 1)


def _carrier(values: Floats, cell: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[right]`` the place, from here to the end of the cell, of the largest value."""
    # backwards, cells of smaller number come later: 2 more for each keeps the running maximum inside a cell
    back = (values + 2.0 * (cell[-1] - cell if len(cell) else cell))[::-1]
    top = np.maximum.accumulate(back)
    last = np.maximum.accumulate(np.where(back == top, np.arange(len(back)), 0))
    return (len(back) - 1 - last)[::-1]


def _from_here(values: Floats, cell: NDArray[np.integer]) -> Floats:
    """``[any]`` sum from here to the end of the cell.

    Args:
        values: ``[any]``.
        cell: ``[any]`` ascending.
    """
    total = np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])
    counts = np.bincount(cell)
    return total[:-1] - np.repeat(total[np.cumsum(counts)], counts)
