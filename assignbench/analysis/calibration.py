"""Does a score say how often a detection is right? Precision at IoU 0.5 by score, and how far the two are apart.

    n_b      counted detections whose score lies in bin b: COCO's matches, crowd regions left out
    s_b      their mean score
    p_b      the part of them that is right
    error    Σ_b n_b |p_b − s_b| / Σ_b n_b                        detection expected calibration error (D-ECE)

Most detections of a file have low scores, so that the error is mostly theirs, and depends on the lowest score that the
recipe keeps: it compares runs of one recipe.

Source: F. Küppers, J. Kronenberger, A. Shantia, A. Haselhoff, Multivariate Confidence Calibration for Object
Detection, CVPR Workshops 2020, with the score as the only variable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assignbench.run.scoring.matches import Choices, Found

BINS = 20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """Scores and precision of one run; fractions in [0, 1]."""

    detections: NDArray[np.int64]  # [bin] counted; bin b holds scores from b / 20 to below (b + 1) / 20, the last one 1
    score: Floats  # [bin] mean; NaN: the bin is empty
    precision: Floats  # [bin] at IoU 0.5; NaN: the bin is empty
    error: float  # NaN: no detection counts


def reliability(found: Found, choices: Choices) -> Reliability:
    """Hold the scores of one run against what became of its detections.

    Args:
        found: detections.
        choices: of these (`matches.choose`).
    """
    counted = choices.counted[0, 0]
    score, right = found.score[choices.detection[counted]], choices.right[0, 0, counted]
    # 9 digits, since 20 · 0.55 is a little more or less than 11
    place = np.clip(np.floor(np.round(score * BINS, 9)).astype(np.int64), 0, BINS - 1)
    detections = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean, precision = (np.bincount(place, weights=each, minlength=BINS) / detections for each in (score, right))
    apart = np.nan_to_num(np.abs(precision - mean)) @ detections
    return Reliability(detections, mean, precision, float(apart / len(score)) if len(score) else float("nan"))
