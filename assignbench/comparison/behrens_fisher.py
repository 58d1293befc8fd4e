"""The sum of two errors of which one has an estimated spread: tail, interval, and what it can find.

    X = √seed · T + √main · Z

T is Student's with ν degrees of freedom, since the variance ``seed`` was estimated from a few seeds; Z is normal,
since ``main`` was estimated from many pictures. With V = χ²_ν / ν the sum is normal given V, with variance
seed / V + main, so that P(|X| > d) is the mean of 2 Φ(−d / √(seed / V + main)) over V. That mean is taken by the
trapezoid rule over log V, where the integrand falls off so fast on both sides that the rule is exact to rounding, far
out in the tail as well.

Source: Behrens and Fisher's problem with one variance known; Fisher, The fiducial argument in statistical inference,
Annals of Eugenics 6, 1935.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95  # of an interval
POWER = 0.8  # how often a difference shall be found
_NODES = 640
_BEYOND = 1e-22  # probability of V that is left out on either side


def tail(difference: ArrayLike, seed: ArrayLike, main: ArrayLike, freedom: float) -> Floats:
    """P(|X| > |difference|), the two-sided p; NaN where both variances are 0. Arrays of any one shape.

    Args:
        difference: that was seen.
        seed: variance of the mean difference by the seeds, estimated.
        main: variance by the pictures.
        freedom: degrees of freedom of ``seed``, at least 1; whole or not.
    """
    from scipy.special import ndtr

    value, weight = _mixture(float(freedom))
    size, seed, main = (np.asarray(each, dtype=np.float64)[..., None] for each in (difference, seed, main))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(seed / value + main)
        return np.where(spread[..., 0] > 0, (2 * ndtr(-np.abs(size) / spread) * weight).sum(axis=-1), np.nan)


def half_width(seed: ArrayLike, main: ArrayLike, freedom: float, level: float = LEVEL) -> Floats:
    """Half the width of the interval of X around 0 that holds it with probability ``level``."""
    seed, main = np.broadcast_arrays(np.asarray(seed, dtype=np.float64), np.asarray(main, dtype=np.float64))
    low, high = np.zeros(seed.shape), 2 * np.sqrt(seed + main)
    some = high > 0
    while (wide := some & (np.nan_to_num(tail(high, seed, main, freedom)) > 1 - level)).any():
        high = np.where(wide, 2 * high, high)
    for _ in range(48):
        middle = (low + high) / 2
        outside = np.nan_to_num(tail(middle, seed, main, freedom)) > 1 - level
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return high


def smallest_found(seed: float, main: float, freedom: float, power: float = POWER, level: float = LEVEL) -> float:
    """The true difference that is decided with probability ``power``.

    Args:
        seed: true variance of the mean difference by the seeds.
        main: variance by the pictures.
        freedom: degrees of freedom with which the seeds' variance will be estimated.
        power: how often it shall be found.
        level: of the interval that has to leave out zero.
    """
    value, weight = (each[::8] for each in _mixture(float(freedom)))
    half = half_width(seed * value, main, freedom, level)  # the estimate is seed · V, and independent of the mean
    return smallest_beyond(half, weight / weight.sum(), float(np.sqrt(seed + main)), power)


def smallest_beyond(half: Floats, weight: Floats, spread: float, power: float = POWER) -> float:
    """The true difference that lies beyond its interval's half with probability ``power``.

    Args:
        half: values that half the width of the interval may have, whatever the mean.
        weight: their probabilities.
        spread: true standard deviation of the mean difference.
        power: how often it shall be found.
    """
    from scipy.special import ndtr

    low, high = 0.0, float(half.max()) + 8 * spread
    for _ in range(80):
        middle = (low + high) / 2
        found = (ndtr((middle - half) / spread) + ndtr((-middle - half) / spread)) @ weight if spread else 1.0
        low, high = (low, middle) if found >= power else (middle, high)
    return high


@cache
def _mixture(freedom: float) -> tuple[Floats, Floats]:
    """Values of V = χ²_ν / ν and their probabilities."""
    from scipy.special import chdtri, gammaincinv

    low = np.log(2 * gammaincinv(freedom / 2, _BEYOND) / freedom)
    high = np.log(chdtri(freedom, _BEYOND) / freedom)
    log = np.linspace(low, high, _NODES)
    density = freedom / 2 * (log - np.exp(log))  # of log V, up to a constant
    weight = np.exp(density - density.max())
    return np.exp(log), weight / weight.sum()
