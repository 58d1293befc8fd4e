"""Is one strategy better than another on pictures like these? Errors from seeds and from pictures, together.

    AP(strategy k, seed s, pictures) = mean_k + seed_s + a_ks + b_k(pictures) + c_ks(pictures)

    D_s      AP of a − AP of b with seed s, over the S seeds that both have; this takes seed_s out
    u_si     influence of picture i on D_s (`weighted`), N pictures
    seed     var(D_s) / S                                    S − 1 degrees of freedom; holds a and c
    picture  Σ_i mean_s(u)² · N / (N − 1)                    holds b and c / S
    inter    Σ_si (u − mean_s u)² / ((S − 1) S)              c / S, which both of them hold
    main     max(picture − inter, 0)
    p        P(|√seed T + √main Z| > |mean D|)               `behrens_fisher`

The training data and the recipe are fixed: nothing is claimed beyond them. There are three questions. ``strategies``,
the one above, needs three seeds for a verdict. ``set``: do the strategies differ on exactly these pictures? main is
left out, and so is inter. ``networks``: do these trained networks differ on pictures like these? The seeds' part is
left out; it is the only question that one seed answers, and says nothing of strategies.

Where there are few pictures, influences come in two kinds, derivatives and left-out pictures (`weighted`): the kind
with the larger variance counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from assignbench.comparison.behrens_fisher import half_width, tail

Floats = NDArray[np.float64]
About = Literal["strategies", "set", "networks"]

LEAST_SEEDS = 3  # for a verdict
NOISY = 0.80  # point of F beyond which a row's spread is not that of the others


@dataclass(frozen=True)
class Runs:
    """The runs of one strategy on one set of pictures, for one metric, in percent points."""

    values: Mapping[int, float]  # seed → metric
    pictures: Mapping[int, Floats] | None = None  # seed → [kind, image] influences; None: detections are missing


@dataclass(frozen=True)
class SeedSpread:
    """Variance of one difference by its seed, and how well it is known."""

    variance: float
    freedom: float
    shared: bool = False  # by all rows of a table


@dataclass(frozen=True)
class Difference:
    """One strategy against another, in percent points."""

    about: About
    seeds: tuple[int, ...]  # that both have
    images: int | None  # None: the pictures have no part
    mean: float
    p: float | None  # None: nothing is known of the error
    seed: float  # variance of the mean by the seeds
    main: float  # variance of the mean by the pictures
    inter: float  # variance that the parts of seeds and pictures share
    freedom: float
    shared: bool  # whether the spread over seeds is that of all rows
    noisy: bool = False  # whether one of the two rows spreads more than the others

    @cached_property
    def half(self) -> float | None:
        """Half the width of the 95 % interval around the mean; None: nothing is known of the error."""
        return None if self.p is None else float(half_width(self.seed, self.main, self.freedom))

    @property
    def settles(self) -> bool:
        """Whether a verdict may be read from it."""
        return self.about != "networks" and len(self.seeds) >= LEAST_SEEDS and self.p is not None


def difference(a: Runs, b: Runs, about: About = "strategies", shared: SeedSpread | None = None) -> Difference | None:
    """The difference of two strategies over the seeds they share.

    Args:
        a: the one.
        b: the other one.
        about: the question. Without influences ``strategies`` becomes ``set``, and with one seed ``networks``.
        shared: spread over seeds of all rows (`shared_spread`); None: the two rows' own.

    Returns:
        None: they share no seed, or the question cannot be answered with what there is.
    """
    seeds = tuple(sorted(a.values.keys() & b.values.keys()))
    if not seeds:
        return None
    each = np.array([a.values[seed] - b.values[seed] for seed in seeds])
    count, mean = len(seeds), float(each.mean())
    pictures = _parts(a, b, seeds)
    if about == "strategies" and pictures is None:
        about = "set"
    if about == "strategies" and count == 1:
        about = "networks"
    if (about == "networks" and pictures is None) or (about == "set" and count == 1):
        return None
    main, inter, images = pictures if pictures is not None and about != "set" else (0.0, 0.0, None)
    if about == "networks":
        spread = SeedSpread(0.0, 1.0)
        main = main + inter  # of these networks: nothing of it is a seed's
    else:
        spread = shared or SeedSpread(float(each.var(ddof=1)), count - 1)
    seed = spread.variance / count
    p = float(tail(mean, seed, main, spread.freedom))
    return Difference(
        about, seeds, images, mean, None if np.isnan(p) else p, seed, main, inter, spread.freedom, spread.shared
    )


def _parts(a: Runs, b: Runs, seeds: Sequence[int]) -> tuple[float, float, int] | None:
    """Variances by pictures: what all seeds share, what is each seed's own; and the number of pictures."""
    if a.pictures is None or b.pictures is None:
        return None
    if any(seed not in each for seed in seeds for each in (a.pictures, b.pictures)):
        return None
    u = np.stack([a.pictures[seed] - b.pictures[seed] for seed in seeds], axis=1)  # [kind, seed, image]
    count, images = u.shape[1:]
    average = u.mean(axis=1)
    picture = (average**2).sum(axis=-1) * images / max(images - 1, 1)
    inter = ((u - average[:, None]) ** 2).sum(axis=(1, 2)) / (max(count - 1, 1) * count)
    main = np.maximum(picture - inter, 0.0)
    kind = int(main.argmax())
    return float(main[kind]), float(min(inter[kind], picture[kind])), images


@dataclass(frozen=True)
class SharedSpread:
    """The spread over seeds that all rows of a table have in common."""

    spread: SeedSpread  # of a difference of two rows
    noisy: NDArray[np.bool_]  # [row] spreads more than the others


def shared_spread(values: Floats) -> SharedSpread:
    """Two-way residuals of rows over seeds.

    Args:
        values: ``[row, seed]`` of one metric, at least 2 by 2; the rows of the table, chosen before looking.
    """
    from scipy.special import fdtri

    rows, seeds = values.shape
    residual = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    freedom = (rows - 1) * (seeds - 1)
    own = (residual**2).sum(axis=1) * rows / freedom  # each estimates the variance of its row
    others = (own.sum() - own) / (rows - 1)
    noisy = own > others * fdtri(seeds - 1, freedom, NOISY)
    return SharedSpread(SeedSpread(2 * float(own.mean()), freedom, shared=True), noisy)


def guarded(a: Runs, b: Runs, about: About, shared: SharedSpread, noisy: bool) -> Difference | None:
    """The difference with the spread that all rows share, or the rows' own where that says less.

    Args:
        a: the one.
        b: the other one.
        about: the question.
        shared: of all rows.
        noisy: whether a or b spreads more than the others. Then the larger one of both p counts.
    """
    own = difference(a, b, about)
    if own is None or own.about == "networks":
        return own
    variance = max(shared.spread.variance, own.seed * len(own.seeds))
    ours = difference(a, b, about, SeedSpread(variance, shared.spread.freedom, shared=True))
    if ours is None or not noisy:
        return ours
    chosen = own if own.p is None or ours.p is None or own.p > ours.p else ours
    return replace(chosen, noisy=True)
