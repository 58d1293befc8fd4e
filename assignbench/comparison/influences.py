"""The numbers of a run or of a detections file, and how much each picture moves them: what a comparison is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assignbench.comparison.weighted import Packed, ap, deleted, deletion_influence, influence, mean_of_known, pack
from assignbench.run.scoring.matches import Matches

Floats = NDArray[np.float64]

# metric → range of areas, thresholds
NUMBERS: dict[str, tuple[str, slice]] = {
    "AP": ("all", slice(None)),
    "AP50": ("all", slice(0, 1)),
    "AP75": ("all", slice(5, 6)),
    "APs": ("small", slice(None)),
    "APm": ("medium", slice(None)),
    "APl": ("large", slice(None)),
}
FEW_IMAGES = 1000  # up to here every picture is left out in turn
RARE = 120  # pictures with a class, up to which the derivative of its AP is too small
AGREEMENT = 1e-9  # of a number of the record with that of the matches, as fractions


@dataclass(frozen=True)
class Scored:
    """What a comparison knows of one run, or of one detections file."""

    metrics: Mapping[str, float | None]  # fractions; None: there are no objects
    pictures: Mapping[str, Floats]  # metric → [kind, image] influences; of others nothing is known


def scored(matches: Matches, metrics: Sequence[str]) -> Scored:
    """The numbers that follow from matches alone.

    Args:
        matches: of one detections file.
        metrics: of `NUMBERS`.
    """
    values = {metric: value_of(matches, metric) for metric in metrics}
    known = {metric: None if np.isnan(value) else value for metric, value in values.items()}
    return Scored(known, influences(matches, metrics))


def value_of(matches: Matches, metric: str) -> float:
    """AP of one kind as a fraction, the evaluator's to the bit; NaN: there are no objects."""
    return ap(pack(matches, *NUMBERS[metric]))


def same_ap(matches: Matches, stated: float | None) -> bool:
    """Whether matches give the AP that a record states, a fraction; None, nothing to find, agrees with everything."""
    return stated is None or abs(value_of(matches, "AP") - stated) <= AGREEMENT


def influences(matches: Matches, metrics: Sequence[str]) -> dict[str, Floats]:
    """Influences in percent points, for those metrics that have them (`NUMBERS`).

    Args:
        matches: of one run.
        metrics: names, as in a record.

    Returns:
        metric → ``[kind, image]``. Up to 1,000 pictures there are two kinds, derivatives and left-out pictures; the
        one with the larger variance counts. Beyond, classes on 120 pictures or fewer have left-out pictures, all
        others derivatives.
    """
    return {metric: 100 * _kinds(pack(matches, *NUMBERS[metric])) for metric in metrics if metric in NUMBERS}


def class_influences(matches: Matches, classes: Sequence[int]) -> Floats:
    """Influences on the mean AP of some classes, in percent points, ``[kind, image]`` as `influences` has them.

    Args:
        matches: of one run.
        classes: numbers in the evaluator's order, by rising category id; those without objects have no part.
    """
    packed = pack(matches)
    asked = np.zeros(packed.classes, dtype=np.bool_)
    asked[list(classes)] = True
    return 100 * _kinds(packed, asked)


def _kinds(packed: Packed, asked: NDArray[np.bool_] | None = None) -> Floats:
    """``[kind, image]``.

    Args:
        packed: what AP needs.
        asked: ``[class]`` whose mean it is; None: all.
    """
    some = np.flatnonzero((packed.objects > 0).any(axis=0) & (True if asked is None else asked))
    classes = max(len(some), 1)
    if packed.images > FEW_IMAGES:
        return kinds_by_class(packed)[:, some].sum(axis=1) / classes
    left = mean_of_known(deleted(packed)[some], axis=0)
    return np.stack([influence(packed)[some].sum(axis=0) / classes, deletion_influence(left)])


def kinds_by_class(packed: Packed) -> Floats:
    """``[kind, class, image]`` influences on the AP of each class, a fraction; the kinds are those of `influences`."""
    asked = left_out(packed.images, (packed.objects > 0).sum(axis=0))
    return kinds(influence(packed), deleted(packed, asked), asked)


def left_out(images: int, pictures: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``[part]`` whether the pictures with a part of the data, as a class, are left out in turn.

    Args:
        images: number of pictures.
        pictures: ``[part]`` those with an object of it.
    """
    return (pictures > 0) & ((pictures <= RARE) | (images <= FEW_IMAGES))


def kinds(slope: Floats, left: Floats, asked: NDArray[np.bool_]) -> Floats:
    """``[kind, part, image]`` influences.

    Args:
        slope: ``[part, image]`` derivatives.
        left: ``[part, image]`` values without the picture; NaN: nothing is left.
        asked: ``[part]`` as `left_out` gives it; of the others ``left`` is not looked at.
    """
    if slope.shape[-1] <= FEW_IMAGES:
        return np.stack([slope, deletion_influence(left)])
    moved = slope.copy()
    moved[asked] = deletion_influence(left[asked])
    return moved[None]
