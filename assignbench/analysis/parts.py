"""Numbers of parts of the data, as a class or a group of objects, and whether two strategies differ in them.

A difference and its error are those of `comparison.twolevel`, part by part. The parts of one pair of strategies are a
family: Holm's rule where they are few, Benjamini's and Hochberg's where they are many. A part on fewer than ten
pictures has its number and its difference, but it enters no family and gets no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from assignbench.comparison.families import ALPHA, FALSE_DISCOVERIES, benjamini_hochberg, holm
from assignbench.comparison.twolevel import About, Difference, Runs
from assignbench.comparison.verdicts import Spread, differences, shared_by

Floats = NDArray[np.float64]
Family = Literal["holm", "benjamini-hochberg"]

LEAST_PICTURES = 10  # for a verdict
_ENTRIES = 1 << 24  # influences at once


@dataclass(frozen=True)
class Part:
    """A part of the data; the same for all runs on it."""

    name: str
    objects: int
    pictures: int  # with at least one of the objects

    @property
    def settles(self) -> bool:
        """Whether it stands on enough pictures for a verdict."""
        return self.pictures >= LEAST_PICTURES


@dataclass(frozen=True)
class Measured:
    """What one run has in some parts, in percent points."""

    values: Floats  # [part]; NaN: it has no objects
    influences: Floats  # [kind, part, image] how much each picture moves the value; kinds as in `comparison.influences`


Measure = Callable[[slice], Measured]
"""One run, asked for some parts that stand one after the other: influences on thousands of parts take gigabytes."""


@dataclass(frozen=True)
class PartDifference:
    """One strategy against another in one part, as a member of the family of all parts."""

    part: Part
    difference: Difference | None  # None: the part has no objects, or the strategies share no seed
    p_family: float | None  # None: no verdict, with few pictures, fewer than three seeds, or an unknown error
    decided: bool  # whether it stands within its family


def runs(measured: Mapping[int, Measured], part: int) -> Runs:
    """One strategy in one part, as `twolevel` and `verdicts` take it.

    Args:
        measured: seed → what was asked for.
        part: place in what was asked for.
    """
    values = {seed: float(one.values[part]) for seed, one in measured.items()}
    return Runs(values, {seed: one.influences[:, part] for seed, one in measured.items()})


def part_differences(
    parts: Sequence[Part],
    images: int,
    rows: Mapping[str, Mapping[int, Measure]],
    pairs: Sequence[tuple[str, str]],
    family: Family,
    about: About = "strategies",
    spread: Spread = "auto",
) -> dict[tuple[str, str], tuple[PartDifference, ...]]:
    """Judge pairs of strategies part by part; the parts of each pair are a family.

    Args:
        parts: of the data.
        images: number of pictures.
        rows: strategy → seed → run; of all strategies whose spread over seeds may be shared.
        pairs: names of strategies, first − second.
        family: Holm's rule holds the chance of any false verdict in a pair to 5 %, Benjamini's and Hochberg's the part
            of the verdicts that is false to 10 %.
        about: the question, see `twolevel`.
        spread: as `verdicts`.

    Returns:
        For each pair one entry for each part, in their order.
    """
    at_once = max(1, _ENTRIES // max(1, 2 * images * sum(len(seeds) for seeds in rows.values())))  # of two kinds
    found: list[tuple[Difference | None, ...]] = []
    for start in range(0, len(parts), at_once):
        some = slice(start, start + at_once)
        measured = {row: {seed: one(some) for seed, one in seeds.items()} for row, seeds in rows.items()}
        for place, part in enumerate(parts[some]):
            own = {row: runs(seeds, place) for row, seeds in measured.items()}
            judged = differences(own, pairs if part.objects else (), about, shared_by(own, spread))
            known = {(a, b): one for a, b, one in judged}
            found.append(tuple(known.get(pair) for pair in pairs))
    return {pair: _judged(parts, [each[number] for each in found], family) for number, pair in enumerate(pairs)}


def _judged(parts: Sequence[Part], found: Sequence[Difference | None], family: Family) -> tuple[PartDifference, ...]:
    """The parts of one pair of strategies."""
    rule, level = (holm, ALPHA) if family == "holm" else (benjamini_hochberg, FALSE_DISCOVERIES)
    settles = [part.settles and one is not None and one.settles for part, one in zip(parts, found, strict=True)]
    p = [one.p if one and yes else None for one, yes in zip(found, settles, strict=True)]
    adjusted = rule([np.nan if each is None else each for each in p])
    return tuple(
        PartDifference(part, one, None if np.isnan(each) else float(each), bool(each < level))
        for part, one, each in zip(parts, found, adjusted, strict=True)
    )
