"""What two of several rows find that share their spread over seeds, with the guard of `twolevel.guarded`.

The guard costs power. The larger one of the shared and the own variance counts: this is drawn, from deviations of equal
rows over seeds, and from both variances follows half the width of the interval, which is independent of the mean. And
where one of the two rows spreads more than the others, its own interval has to leave out zero as well, which with three
seeds finds next to nothing. One of five equal rows does so by chance. Once there are runs it is known which rows these
are, so that a number that speaks of all pairs would say nothing of either kind: what is said here is of pairs of rows
of usual spread, and `noisy_share` says how many the others are.

Deviations from the mean over S seeds are S − 1 independent normal numbers a row. Of more of them than rows only their
products matter, which are a triangular matrix times itself (Bartlett, On the theory of statistical regression,
Proceedings of the Royal Society of Edinburgh 53, 1933).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from assignbench.comparison.behrens_fisher import LEVEL, POWER, half_width, smallest_beyond, smallest_found
from assignbench.comparison.twolevel import NOISY

Floats = NDArray[np.float64]

_DRAWS = 4000
_NODES = 48  # of the interval's half by the variance, between which it is read off


def smallest_guarded(
    one: float, main: float, rows: int, seeds: int, level: float = LEVEL, power: float = POWER
) -> float:
    """The true difference of two rows of usual spread that is decided with probability ``power``.

    Args:
        one: true variance of a difference by one seed, the same for all rows.
        main: variance by the pictures.
        rows: that share their spread, at least 2.
        seeds: of each row, at least 2.
        level: of the interval that has to leave out zero.
        power: how often it shall be found.
    """
    if one <= 0:
        return smallest_found(0.0, main, 1.0, power, level)
    seed, freedom = one / seeds, (rows - 1) * (seeds - 1)
    own, shared, noisy = _drawn(rows, seeds)
    half = _halves(seed * np.maximum(own, shared)[~noisy], main, freedom, level)
    return smallest_beyond(half, np.full(len(half), 1 / len(half)), float(np.sqrt(seed + main)), power)


def noisy_share(rows: int, seeds: int) -> float:
    """In which part of pairs of equal rows one of the two spreads more than the others by chance."""
    return float(_drawn(rows, seeds)[2].mean())


def _halves(seed: Floats, main: float, freedom: float, level: float) -> Floats:
    """Half the width of the interval for many variances by the seeds."""
    nodes = np.geomspace(seed.min(), seed.max(), _NODES)
    return np.exp(np.interp(np.log(seed), np.log(nodes), np.log(half_width(nodes, main, freedom, level))))


@cache
def _drawn(rows: int, seeds: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Of equal rows, in units of the true variance of a difference: own, shared, whether one of two rows is noisy."""
    from scipy.special import fdtri

    random, freedom = np.random.default_rng(0), seeds - 1
    if freedom <= rows:
        deviation = random.normal(size=(_DRAWS, rows, freedom))
    else:
        deviation = np.tril(random.normal(size=(_DRAWS, rows, rows)), -1)
        diagonal = np.arange(rows)
        deviation[:, diagonal, diagonal] = np.sqrt(random.chisquare(freedom - diagonal, (_DRAWS, rows)))
    pair = deviation[:, 0] - deviation[:, 1]
    residual = deviation - deviation.mean(axis=1, keepdims=True)
    each = (residual**2).sum(axis=2) * rows / ((rows - 1) * freedom)  # estimates the variance of its row
    others = (each.sum(axis=1, keepdims=True) - each) / (rows - 1)
    noisy = each > others * fdtri(freedom, (rows - 1) * freedom, NOISY)
    return (pair**2).sum(axis=1) / (2 * freedom), each.mean(axis=1), noisy[:, :2].any(axis=1)
