"""Differences as the page holds them: all pairs once, and of each row as baseline what Holm's rule lets stand.

A pair says the same of both its rows, with the sign turned, so a baseline's family is the pairs that it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from assignbench.comparison.behrens_fisher import half_width
from assignbench.comparison.families import holm
from assignbench.comparison.plan import floor, measured, smallest
from assignbench.comparison.twolevel import Difference, Runs, difference
from assignbench.comparison.verdicts import Judged, Verdicts, smallest_of

Verdict = int | None  # 1: a is better than b, -1: worse, 0: undecided, None: no verdict may be read


@dataclass(frozen=True)
class Pairs:
    """Every row against every other one, a − b in percent points; one entry a pair in each column."""

    a: tuple[int, ...]  # places of the rows
    b: tuple[int, ...]
    mean: tuple[float, ...]
    half: tuple[float | None, ...]  # of the 95 % interval; None: nothing is known of the error
    seeds_half: tuple[float, ...]  # what of it the seeds alone would leave
    p: tuple[float | None, ...]
    p_family: tuple[float | None, ...]  # by Holm over all pairs
    verdict: tuple[Verdict, ...]
    dots: tuple[tuple[tuple[int, float], ...], ...]  # seed and difference, of the seeds that both have
    about: tuple[str, ...]  # the question that it answers, see `twolevel`
    noisy: tuple[bool, ...]


@dataclass(frozen=True)
class Family:
    """Every other row against one row; one entry a row, None where there is no such difference."""

    p_family: tuple[float | None, ...]  # by Holm over these
    verdict: tuple[Verdict, ...]


@dataclass(frozen=True)
class Estimate:
    """A metric of one row by itself, in percent points."""

    mean: float | None  # over its seeds; None: there is no run, or no ground truth
    low: float | None  # of the 95 % interval, within 0 and 100; None: nothing is known of the error
    high: float | None
    about: str | None  # what the interval is about, see `twolevel`; None: there is none
    seeds: int


def against(found: Verdicts, baseline: str) -> tuple[Judged, ...]:
    """Every other row against one, as `verdicts` with that baseline has it."""
    members = [
        one if one.b == baseline else replace(one, a=one.b, b=one.a, difference=turned(one.difference))
        for one in found.pairs
        if baseline in (one.a, one.b)
    ]
    adjusted = holm([np.nan if (p := one.difference.p) is None or not one.difference.settles else p for one in members])
    return tuple(
        replace(one, p_family=None if np.isnan(p) else float(p)) for one, p in zip(members, adjusted, strict=True)
    )


def turned(one: Difference) -> Difference:
    """The same difference, seen from the other row."""
    return replace(one, mean=-one.mean)


def pairs_of(found: Verdicts, values: Mapping[str, Mapping[int, float]]) -> Pairs:
    """All pairs of one metric in columns.

    Args:
        found: of the metric.
        values: row → seed → percent points.
    """
    place = {row: number for number, row in enumerate(values)}
    each = [one.difference for one in found.pairs]
    return Pairs(
        tuple(place[one.a] for one in found.pairs),
        tuple(place[one.b] for one in found.pairs),
        tuple(one.mean for one in each),
        halves(each),
        tuple(half or 0.0 for half in halves([replace(one, main=0.0) for one in each])),
        tuple(one.p for one in each),
        tuple(one.p_family for one in found.pairs),
        tuple(verdict(one) for one in found.pairs),
        tuple(
            tuple((seed, values[one.a][seed] - values[one.b][seed]) for seed in one.difference.seeds)
            for one in found.pairs
        ),
        tuple(one.about for one in each),
        tuple(one.noisy for one in each),
    )


def family_of(found: Verdicts, rows: Sequence[str], baseline: str) -> Family:
    """What stands against a baseline, for each of ``rows``."""
    members = {one.a: one for one in against(found, baseline)}
    return Family(
        tuple(members[row].p_family if row in members else None for row in rows),
        tuple(verdict(members[row]) if row in members else None for row in rows),
    )


def halves(each: Sequence[Difference]) -> tuple[float | None, ...]:
    """`Difference.half` of all of them, at once for those of equal freedom."""
    widths = np.zeros(len(each))
    for freedom in {one.freedom for one in each}:
        some = np.array([one.freedom == freedom for one in each])
        seed, main = (np.array([getattr(one, name) for one in each])[some] for name in ("seed", "main"))
        widths[some] = half_width(seed, main, freedom)
    return tuple(None if one.p is None else float(half) for one, half in zip(each, widths, strict=True))


def verdict(one: Judged) -> Verdict:
    """What may be read from a member of a family."""
    if not one.difference.settles:
        return None
    return (1 if one.difference.mean > 0 else -1) if one.decided else 0


def estimates(rows: Mapping[str, Runs]) -> tuple[Estimate, ...]:
    """Each row by itself: its distance from zero, with the row's own spread over seeds."""
    alone = [difference(runs, _nothing(runs)) for runs in rows.values()]
    known = [one for one in alone if one is not None]
    width = dict(zip(map(id, known), halves(known), strict=True))
    found = []
    for runs, one in zip(rows.values(), alone, strict=True):
        mean = float(np.mean(list(runs.values.values()))) if runs.values else None
        half = None if one is None else width[id(one)]
        if one is None or half is None or mean is None:
            found.append(Estimate(mean, None, None, None, len(runs.values)))
        else:
            low, high = max(mean - half, 0.0), min(mean + half, 100.0)
            found.append(Estimate(mean, low, high, one.about, len(runs.values)))
    return tuple(found)


def _nothing(runs: Runs) -> Runs:
    """A row that is 0 with every seed and on every picture."""
    pictures = None if runs.pictures is None else {seed: np.zeros_like(u) for seed, u in runs.pictures.items()}
    return Runs(dict.fromkeys(runs.values, 0.0), pictures)


@dataclass(frozen=True)
class Reach:
    """Which true differences a table finds four times in five, in percent points.

    For a typical pair of rows; reckoned as `comparison.plan` does.
    """

    now: float
    seeds: int  # that such a pair has
    twice: float  # with twice as many seeds
    floor: float  # with endless seeds: only more pictures lower it; 0: the pictures have no part


def reach(found: Verdicts) -> Reach | None:
    """What all pairs of a metric could have shown, and what would change it; None: no verdict may be read."""
    seeds = [len(one.difference.seeds) for one in found.pairs if one.difference.settles]
    now = smallest_of(found.pairs)
    if now is None:
        return None
    parts, usual = measured(found), round(median(seeds))
    return Reach(now, usual, smallest(parts, 2 * usual), floor(parts) or 0.0)
