"""Strategies × data sets: mean and spread over seeds, differences with their errors, all in percent points."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from assignbench.compare.checks import check_comparable, environment_notes
from assignbench.compare.influences import NUMBERS, Floats
from assignbench.compare.legend import legend
from assignbench.compare.twolevel import About, Runs
from assignbench.compare.verdicts import Spread, Verdicts, verdicts
from assignbench.errors import UsageError
from assignbench.run.results.changed import recipe_told
from assignbench.run.results.record import RunRecord, named_apart
from assignbench.suggest import did_you_mean

METRICS = tuple(NUMBERS)


@dataclass(frozen=True)
class Cell:
    """One metric of one strategy on one data set, in percent points, unrounded."""

    mean: float | None  # over the seeds; None: no ground truth
    std: float | None  # sample standard deviation over the seeds; None for a single seed
    difference: float | None  # to the baseline; None for the baseline itself or where one of the two is missing


@dataclass(frozen=True)
class Row:
    """One strategy on one data set."""

    strategy: str
    seeds: tuple[int, ...]  # empty: there is no run, and every cell is None
    cells: tuple[Cell, ...]  # in the order of Table.metrics


@dataclass(frozen=True)
class Block:
    """One data set under one protocol; its runs share the recipe, and every strategy run under it has a row."""

    dataset: str
    protocol: str
    recipe: str  # with what was changed of it
    rows: tuple[Row, ...]
    verdicts: tuple[Verdicts, ...]  # in the order of Table.metrics
    legend: tuple[str, ...]  # what the signs of this block mean, made from its verdicts


@dataclass(frozen=True)
class Table:
    """A comparison, ready to be printed. There is no mean over data sets: their APs have no common scale."""

    metrics: tuple[str, ...]
    baseline: str | None
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]  # missing runs, unequal seeds, unequal machines: to be printed with the table


def compare(
    records: Sequence[RunRecord],
    *,
    baseline: str | None = None,
    metrics: Sequence[str] = METRICS,
    pictures: Mapping[str, Mapping[str, Floats]] = MappingProxyType({}),
    about: About = "strategies",
    spread: Spread = "auto",
    remarks: Sequence[str] = (),
) -> Table:
    """Put finished runs side by side.

    Differences are paired, over the seeds that a strategy shares with the baseline; without a shared seed
    they are differences of the means. A note says so wherever the seeds are not simply equal.

    Args:
        records: finished runs in any order.
        baseline: label of the strategy that the others are held against.
        metrics: which metrics, in which order.
        pictures: run id → metric → influences of the pictures (`influences`); of runs that are not there, nothing is
            said about other pictures.
        about: the question that is asked, see `twolevel`.
        spread: whose spread over seeds counts, see `verdicts`.
        remarks: further notes.

    Raises:
        UsageError: no records, an unknown baseline or metric, or runs that must not stand in one table.
    """
    if not records:
        raise UsageError("there is no finished run to compare; start one with: assignbench run")
    records = named_apart(records)
    for metric in metrics:
        known = sorted(set.intersection(*(set(record.metrics) for record in records)))
        if metric not in known:
            raise UsageError(f"unknown metric {metric!r}; the runs have: {', '.join(known)}")
    _refuse_unknown(baseline, records)
    blocks, notes = [], []
    for dataset, protocol in sorted({(record.dataset.name, record.protocol) for record in records}):
        under = [record for record in records if record.protocol == protocol]
        here = [record for record in under if record.dataset.name == dataset]
        check_comparable(here)
        base_row = _baseline_row(baseline, under)
        if baseline is not None and base_row is None:
            notes.append(f"{dataset}: no run of the baseline {baseline} under the {protocol} protocol")
        runs = {strategy: _runs_of(strategy, here) for strategy in _strategies(under, base_row)}
        base = runs.get(base_row, []) if base_row is not None else []
        rows = tuple(
            Row(
                strategy,
                tuple(record.seed for record in own),
                tuple(
                    cell_of(percent(metric, own), {} if strategy == base_row else percent(metric, base))
                    for metric in metrics
                ),
            )
            for strategy, own in runs.items()
        )
        judged = tuple(
            verdicts(
                metric, {row: runs_told(metric, own, pictures) for row, own in runs.items()}, base_row, about, spread
            )
            for metric in metrics
        )
        blocks.append(Block(dataset, protocol, recipe_told(here[0]), rows, judged, legend(judged[0], base_row)))
        notes += [*_seed_notes(dataset, rows, base_row), *environment_notes(here)]
    return Table(tuple(metrics), baseline, tuple(blocks), (*notes, *remarks))


def runs_told(metric: str, records: Sequence[RunRecord], pictures: Mapping[str, Mapping[str, Floats]]) -> Runs:
    """The runs of one row as `verdicts` wants them."""
    values = percent(metric, records)
    known = {record.seed: pictures.get(record.run_id, {}).get(metric) for record in records}
    some = {seed: each for seed, each in known.items() if each is not None and seed in values}
    return Runs(values, some if some.keys() == values.keys() else None)


def _refuse_unknown(baseline: str | None, records: Sequence[RunRecord]) -> None:
    labels = sorted({name for record in records for name in (record.row, record.assigner.label)})
    if baseline is not None and baseline not in labels:
        suggestion = did_you_mean(baseline, labels)
        raise UsageError(f"no run of the baseline {baseline!r}{suggestion}\nthere are: {', '.join(labels)}")


def _baseline_row(baseline: str | None, records: Sequence[RunRecord]) -> str | None:
    """The row that is meant: by its name, or by the strategy's label where that has one preset only."""
    rows = sorted({record.row for record in records if baseline in (record.row, record.assigner.label)})
    if len(rows) > 1:
        raise UsageError(f"the baseline {baseline!r} has several rows: {', '.join(rows)}; name one of them")
    return rows[0] if rows else None


def _strategies(records: Sequence[RunRecord], base_row: str | None) -> list[str]:
    """Rows in their order: the baseline first, then by alphabet."""
    rows = sorted({record.row for record in records})
    return rows if base_row is None else [base_row, *(row for row in rows if row != base_row)]


def _runs_of(row: str, records: Sequence[RunRecord]) -> list[RunRecord]:
    return sorted((record for record in records if record.row == row), key=lambda record: record.seed)


def percent(metric: str, records: Sequence[RunRecord]) -> dict[int, float]:
    """Seed → percent points, where there is ground truth."""
    return {record.seed: 100 * value for record in records if (value := record.metrics[metric]) is not None}


def cell_of(values: Mapping[int, float], others: Mapping[int, float] = MappingProxyType({})) -> Cell:
    """Mean and spread of one strategy over its seeds, and the difference to a baseline.

    Args:
        values: seed → percent points.
        others: the baseline's; empty: there is none.
    """
    if not values:
        return Cell(None, None, None)
    mean = statistics.fmean(values.values())
    std = statistics.stdev(values.values()) if len(values) > 1 else None
    shared = values.keys() & others.keys()
    if shared:
        difference = statistics.fmean(values[seed] - others[seed] for seed in shared)
    else:
        difference = mean - statistics.fmean(others.values()) if others else None
    return Cell(mean, std, difference)


def _seed_notes(dataset: str, rows: Sequence[Row], baseline: str | None) -> list[str]:
    missing = [row.strategy for row in rows if not row.seeds]
    notes = [f"{dataset}: not run (–): {', '.join(missing)}"] if missing else []
    run = [row for row in rows if row.seeds]
    if len({row.seeds for row in run}) > 1:
        told = "; ".join(f"{row.strategy} {_listed(row.seeds)}" for row in run)
        notes.append(f"{dataset}: the strategies were run with different seeds ({told})")
    base = next((row.seeds for row in run if row.strategy == baseline), ())
    for row in run:
        if base and row.seeds != base:
            shared = sorted({*row.seeds} & {*base})
            how = f"paired over seeds {_listed(shared)} only" if shared else "not paired: no seed in common"
            notes.append(f"{dataset}: the difference of {row.strategy} to {baseline} is {how}")
    return notes


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
