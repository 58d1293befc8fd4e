"""How fast cost grows: the exponent of what objects add, over their pairs.

added = ms − empty_ms        beyond the same batch without objects
added ∝ pairs^exponent       least squares of log(added) on log(pairs), over the larger half of the cases

Small cases are left out because what every batch with objects costs, whatever their number, hides growth there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import linear_regression

LINEAR = 1.2  # largest exponent that is called linear: pairs that no longer fit into caches cost up to twice as much
NOTICED = 0.2  # of the time without objects: what objects add has to be more, to be told from noise
NOISE = 0.25  # largest standard error of an exponent that says anything


@dataclass(frozen=True)
class GrowthRow:
    """One case of one strategy."""

    strategy: str
    axis: str  # what grows: objects, image, batch
    priors: int  # a cell
    objects: int  # an image
    image: str  # height x width, pixels
    batch: int
    pairs: int  # of the batch
    ms: float  # assignment and loss, forward and backward
    empty_ms: float  # the same without objects
    floor_ms: float
    ratio: float  # ms / floor_ms

    @property
    def added_ms(self) -> float:
        """What the objects add; below 0 for noise."""
        return self.ms - self.empty_ms

    @property
    def noticed(self) -> bool:
        """Whether that is more than noise."""
        return self.pairs > 0 and self.added_ms > NOTICED * self.empty_ms


@dataclass(frozen=True)
class Growth:
    """How what objects add grows with their pairs, along one axis."""

    strategy: str
    axis: str
    exponent: float | None  # None: objects add too little
    error: float | None  # standard error of the exponent
    fitted: int  # cases
    ns_per_pair: float | None  # of the largest case
    verdict: str


def growth_of(strategy: str, axis: str, rows: Sequence[GrowthRow]) -> Growth:
    """The exponent of what objects add, over the larger half of the cases, and what it means.

    Cases where objects add no more than noise are left out; of the rest three are needed.
    """
    clear = [row for row in rows[len(rows) // 2 :] if row.noticed]
    if len({row.pairs for row in clear}) < 3:
        most = max((row.ms / row.empty_ms - 1 for row in rows), default=0.0)
        verdict = f"too few cases above noise; objects add at most {max(0.0, 100 * most):.0f} % to an empty batch"
        return Growth(strategy, axis, None, None, len(clear), None, verdict)
    pairs = [math.log(row.pairs) for row in clear]
    added = [math.log(row.added_ms) for row in clear]
    slope, intercept = linear_regression(pairs, added)
    mean = sum(pairs) / len(pairs)
    misfit = sum((y - intercept - slope * x) ** 2 for x, y in zip(pairs, added, strict=True))
    error = math.sqrt(misfit / (len(pairs) - 2) / sum((x - mean) ** 2 for x in pairs))
    last = clear[-1]
    return Growth(
        strategy=strategy,
        axis=axis,
        exponent=round(slope, 2),
        error=round(error, 2),
        fitted=len(clear),
        ns_per_pair=round(1e6 * last.added_ms / last.pairs, 1),
        verdict=verdict_of(axis, slope, error, clear),
    )


def verdict_of(axis: str, exponent: float, error: float, rows: Sequence[GrowthRow]) -> str:
    """One sentence; of growth that is faster than linear, where it is fastest."""
    if error > NOISE and exponent - 2 * error <= LINEAR:
        return "too noisy to tell; raise --repeat"
    if exponent <= LINEAR:
        return "no super-linear growth"
    steps = [(a, b) for a, b in pairwise(rows) if b.pairs > a.pairs]
    slope, first, second = max(((local_slope(a, b), a, b) for a, b in steps), key=lambda step: step[0])
    between = f"{getattr(first, axis)} and {getattr(second, axis)}"
    return f"super-linear, fastest between {between} (exponent {slope:.2f})"


def local_slope(first: GrowthRow, second: GrowthRow) -> float:
    """The exponent between two cases."""
    return math.log(second.added_ms / first.added_ms) / math.log(second.pairs / first.pairs)
