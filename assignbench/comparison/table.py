"""Strategies × data sets: mean and spread over seeds, differences with their errors, all in percent points."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from assignbench.comparison.checks import caveats_of, check_comparable, environment_notes
from assignbench.comparison.influences import NUMBERS, Floats, Scored
from assignbench.comparison.legend import legend
from assignbench.comparison.twolevel import About, Runs
from assignbench.comparison.verdicts import Spread, Verdicts, verdicts
from assignbench.comparison.words import FILES, RUNS, Words
from assignbench.errors import UsageError
from assignbench.run.results.changed import recipe_told
from assignbench.run.results.record import RunRecord, named_apart
from assignbench.suggest import did_you_mean

METRICS = tuple(NUMBERS)

Rows = Mapping[str, Mapping[int, Scored]]  # row → seed → what is known; of files the seed is a number in their order


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
    """One data set under one protocol; its runs share the recipe, and every strategy run under it has a row.

    Or the detections files of one data set: of them neither is known.
    """

    title: str
    dataset: str
    protocol: str | None
    recipe: str | None  # with what was changed of it
    baseline: str | None  # row that the others are held against
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
    labels: Mapping[str, str] = MappingProxyType({}),
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
        labels: row → what the table calls it.
        about: the question that is asked, see `twolevel`.
        spread: whose spread over seeds counts, see `verdicts`.
        remarks: further notes.

    Raises:
        UsageError: no records, an unknown baseline, metric or row, two rows of one name, or runs that must not stand
            in one table.
    """
    if not records:
        raise UsageError("there is no finished run to compare; start one with: assignbench run")
    records = named_apart(records)
    known = sorted(set.intersection(*(set(record.metrics) for record in records)))
    for metric in metrics:
        if metric not in known:
            suggestion = did_you_mean(metric, known)
            raise UsageError(f"unknown metric {metric!r}{suggestion}\nthe runs have: {', '.join(known)}")
    _refuse_repeated(metrics)
    _refuse_unknown(baseline, records)
    names = _names({record.row for record in records}, labels)
    blocks, notes = [], []
    for dataset, protocol in sorted({(record.dataset.name, record.protocol) for record in records}):
        under = [record for record in records if record.protocol == protocol]
        here = [record for record in under if record.dataset.name == dataset]
        check_comparable(here)
        base_row = _baseline_row(baseline, under)
        if baseline is not None and base_row is None:
            notes.append(f"{dataset}: no run of the baseline {baseline} under the {protocol} protocol")
        rows = {
            names[row]: {one.seed: Scored(one.metrics, pictures.get(one.run_id, {})) for one in here if one.row == row}
            for row in baseline_first({record.row for record in under}, base_row)
        }
        base_row = None if base_row is None else names[base_row]
        title, recipe = f"{dataset} · {protocol} protocol", recipe_told(here[0])
        block = Block(
            f"{title} · recipe {recipe}",
            dataset,
            protocol,
            recipe,
            base_row,
            *_compared(rows, base_row, metrics, about, spread, RUNS),
        )
        blocks.append(block)
        notes += [f"{dataset}: {caveat}" for caveat in caveats_of(here)]
        notes += [*_seed_notes(dataset, block.rows, base_row, RUNS), *environment_notes(here)]
    return Table(tuple(metrics), baseline, tuple(blocks), (*notes, *remarks))


def compare_detections(
    rows: Rows,
    dataset: str,
    split: str,
    *,
    baseline: str | None = None,
    metrics: Sequence[str] = METRICS,
    about: About = "strategies",
    spread: Spread = "auto",
    remarks: Sequence[str] = (),
) -> Table:
    """Put detections files of any tool side by side; what they were made with is not known.

    Args:
        rows: name → number of the file → its numbers. Files of one number are held against each other.
        dataset: name of the data set that the files are of.
        split: name of its split.
        baseline: name of the row that the others are held against.
        metrics: of `METRICS`, in the order of the columns; the rows have them.
        about: the question that is asked, see `twolevel`. With one file a row it becomes ``networks``.
        spread: whose spread over seeds counts, see `verdicts`.
        remarks: notes to be printed with the table.

    Raises:
        UsageError: as `check_question`.
    """
    check_question(rows, baseline, metrics)
    ordered = {row: rows[row] for row in baseline_first(rows, baseline)}
    title = f"{dataset} · {split} · detections of files"
    block = Block(title, dataset, None, None, baseline, *_compared(ordered, baseline, metrics, about, spread, FILES))
    notes = _seed_notes(dataset, block.rows, baseline, FILES)
    return Table(tuple(metrics), baseline, (block,), (*notes, *remarks))


def check_question(rows: Iterable[str], baseline: str | None, metrics: Sequence[str]) -> None:
    """What can be asked of detections files; to be found out before they are read.

    Raises:
        UsageError: there is no row, no such baseline or metric.
    """
    names = sorted(rows)
    if not names:
        raise UsageError("there is no detections file to compare")
    if unknown := [metric for metric in metrics if metric not in NUMBERS]:
        raise UsageError(
            f"{unknown[0]!r} is not computed of detections files{did_you_mean(unknown[0], METRICS)}\n"
            f"there are: {', '.join(METRICS)}"
        )
    _refuse_repeated(metrics)
    if baseline is not None and baseline not in names:
        raise UsageError(f"no row is called {baseline!r}{did_you_mean(baseline, names)}\nthere are: {', '.join(names)}")


def _refuse_repeated(metrics: Sequence[str]) -> None:
    if repeated := [metric for metric, count in Counter(metrics).items() if count > 1]:
        raise UsageError(f"the metric {repeated[0]} is named twice")


def _compared(
    rows: Rows, base_row: str | None, metrics: Sequence[str], about: About, spread: Spread, words: Words
) -> tuple[tuple[Row, ...], tuple[Verdicts, ...], tuple[str, ...]]:
    """The rows, verdicts and legend of a block."""
    runs = {metric: {row: runs_of(metric, seeds) for row, seeds in rows.items()} for metric in metrics}
    judged = tuple(verdicts(metric, runs[metric], base_row, about, spread) for metric in metrics)
    cells = {
        row: tuple(
            cell_of(runs[metric][row].values, {} if base_row in (None, row) else runs[metric][base_row].values)
            for metric in metrics
        )
        for row in rows
    }
    listed = tuple(Row(row, tuple(sorted(seeds)), cells[row]) for row, seeds in rows.items())
    return listed, judged, legend(judged[0], base_row, words)


def runs_of(metric: str, seeds: Mapping[int, Scored]) -> Runs:
    """One row for one metric, as `verdicts` wants it."""
    values = {seed: 100 * value for seed in sorted(seeds) if (value := seeds[seed].metrics[metric]) is not None}
    pictures = {seed: known for seed in values if (known := seeds[seed].pictures.get(metric)) is not None}
    return Runs(values, pictures if pictures.keys() == values.keys() else None)


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


def _names(rows: Set[str], labels: Mapping[str, str]) -> Mapping[str, str]:
    """Row → what the table calls it."""
    for row in labels:
        if row not in rows:
            raise UsageError(f"no row is called {row!r}{did_you_mean(row, rows)}\nthere are: {', '.join(sorted(rows))}")
    names = {row: labels.get(row, row) for row in sorted(rows)}
    for name, count in Counter(names.values()).items():
        if count > 1:
            same = ", ".join(row for row in names if names[row] == name)
            raise UsageError(f"{count} rows would be called {name!r}: {same}; label them differently")
    return names


def baseline_first(rows: Iterable[str], base_row: str | None) -> list[str]:
    """Rows in their order: the baseline, then by alphabet."""
    return sorted(rows, key=lambda row: (row != base_row, row))


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


def _seed_notes(dataset: str, rows: Sequence[Row], baseline: str | None, words: Words) -> list[str]:
    missing = [row.strategy for row in rows if not row.seeds]
    notes = [f"{dataset}: not run (–): {', '.join(missing)}"] if missing else []
    run = [row for row in rows if row.seeds]
    if len({row.seeds for row in run}) > 1:
        told = "; ".join(f"{row.strategy} {_listed(row.seeds)}" for row in run)
        notes.append(f"{dataset}: {words.unequal.format(told=told)}")
    base = next((row.seeds for row in run if row.strategy == baseline), ())
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for row in run:
        if base and row.seeds != base:
            by_seeds.setdefault(tuple(sorted({*row.seeds} & {*base})), []).append(row.strategy)
    for shared, some in by_seeds.items():
        how = words.paired.format(seeds=_listed(shared)) if shared else "not paired: no seed in common"
        what = f"difference of {some[0]}" if len(some) == 1 else f"differences of {', '.join(some)}"
        notes.append(f"{dataset}: the {what} to {baseline} {'is' if len(some) == 1 else 'are'} {how}")
    return notes


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
