"""Strategies × data sets: mean and spread over seeds, difference to a baseline, all in percent points."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from assignbench.compare.checks import check_comparable, environment_notes
from assignbench.errors import UsageError
from assignbench.run.record import RunRecord
from assignbench.suggest import did_you_mean

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


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
    """One data set; its runs share protocol and recipe, and every strategy of the table has a row."""

    dataset: str
    protocol: str
    recipe: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A comparison, ready to be printed. There is no mean over data sets: their APs have no common scale."""

    metrics: tuple[str, ...]
    baseline: str | None
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]  # missing runs, unequal seeds, unequal machines: to be printed with the table


def compare(records: Sequence[RunRecord], *, baseline: str | None = None, metrics: Sequence[str] = METRICS) -> Table:
    """Put finished runs side by side.

    Differences are paired, over the seeds that a strategy shares with the baseline; without a shared seed
    they are differences of the means. A note says so wherever the seeds are not simply equal.

    Args:
        records: finished runs in any order.
        baseline: label of the strategy that the others are held against.
        metrics: which metrics, in which order.

    Raises:
        UsageError: no records, an unknown baseline or metric, or runs that must not stand in one table.
    """
    if not records:
        raise UsageError("there is no finished run to compare; start one with: assignbench run")
    for metric in metrics:
        known = sorted(set.intersection(*(set(record.metrics) for record in records)))
        if metric not in known:
            raise UsageError(f"unknown metric {metric!r}; the runs have: {', '.join(known)}")
    strategies = _strategies(records, baseline)
    blocks, notes = [], []
    for dataset in sorted({record.dataset.name for record in records}):
        here = [record for record in records if record.dataset.name == dataset]
        check_comparable(here)
        runs = {strategy: _runs_of(strategy, here) for strategy in strategies}
        base = runs.get(baseline, []) if baseline is not None else []
        rows = tuple(
            Row(
                strategy,
                tuple(record.seed for record in own),
                tuple(_cell(metric, own, [] if strategy == baseline else base) for metric in metrics),
            )
            for strategy, own in runs.items()
        )
        blocks.append(Block(dataset, here[0].protocol, here[0].recipe, rows))
        notes += [*_seed_notes(dataset, rows, baseline), *environment_notes(here)]
    return Table(tuple(metrics), baseline, tuple(blocks), tuple(notes))


def _strategies(records: Sequence[RunRecord], baseline: str | None) -> list[str]:
    """Labels in the order of the rows: the baseline first, then by alphabet."""
    labels = sorted({record.assigner.label for record in records})
    if baseline is None:
        return labels
    if baseline not in labels:
        suggestion = did_you_mean(baseline, labels)
        raise UsageError(f"no run of the baseline {baseline!r}{suggestion}\nthere are: {', '.join(labels)}")
    return [baseline, *(label for label in labels if label != baseline)]


def _runs_of(strategy: str, records: Sequence[RunRecord]) -> list[RunRecord]:
    return sorted((r for r in records if r.assigner.label == strategy), key=lambda record: record.seed)


def _percent(metric: str, records: Sequence[RunRecord]) -> dict[int, float]:
    """Seed → percent points, where there is ground truth."""
    return {record.seed: 100 * value for record in records if (value := record.metrics[metric]) is not None}


def _cell(metric: str, own: Sequence[RunRecord], base: Sequence[RunRecord]) -> Cell:
    values, others = _percent(metric, own), _percent(metric, base)
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
