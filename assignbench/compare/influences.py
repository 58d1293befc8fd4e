"""How much each picture moves each number of a run: what `twolevel` needs beside the number itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assignbench.compare.weighted import Packed, ap, deleted, deletion_influence, influence, mean_of_known, pack
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
    pictures = (packed.objects > 0).sum(axis=0)
    measured = pictures > 0 if asked is None else (pictures > 0) & asked
    classes = max(int(measured.sum()), 1)
    slope = influence(packed)
    if packed.images <= FEW_IMAGES:
        left = mean_of_known(deleted(packed, measured), axis=0)
        return np.stack([slope[measured].sum(axis=0) / classes, deletion_influence(left)])
    rare = measured & (pictures <= RARE)
    slope[rare] = deletion_influence(deleted(packed, rare))[rare]
    return slope[measured].sum(axis=0)[None] / classes
