"""What several data sets say together. Their APs have no common scale, so that no mean of them is formed.

Better on at least k of D data sets: the number of Holm's rejections among the one-sided tests of a strategy against the
baseline. Better and worse are asked with 2.5 % each, so that a strategy gets too much of either in 5 % at most.

Better everywhere: every single two-sided test says so with p < 0.05, which needs no correction (intersection–union).

Mean rank: among the rows that all data sets have. Its bounds are the means of the bounds of the ranks, each data set's
with α / D, so that all of them hold at once.

Source: Holm 1979 as in `families`; R. L. Berger, Multiparameter hypothesis testing and acceptance sampling,
Technometrics 24, 1982.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from assignbench.comparison.families import ALPHA, at_least, beats, holm, ranks
from assignbench.comparison.table import Block, Table
from assignbench.comparison.twolevel import Difference
from assignbench.comparison.verdicts import Judged

Direction = Literal["better", "worse"]

LEAST_SETS = 2  # of which something is said together


@dataclass(frozen=True)
class Standing:
    """One strategy over several data sets."""

    row: str
    tested: int  # data sets on which its difference to the baseline has a verdict; 0 for the baseline itself
    better: int  # on at least so many of them it is better than the baseline
    worse: int  # and on at least so many worse
    everywhere: Direction | None  # on all data sets
    rank: float | None  # mean of its ranks; None: not on all data sets, or it is the only one that is
    bounds: tuple[float, float] | None  # of the mean rank; None as above


@dataclass(frozen=True)
class Across:
    """Several data sets under one protocol, for one metric."""

    protocol: str
    metric: str
    datasets: tuple[str, ...]
    baseline: str
    ranked: tuple[str, ...]  # rows that all data sets have, in their order
    standings: tuple[Standing, ...]  # of all rows, the baseline first


def _protocol(block: Block) -> str:
    return block.protocol or ""  # detections files have none, and one data set


def across(table: Table) -> tuple[Across, ...]:
    """What the data sets of a table say together about its first metric; of each protocol with verdicts on two of them.

    Args:
        table: a comparison with a baseline; without one nothing is said.
    """
    found = []
    if table.baseline is None:
        return ()
    for protocol, some in groupby(sorted(table.blocks, key=_protocol), _protocol):
        blocks = [block for block in some if block.verdicts[0].judged]
        baseline = _baseline(blocks)
        if len(blocks) < LEAST_SETS or baseline is None:
            continue
        rows = [*dict.fromkeys(row.strategy for block in blocks for row in block.rows)]
        ranked = [row for row in rows if all(row in block.verdicts[0].rows for block in blocks)]
        places = _ranks(blocks, ranked)
        standings = tuple(_standing(row, blocks, places.get(row)) for row in rows)
        names = tuple(block.dataset for block in blocks)
        found.append(Across(protocol, table.metrics[0], names, baseline, tuple(ranked), standings))
    return tuple(found)


def across_lines(table: Table) -> tuple[str, ...]:
    """The same in sentences, to be printed below a table; (): there is nothing to say."""
    return tuple(line for one in across(table) for line in _sentences(one))


def one_sided(one: Difference) -> float:
    """P of the test whether the difference is above 0; NaN: no verdict may be read from it."""
    if not one.settles or one.p is None:
        return float("nan")
    return one.p / 2 if one.mean > 0 else 1 - one.p / 2


def counted(p: ArrayLike, datasets: int) -> tuple[int, int, Direction | None]:
    """On at least how many data sets better, on how many worse, and whether on all of them.

    Args:
        p: of `one_sided`, of the data sets with a verdict.
        datasets: number of all.
    """
    p, half = np.asarray(p, dtype=np.float64), ALPHA / 2
    whole = len(p) == datasets
    everywhere = "better" if whole and (p < half).all() else "worse" if whole and (1 - p < half).all() else None
    return at_least(p, half), at_least(1 - p, half), everywhere


def _baseline(blocks: Sequence[Block]) -> str | None:
    """The row that others are held against; None: no block has one."""
    return next((one.b for block in blocks for one in block.verdicts[0].baseline), None)


def _standing(row: str, blocks: Sequence[Block], places: tuple[float, float, float] | None) -> Standing:
    """One row over all blocks."""
    judged = [one for block in blocks if (one := block.verdicts[0].against(row)) is not None]
    p = np.array([one_sided(one.difference) for one in judged])
    p = p[~np.isnan(p)]
    rank, bounds = (None, None) if places is None else (places[0], places[1:])
    return Standing(row, len(p), *counted(p, len(blocks)), rank, bounds)


def _ranks(blocks: Sequence[Block], rows: Sequence[str]) -> Mapping[str, tuple[float, float, float]]:
    """Row → mean rank and its bounds."""
    if len(rows) < 2:
        return {}
    place = {row: number for number, row in enumerate(rows)}
    seen, bounds = [], []
    for block in blocks:
        pairs = [one for one in block.verdicts[0].pairs if one.a in place and one.b in place]
        means = np.array([_mean(block, row) for row in rows])
        seen.append(1 + (means > means[:, None]).sum(axis=1) + ((means == means[:, None]).sum(axis=1) - 1) / 2)
        p = holm([_p(one) for one in pairs])
        between = [(place[one.a], place[one.b]) for one in pairs]
        bounds.append(
            ranks(beats(len(rows), between, [one.difference.mean for one in pairs], p, alpha=ALPHA / len(blocks)))
        )
    rank, bound = np.mean(seen, axis=0), np.mean(bounds, axis=0)
    return {row: (float(rank[k]), float(bound[k, 0]), float(bound[k, 1])) for row, k in place.items()}


def _p(one: Judged) -> float:
    return one.difference.p if one.difference.settles and one.difference.p is not None else float("nan")


def _mean(block: Block, row: str) -> float:
    """Of the first metric."""
    mean = next(each.cells[0].mean for each in block.rows if each.strategy == row)
    return float("nan") if mean is None else mean


def _sentences(one: Across) -> list[str]:
    """What is said of one protocol."""
    count = len(one.datasets)
    under = f" under the {one.protocol} protocol" if one.protocol != "controlled" else ""
    told = [f"Over {count} data sets{under} ({', '.join(one.datasets)}), {one.metric} against {one.baseline}:"]
    others = [each for each in one.standings if each.row != one.baseline]
    told += [f"{each.row} is {_than(each, count)}." for each in others if each.better or each.worse or each.everywhere]
    silent = [each.row for each in others if each.tested and not (each.better or each.worse or each.everywhere)]
    if silent:
        told.append(f"Not shown to be better or worse on any of them: {', '.join(silent)}.")
    if without := [each.row for each in others if not each.tested]:
        told.append(f"No verdict on any of them: {', '.join(without)}.")
    ranked = [each for each in one.standings if each.rank is not None and each.bounds is not None]
    if ranked:
        ranked.sort(key=lambda each: (each.rank or 0.0, each.row))
        places = ", ".join(f"{each.row} {each.rank:.1f} {_bounds(each)}" for each in ranked)
        told.append(f"Mean rank among {len(ranked)} rows, with 95 % bounds that all hold at once: {places}.")
    told.append(
        "Each sentence on a row is wrong in at most 5 % of cases, for this row (Holm over the data sets). APs of "
        "different data sets have no common scale, so that no mean of them is formed."
    )
    return told


def _than(each: Standing, count: int) -> str:
    """Better on at least 2 of 3 data sets."""
    of = f"{count} data sets" if each.tested == count else f"the {each.tested} data sets with a verdict"
    if each.everywhere:
        return f"{each.everywhere} on all {of}"
    told = []
    if each.better:
        told.append(f"better on at least {each.better}")
    if each.worse:
        told.append(f"worse on at least {each.worse}")
    return f"{' and '.join(told)} of {of}"


def _bounds(each: Standing) -> str:
    low, high = each.bounds or (0.0, 0.0)
    return f"[{low:.1f}, {high:.1f}]"
