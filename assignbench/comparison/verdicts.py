"""What a table shows for one metric on one data set: every difference with its error, and what stands of it.

Two families are looked at, each held to 5 % by Holm's rule: every row against the baseline, and every row against
every other one. From the latter follow the group of the best and the ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import median
from typing import Literal

import numpy as np

from assignbench.comparison.behrens_fisher import smallest_found
from assignbench.comparison.families import ALPHA, beats, best_group, holm, ranks
from assignbench.comparison.power import smallest_guarded
from assignbench.comparison.twolevel import (
    LEAST_SEEDS,
    About,
    Difference,
    Runs,
    SharedSpread,
    difference,
    guarded,
    shared_spread,
)

Spread = Literal["auto", "own", "shared"]
SHARING = 4  # rows from which on they share their spread over seeds


@dataclass(frozen=True)
class Judged:
    """One difference, as a member of its family."""

    a: str
    b: str
    difference: Difference
    p_family: float | None  # by Holm; None: no verdict may be read from it

    @property
    def decided(self) -> bool:
        """Whether it stands within its family."""
        return self.p_family is not None and self.p_family < ALPHA

    @property
    def mark(self) -> str:
        """``*`` decided; ``·`` its own interval leaves out zero, and Holm's rule does not let it stand.

        ``?`` no verdict: fewer than three seeds, or nothing is known of its error.
        """
        one = self.difference
        if one.p is None or not one.settles:
            return "?"
        return "*" if self.decided else "·" if one.p < ALPHA else ""


@dataclass(frozen=True)
class Verdicts:
    """One metric on one data set."""

    metric: str
    rows: tuple[str, ...]  # those that have values
    baseline: tuple[Judged, ...]  # every other row against the baseline; (): there is none
    pairs: tuple[Judged, ...]  # every row against every other one
    best: frozenset[str]  # no row is decided to be better than these; only rows that are judged
    ranks: Mapping[str, tuple[int, int]]  # best and worst that a judged row may have among the judged ones
    noisy: frozenset[str]  # rows whose spread over seeds is larger than that of the others

    def against(self, row: str) -> Judged | None:
        """A row against the baseline."""
        return next((one for one in self.baseline if one.a == row), None)

    @cached_property
    def smallest(self) -> float | None:
        """The difference that this table would find four times in five; None: it has no verdicts."""
        return smallest_of(self.baseline or self.pairs)

    @property
    def judged(self) -> tuple[str, ...]:
        """The rows that have a verdict against some other row: of the others nothing is known."""
        return tuple(self.ranks)

    @property
    def tells_apart(self) -> bool:
        """Whether some row is decided to be worse than another."""
        return len(self.best) < len(self.judged)


def verdicts(
    metric: str,
    rows: Mapping[str, Runs],
    baseline: str | None = None,
    about: About = "strategies",
    spread: Spread = "auto",
) -> Verdicts:
    """Judge the differences of the rows of a table.

    Args:
        metric: its name.
        rows: name → runs; rows without a value are left out.
        baseline: the row that the others are held against.
        about: the question, see `twolevel`.
        spread: whose spread over seeds counts: each pair's own, that of all rows (guarded), or, by itself, the latter
            from four rows with the same three or more seeds on.
    """
    rows = {name: runs for name, runs in rows.items() if runs.values}
    shared = shared_by(rows, spread)
    others = [(row, baseline) for row in rows if row != baseline] if baseline in rows and baseline else []
    base = family_of(differences(rows, others, about, shared))
    pairs = family_of(differences(rows, list(combinations(rows, 2)), about, shared))
    settled = [one for one in pairs if one.p_family is not None]
    judged = [name for name in rows if any(name in (one.a, one.b) for one in settled)]
    place = {name: number for number, name in enumerate(judged)}
    better = beats(
        len(judged),
        [(place[one.a], place[one.b]) for one in settled],
        [one.difference.mean for one in settled],
        [one.p_family or 0.0 for one in settled],
    )
    best, bounds = best_group(better), ranks(better)
    return Verdicts(
        metric,
        tuple(rows),
        base,
        pairs,
        frozenset(name for name, number in place.items() if best[number]),
        {name: (int(bounds[number, 0]), int(bounds[number, 1])) for name, number in place.items()},
        noisy_of(rows, shared),
    )


def shared_by(rows: Mapping[str, Runs], spread: Spread = "auto") -> SharedSpread | None:
    """The spread over seeds that the rows of a table share; None: each pair has its own.

    Args:
        rows: name → runs, of every row that has values.
        spread: as `verdicts` has it.
    """
    seeds = {tuple(sorted(runs.values)) for runs in rows.values()}
    alike = len(seeds) == 1 and len(next(iter(seeds))) >= LEAST_SEEDS
    if not alike or not may_share(len(rows), spread):
        return None
    (order,) = seeds
    return shared_spread(np.array([[runs.values[seed] for seed in order] for runs in rows.values()]))


def may_share(rows: int, spread: Spread) -> bool:
    """Whether so many rows share their spread over seeds, once they have the same three or more of them."""
    return spread != "own" and rows >= (2 if spread == "shared" else SHARING)


def noisy_of(rows: Iterable[str], shared: SharedSpread | None) -> frozenset[str]:
    """Rows whose spread over seeds is larger than that of the others; of `shared_by` the same rows."""
    return frozenset(row for row, odd in zip(rows, shared.noisy, strict=True) if odd) if shared else frozenset()


def differences(
    rows: Mapping[str, Runs], pairs: Iterable[tuple[str, str]], about: About, shared: SharedSpread | None
) -> list[tuple[str, str, Difference]]:
    """The first row of each pair against the second; pairs about which nothing can be said are left out.

    Args:
        rows: name → runs.
        pairs: names.
        about: the question, see `twolevel`.
        shared: spread of these rows, from `shared_by`.
    """
    noisy = noisy_of(rows, shared)
    found = []
    for a, b in pairs:
        one = (
            guarded(rows[a], rows[b], about, shared, not noisy.isdisjoint((a, b)))
            if shared
            else difference(rows[a], rows[b], about)
        )
        if one is not None:
            found.append((a, b, one))
    return found


def family_of(found: Sequence[tuple[str, str, Difference]]) -> tuple[Judged, ...]:
    """Differences that are looked at together, corrected by Holm's rule; one without a verdict is no member."""
    p = holm([one.p if one.settles and one.p is not None else np.nan for _, _, one in found])
    return tuple(
        Judged(a, b, one, None if np.isnan(each) else float(each)) for (a, b, one), each in zip(found, p, strict=True)
    )


def corrected_for(family: Sequence[Judged]) -> int:
    """The number of comparisons that Holm's rule corrects for: those of which a verdict may be read."""
    return sum(one.p_family is not None for one in family)


def smallest_of(family: Sequence[Judged], size: int | None = None) -> float | None:
    """The difference that is found four times in five, for two typical rows of usual spread; None: no verdicts.

    Args:
        family: comparisons.
        size: number that are corrected for; None: those of the family.
    """
    some = [one.difference for one in family if one.difference.settles]
    if not some:
        return None
    level, main = 1 - ALPHA / (size or corrected_for(family)), median(one.main for one in some)
    shared = [one for one in some if one.shared]
    if 2 * len(shared) > len(some):
        seeds, rows = len(shared[0].seeds), rows_of(shared[0])
        return smallest_guarded(shared_variance(shared), main, rows, seeds, level)
    own = [one for one in some if not one.shared]
    return smallest_found(median(one.seed for one in own), main, median(one.freedom for one in own), level=level)


def shared_variance(shared: Sequence[Difference]) -> float:
    """Variance of a difference by one seed that rows share: the least of all, as each has at least that."""
    return min(one.seed * len(one.seeds) for one in shared)


def rows_of(shared: Difference) -> int:
    """How many rows share their spread."""
    return 1 + round(shared.freedom / (len(shared.seeds) - 1))
