"""Many comparisons at once: what stands when each of them had a chance to come out by luck.

Holm's rule holds the chance that any true "equal" of the family is called different to 5 %, whatever depends on what.
From its verdicts over all pairs follow the group of the best (no row is better than these) and bounds on every rank,
all of which hold at once.

Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979;
Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, Journal of the Royal Statistical Society B 57, 1995.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ALPHA = 0.05
FALSE_DISCOVERIES = 0.10  # of what Benjamini's and Hochberg's rule lets stand, at most


def holm(p: ArrayLike) -> Floats:
    """Adjusted p: below α where the comparison is decided within its family. NaN is no member, and stays."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)  # NaN last
    count = int((~np.isnan(p)).sum())
    adjusted = np.full(p.shape, np.nan)
    stepped = p[order[:count]] * np.arange(count, 0, -1)
    adjusted[order[:count]] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjusted p: at most 10 % of those below 0.1 are expected to be false. NaN is no member, and stays."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)
    count = int((~np.isnan(p)).sum())
    adjusted = np.full(p.shape, np.nan)
    stepped = p[order[:count]] * count / np.arange(1, count + 1)
    adjusted[order[:count]] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return adjusted


def beats(
    rows: int, pairs: Sequence[tuple[int, int]], means: ArrayLike, p: ArrayLike, alpha: float = ALPHA
) -> NDArray[np.bool_]:
    """``[row, row]`` whether the first is decided to be better than the second.

    Args:
        rows: number of rows.
        pairs: of each comparison.
        means: first − second.
        p: adjusted; NaN: no verdict.
        alpha: below which p decides.
    """
    better = np.zeros((rows, rows), dtype=np.bool_)
    for (a, b), mean, each in zip(pairs, np.asarray(means), np.asarray(p), strict=True):
        if each < alpha:
            better[(a, b) if mean > 0 else (b, a)] = True
    return better


def best_group(better: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``[row]`` rows that no other one is decided to be better than."""
    return np.logical_not(better.any(axis=0))


def ranks(better: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``[row, 2]`` the best and the worst rank that each row may have; 1 is the best."""
    return np.stack([1 + better.sum(axis=0), len(better) - better.sum(axis=1)], axis=1)


def at_least(p: ArrayLike, alpha: float = ALPHA) -> int:
    """On how many data sets at least one strategy is better than another: Holm's verdicts on one-sided tests.

    Args:
        p: one-sided, one for each data set.
        alpha: chance that it is too many.
    """
    return int((holm(p) < alpha).sum())
