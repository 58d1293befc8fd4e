"""Is one strategy better than another, or was it the seeds? Differences paired by seed, Student's t.

Runs of one seed share initial weights and the order of the pictures, as far as their strategies leave them alone;
their difference is free of what that seed did to both. What is left is taken as normal around the true difference:
with n seeds, mean / (s / √n) is then Student's t with n − 1 degrees of freedom, which charges a handful of seeds for
not knowing the spread (for 3 seeds the interval is ± 2.5 standard deviations of a single difference, for 5 it is
± 1.2). So few differences could not show that they are not normal, and a rank test decides nothing below six seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

LEVEL = 0.95  # of the two-sided interval that has to leave out zero


@dataclass(frozen=True)
class Paired:
    """One strategy against another, in percent points."""

    seeds: tuple[int, ...]  # that both have
    mean: float  # of the differences
    half: float | None  # half the width of the interval of LEVEL around the mean; None: one seed says nothing of noise
    confidence: float | None  # that the true difference is above zero: 1 − p of the one-sided test

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.half is not None and abs(self.mean) > self.half


def paired(values: Mapping[int, float], others: Mapping[int, float]) -> Paired | None:
    """The differences of two strategies over the seeds they share; None: they share none.

    Args:
        values: seed → percent points.
        others: of the strategy it is held against.
    """
    seeds = tuple(sorted(values.keys() & others.keys()))
    if not seeds:
        return None
    differences = [values[seed] - others[seed] for seed in seeds]
    mean = statistics.fmean(differences)
    if len(seeds) < 2:
        return Paired(seeds, mean, None, None)
    error = statistics.stdev(differences) / math.sqrt(len(seeds))
    half = student_quantile((1 + LEVEL) / 2, len(seeds) - 1) * error
    if error == 0:  # every seed says exactly the same
        return Paired(seeds, mean, half, 0.5 + 0.5 * ((mean > 0) - (mean < 0)))
    return Paired(seeds, mean, half, student_cdf(mean / error, len(seeds) - 1))


def student_cdf(t: float, freedom: int) -> float:
    """P(T ≤ t) of Student's t with a whole number of degrees of freedom, by its finite series.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    first = freedom % 2  # 0: cos⁰, cos², …; 1: cos¹, cos³, …
    term, total = (math.cos(angle) if first else 1.0), 0.0
    for power in range(first, freedom - 1, 2):
        total += term
        term *= square * (power + 1) / (power + 2)
    inside = 2 / math.pi * (angle + sine * total) if first else sine * total
    return 0.5 + 0.5 * inside


def student_quantile(probability: float, freedom: int) -> float:
    """The t with P(T ≤ t) = probability, for ½ ≤ probability < 1, by bisection."""
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < probability else (low, middle)
    return high
