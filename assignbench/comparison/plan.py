"""How many seeds, and which pictures, a difference of some size takes: reckoned from runs that there are.

The variance of one difference is measured on the runs (`twolevel`), and what so many seeds would find is drawn from it
(`behrens_fisher.smallest_found`):

    one       var(D_s), of the difference with one seed; holds a and c
    cross     the part c of it, each run's own by the pictures; falls as 1 / N
    main      b, by the pictures, whatever the seeds; falls as 1 / N
    smallest  the true difference that S seeds decide in 80 %, with variances one / S and main, and S − 1 degrees of
              freedom, or (rows − 1)(S − 1) and a guard where the rows share their spread (`power.smallest_guarded`)
    floor     the same with endless seeds, (z + 0.84) √main: only more pictures lower it

Decided is meant after Holm's correction, in the hardest of its steps, as the sentence below a table means it. A median
over the comparisons of a table stands for all of them. What is measured on few seeds is itself known badly: the bounds
of √one are those of χ² with the degrees of freedom that it was measured with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from assignbench.comparison.behrens_fisher import smallest_found
from assignbench.comparison.families import ALPHA
from assignbench.comparison.power import smallest_guarded
from assignbench.comparison.twolevel import LEAST_SEEDS, Difference
from assignbench.comparison.verdicts import Judged, Spread, Verdicts, may_share, shared_variance
from assignbench.errors import UsageError

SEEDS = (3, 5, 10, 20)
MOST = 10_000  # seeds, beyond which nobody trains


@dataclass(frozen=True)
class Parts:
    """Variances of one difference, in squared percent points, and what will be compared."""

    one: float  # by one seed
    cross: float  # what of it falls with more pictures; at most all
    main: float | None  # by the pictures; None: unknown, no detections are kept
    images: int | None  # that it is for; None as above
    rows: int  # of the table
    comparisons: int  # of the family
    shared: bool  # whether the rows will share their spread over seeds
    seeds: tuple[int, ...]  # that it was measured with
    known: float  # degrees of freedom of `one`

    @property
    def level(self) -> float:
        """Of the interval that has to leave out zero, so that the difference stands in its family."""
        return 1 - ALPHA / self.comparisons

    @property
    def bounds(self) -> tuple[float, float]:
        """Of `one`, 95 %."""
        from scipy.special import chdtri

        low, high = (float(self.one * self.known / chdtri(self.known, tail)) for tail in (0.025, 0.975))
        return low, high


@dataclass(frozen=True)
class Step:
    """What some number of seeds can do."""

    seeds: int
    smallest: float  # true difference that is found four times in five, percent points
    by_seeds: float | None  # share of the variance that more seeds lower, 0 to 1; None: the other part is unknown


@dataclass(frozen=True)
class Wanted:
    """What it takes to find a difference of some size four times in five."""

    difference: float  # percent points
    seeds: int | None  # of each row; None: no number up to `MOST`
    fewest: int | None  # with the lower bound of the spread over seeds
    most: int | None  # with the upper one
    pictures: float | None  # that it takes with endless seeds; None: unknown
    pictures_then: int | None  # that it takes with the last number of `SEEDS`; None: unknown, or none suffices


@dataclass(frozen=True)
class Plan:
    """For one metric on one data set."""

    parts: Parts
    images: int | None  # of the runs, which may be others than those that are reckoned with; None: have no part
    steps: tuple[Step, ...]
    floor: float | None  # with endless seeds; None: unknown
    wanted: Wanted | None


def plan(
    found: Verdicts,
    baseline: str | None = None,
    spread: Spread = "auto",
    difference: float | None = None,
    images: int | None = None,
) -> Plan:
    """Reckon what seeds can find.

    Args:
        found: the comparisons of a table.
        baseline: the row that the others shall be held against; None: all pairs are looked at.
        spread: as it was judged with.
        difference: that shall be found, percent points.
        images: number of pictures to reckon with instead of those of the runs.

    Raises:
        UsageError: the runs do not tell, with the reason; or other pictures are asked for whose part is unknown.
    """
    parts = measured(found, baseline, spread)
    own = parts.images
    if images is not None:
        parts = rescaled(parts, images)
    steps = []
    for seeds in SEEDS:
        known = None if parts.main is None else _share(parts.one / seeds, parts.main)
        steps.append(Step(seeds, smallest(parts, seeds), known))
    return Plan(parts, own, tuple(steps), floor(parts), None if difference is None else wanted(parts, difference))


def measured(found: Verdicts, baseline: str | None = None, spread: Spread = "auto") -> Parts:
    """The parts of the typical difference.

    Args:
        found: the comparisons of a table.
        baseline: as `plan` has it.
        spread: as `plan` has it.

    Raises:
        UsageError: the runs do not tell, with the reason.
    """
    rows, some = len(found.rows), _told(found, baseline)
    shared = [one for one in some if one.shared]
    alone = 2 * sum(one.noisy and not one.shared for one in some) >= len(some)  # noisy rows keep their own spread
    if 2 * len(shared) > len(some):
        variance, freedom = shared_variance(shared), shared[0].freedom
    else:
        own = [one for one in some if not one.shared]
        variance, freedom = median(one.seed * len(one.seeds) for one in own), median(one.freedom for one in own)
    known = some[0].about == "strategies"
    return Parts(
        variance,
        min(median(one.inter * len(one.seeds) for one in some), variance) if known else 0.0,
        median(one.main for one in some) if known else None,
        some[0].images if known else None,
        rows,
        rows * (rows - 1) // 2 if baseline is None else rows - 1,
        may_share(rows, spread) and not alone,
        tuple(sorted({seed for one in some for seed in one.seeds})),
        freedom,
    )


def rescaled(parts: Parts, images: int) -> Parts:
    """The same with another number of pictures, as different from each other as these.

    Raises:
        UsageError: the part of the pictures is unknown.
    """
    if parts.main is None or parts.images is None:
        raise UsageError(
            "other numbers of pictures can only be reckoned with where pictures have a part; "
            "these runs have no detections and no matches"
        )
    factor = parts.images / images
    cross = parts.cross * factor
    return replace(parts, one=parts.one - parts.cross + cross, cross=cross, main=parts.main * factor, images=images)


def smallest(parts: Parts, seeds: int) -> float:
    """The true difference that so many seeds find four times in five, percent points.

    Args:
        parts: of one difference.
        seeds: of each row, at least 2.
    """
    main = parts.main or 0.0
    if parts.shared:
        return smallest_guarded(parts.one, main, parts.rows, seeds, parts.level)
    return smallest_found(parts.one / seeds, main, seeds - 1, level=parts.level)


def floor(parts: Parts) -> float | None:
    """The same with endless seeds; None: unknown."""
    return None if parts.main is None else smallest_found(0.0, parts.main, 1.0, level=parts.level)


def seeds_needed(parts: Parts, difference: float) -> int | None:
    """The smallest number of seeds, three or more, that finds a difference four times in five; None: none to `MOST`."""
    if (least := floor(parts)) is not None and least >= difference:
        return None
    unit = smallest_found(0.0, 1.0, 1.0, level=parts.level)  # what endless seeds would find with a variance of 1
    start = parts.one / ((difference / unit) ** 2 - (parts.main or 0.0))  # were the spread known
    if start > MOST:
        return None
    return _first(lambda seeds: smallest(parts, seeds) <= difference, max(LEAST_SEEDS, math.ceil(start)), MOST)


def pictures_needed(parts: Parts, difference: float, seeds: int) -> int | None:
    """How many pictures so many seeds take to find a difference, to 1 %; None: no number suffices, or it is unknown."""
    if parts.main is None or parts.images is None or smallest(rescaled(parts, 10**12), seeds) >= difference:
        return None
    low, high = 0.0, math.log(10**12)
    while high - low > 0.01:
        middle = (low + high) / 2
        enough = smallest(rescaled(parts, math.ceil(math.exp(middle))), seeds) <= difference
        low, high = (low, middle) if enough else (middle, high)
    return math.ceil(math.exp(high))


def wanted(parts: Parts, difference: float) -> Wanted:
    """What it takes to find a difference of some size, percent points."""
    low, high = parts.bounds
    least = floor(parts)
    return Wanted(
        difference,
        seeds_needed(parts, difference),
        seeds_needed(replace(parts, one=low, cross=min(parts.cross, low)), difference),
        seeds_needed(replace(parts, one=high), difference),
        None if least is None or parts.images is None else parts.images * (least / difference) ** 2,
        pictures_needed(parts, difference, SEEDS[-1]),
    )


def _told(found: Verdicts, baseline: str | None) -> list[Difference]:
    """The differences that tell how far seeds lie apart; of those with a part for the pictures, if there are some."""
    if len(found.rows) < 2:
        raise UsageError("fewer than two strategies have a value; it takes two of them with two seeds each")
    family: tuple[Judged, ...] = found.pairs if baseline is None else found.baseline
    several = [one.difference for one in family if len(one.difference.seeds) > 1]
    if not several:
        against = "no two strategies" if baseline is None else f"no strategy and {baseline}"
        raise UsageError(f"{against} have two seeds in common; run them with --seeds 0,1,2")
    some = [one for one in several if one.p is not None]
    if not some:
        raise UsageError("every seed says the same, so that nothing is known of its error")
    return [one for one in some if one.about == "strategies"] or some


def _share(part: float, other: float) -> float:
    return part / (part + other) if part + other else 0.0


def _first(fits: Callable[[int], bool], start: int, most: int) -> int | None:
    """The first number from ``start`` on that fits, where all behind it fit as well; None: beyond ``most``."""
    below, step = start - 1, 1
    while not fits(above := min(below + step, most)):
        if above == most:
            return None
        below, step = above, 2 * step
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if fits(middle) else (middle, above)
    return above
