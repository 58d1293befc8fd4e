"""Everything that the page shows of a comparison, computed: plain data that can be written as JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assignbench.comparison.across import counted, one_sided
from assignbench.comparison.checks import caveats_of, environment_notes
from assignbench.comparison.influences import Floats, Scored
from assignbench.comparison.legend import errors_of
from assignbench.comparison.table import Block, Table, compare, runs_of
from assignbench.comparison.verdicts import Judged, Verdicts
from assignbench.comparison.words import RUNS
from assignbench.config import OVERRIDE
from assignbench.options import without_folders
from assignbench.plain_text import one_line
from assignbench.recipe import BOOKKEEPING
from assignbench.report.curves import Curve
from assignbench.report.judged import (
    Estimate,
    Family,
    Pairs,
    against,
    estimates,
    family_of,
    pairs_of,
    reach,
)
from assignbench.report.words import Words, words
from assignbench.run.results.record import RunRecord, SplitFacts, named_apart
from assignbench.run.results.unfinished import Unfinished

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
SILENT = 0.01  # AP of a class, below which nothing of it is found
MOST_CLASSES = 40  # of which learned numbers are shown
EMPTY = Curve((), {}, 1)


@dataclass(frozen=True)
class Logs:
    """What a run wrote while it trained."""

    losses: Curve = EMPTY
    statistics: Curve = EMPTY
    validation: Curve = EMPTY  # "validation/total", "common/class", …


@dataclass(frozen=True)
class Measured:
    """One metric on one data set."""

    estimates: tuple[Estimate, ...]  # one a row
    pairs: Pairs
    families: Mapping[str, Family]  # baseline → every row against it
    errors: Mapping[str, str]  # baseline → what the intervals against it are intervals over
    best: tuple[bool, ...]  # one a row: none is shown to be better, and some row is shown to be worse
    ranks: tuple[tuple[int, int] | None, ...]  # one a row: best and worst that it may have; None: no verdict
    words: Words


@dataclass(frozen=True)
class Cost:
    """What a run of a row takes, mean over its seeds."""

    seconds: Mapping[str, float]  # part → seconds; "other" is what no part holds
    assignment: float  # fraction of the total
    images_per_second: float
    parameters: int


@dataclass(frozen=True)
class Shown:
    """One data set under one protocol."""

    key: str
    dataset: str
    protocol: str
    recipe: str
    images: int  # of evaluation
    objects: int
    classes: int
    rows: tuple[str, ...]
    baseline: str  # the row that differences are shown against at first
    metrics: Mapping[str, Measured]
    assignment: Mapping[str, Curve]  # row → statistics of assignment, mean over its runs
    validation: Mapping[str, Curve]  # row → losses on the evaluation split, mean over its runs that have them
    learned: Mapping[str, Mapping[str, Mapping[str, float]]]  # row → name → class → mean over its runs
    learned_left_out: int  # classes of which nothing learned is shown
    cost: Mapping[str, Cost]
    environments: tuple[int, ...]  # that its runs were made in
    seeds: tuple[int, ...]  # of all rows, finished or not
    caveats: tuple[str, ...]  # what a reader of any number on it must know


@dataclass(frozen=True)
class ShownRun:
    """A finished run, as a cell opens it."""

    id: str
    key: str  # of its data set
    row: str
    seed: int
    metrics: Mapping[str, float | None]  # percent points
    settings: int  # place in `Facts.settings`
    environment: int  # place in `Facts.environments`
    facts: Mapping[str, str]
    notes: tuple[str, ...]
    losses: Curve
    validation: Curve


@dataclass(frozen=True)
class Held:
    """Whether a strategy has a run with a seed."""

    key: str
    row: str
    seed: int | None
    state: str  # "finished", how far an unfinished one is, or "missing"


@dataclass(frozen=True)
class Deviation:
    """Something that is not the standard, and the runs that it holds for."""

    what: str
    runs: tuple[str, ...]
    of: int  # runs in all


@dataclass(frozen=True)
class Facts:
    """The page's numbers. Strategies are called rows, as in every table of this project."""

    metrics: tuple[str, ...]
    rows: tuple[str, ...]  # of all data sets; their order gives them their colours
    blocks: tuple[Shown, ...]
    runs: tuple[ShownRun, ...]
    entries: tuple[tuple[str, str, str], ...]  # key, value, origin: of all settings
    settings: tuple[tuple[int, ...], ...]  # distinct ones, as places in `entries`
    environments: tuple[Mapping[str, str], ...]  # distinct ones
    over_datasets: Mapping[str, Mapping[str, Mapping[str, tuple[int, int, int]]]]  # metric → baseline → row → see below
    held: tuple[Held, ...]
    deviations: tuple[Deviation, ...]
    notes: tuple[str, ...]  # of the comparison


def gather(
    records: Sequence[RunRecord],
    *,
    logs: Mapping[str, Logs] = MappingProxyType({}),
    pictures: Mapping[str, Mapping[str, Floats]] = MappingProxyType({}),
    going_on: Sequence[Unfinished] = (),
    baseline: str | None = None,
    remarks: Sequence[str] = (),
) -> Facts:
    """Compute everything that the page shows.

    Args:
        records: finished runs in any order.
        logs: run id → what it wrote while it trained; those that are not there are left out, and said to be.
        pictures: run id → metric → influences of the pictures, see `comparison.table.compare`.
        going_on: runs that have no record yet.
        baseline: the row that the others are held against at first; None: the first one by name.
        remarks: further notes.

    Raises:
        UsageError: no records, an unknown baseline, or runs that must not stand in one table.
    """
    metrics = [metric for metric in METRICS if all(metric in record.metrics for record in records)]
    table = compare(records, baseline=baseline, metrics=metrics or METRICS, pictures=pictures, remarks=remarks)
    records = named_apart(records)
    entries, settings, used = _settings(records)
    environments = list(dict.fromkeys(_environment(record) for record in records))
    blocks, runs = [], []
    for block in table.blocks:
        here = [record for record in records if _key(record) == _block_key(block)]
        blocks.append(_shown(table, block, here, logs, pictures, environments, going_on))
        runs += [
            _shown_run(record, metrics, used[record.run_id], environments.index(_environment(record)), logs)
            for record in sorted(here, key=lambda record: (record.row, record.seed))
        ]
    # those with a verdict first: the page begins with them, and is sorted by them
    blocks.sort(key=lambda block: all(each is None for one in block.metrics.values() for each in one.ranks))
    return Facts(
        table.metrics,
        tuple(sorted({row for block in blocks for row in block.rows})),
        tuple(blocks),
        tuple(runs),
        entries,
        settings,
        tuple(dict(each) for each in environments),
        _over_datasets(table),
        _held(records, going_on),
        _deviations(records),
        table.notes,
    )


def plain(value: Any) -> Any:
    """Dataclasses as objects, tuples as lists, numbers to six digits, text on one line.

    Raises:
        ValueError: a number is not finite.
    """
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {one_line(str(key)): plain(each) for key, each in value.items()}
    if isinstance(value, str):
        return one_line(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} on the page")
        return float(f"{value:.6g}")
    if isinstance(value, Iterable):
        return [plain(each) for each in value]
    raise TypeError(f"{type(value).__name__} on the page")


def _shown(
    table: Table,
    block: Block,
    records: Sequence[RunRecord],
    logs: Mapping[str, Logs],
    pictures: Mapping[str, Mapping[str, Floats]],
    environments: Sequence[tuple[tuple[str, str], ...]],
    going_on: Sequence[Unfinished],
) -> Shown:
    rows = tuple(sorted(row.strategy for row in block.rows))
    own = {row: [record for record in records if record.row == row] for row in rows}
    learned, left_out = _learned(own)
    key = _block_key(block)
    seeds = {record.seed for record in records} | {
        run.seed for run in going_on if _unfinished_key(run) == key and run.seed is not None
    }
    split = records[0].dataset.evaluation
    return Shown(
        key,
        block.dataset,
        records[0].protocol,
        block.recipe or "",
        split.images,
        split.objects,
        len(records[0].dataset.classes),
        rows,
        next(row.strategy for row in block.rows if own[row.strategy]),  # the table has the baseline first
        {
            metric: _measured(block, found, own, pictures, split.images)
            for metric, found in zip(table.metrics, block.verdicts, strict=True)
        },
        {row: each for row in rows if (each := _mean_curve([_logs(logs, one).statistics for one in own[row]]))},
        {row: each for row in rows if (each := _mean_curve([_logs(logs, one).validation for one in own[row]]))},
        learned,
        left_out,
        {row: _cost(some) for row, some in own.items() if some},
        tuple(sorted({environments.index(_environment(record)) for record in records})),
        tuple(sorted(seeds)),
        caveats_of(records),
    )


def _measured(
    block: Block,
    found: Verdicts,
    own: Mapping[str, Sequence[RunRecord]],
    pictures: Mapping[str, Mapping[str, Floats]],
    images: int,
) -> Measured:
    scored = {
        row: {one.seed: Scored(one.metrics, pictures.get(one.run_id, {})) for one in some} for row, some in own.items()
    }
    runs = {row: runs_of(found.metric, seeds) for row, seeds in scored.items()}
    alone = estimates(runs)
    return Measured(
        alone,
        pairs_of(found, {row: each.values for row, each in runs.items()}),
        {row: family_of(found, tuple(own), row) for row in found.rows},
        {row: errors_of(members, RUNS) for row in found.rows if (members := against(found, row))},
        tuple(found.tells_apart and row in found.best for row in own),
        tuple(found.ranks.get(row) for row in own),
        words(
            block.dataset,
            images,
            found,
            dict(zip(own, alone, strict=True)),
            reach(found),
            sum(len(each.values) for each in runs.values()),
            _silent([one for some in own.values() for one in some]) if found.metric in ("AP", "AP50", "AP75") else (),
        ),
    )


def _silent(records: Sequence[RunRecord]) -> list[str]:
    """Classes on which no run reaches an AP of 1 %; []: all are such."""
    best = {
        name: max((value for one in records if (value := one.per_class.get(name)) is not None), default=None)
        for name in records[0].dataset.classes
    }
    known = {name: value for name, value in best.items() if value is not None}
    some = [name for name, value in known.items() if value < SILENT]
    return some if len(some) < len(known) else []


def _over_datasets(table: Table) -> dict[str, dict[str, dict[str, tuple[int, int, int]]]]:
    """Metric → baseline → row → on how many data sets it is better at least, worse at least, of how many.

    Protocols are not mixed: a row of the published one carries its preset in its name. Only where there are two data
    sets or more.
    """
    told: dict[str, dict[str, dict[str, tuple[int, int, int]]]] = {}
    for number, metric in enumerate(table.metrics):
        all_rows = sorted({row for block in table.blocks for row in block.verdicts[number].rows})
        for baseline in all_rows:
            found: dict[str, list[Judged]] = {}
            for block in table.blocks:
                for one in against(block.verdicts[number], baseline):
                    found.setdefault(one.a, []).append(one)
            for row, each in found.items():
                p = [above for one in each if not math.isnan(above := one_sided(one.difference))]
                if len(p) > 1:
                    better, worse, _ = counted(p, len(each))
                    told.setdefault(metric, {}).setdefault(baseline, {})[row] = (better, worse, len(p))
    return told


def _settings(
    records: Sequence[RunRecord],
) -> tuple[tuple[tuple[str, str, str], ...], tuple[tuple[int, ...], ...], dict[str, int]]:
    """Distinct settings, and which of them each run has."""
    entries: dict[tuple[str, str, str], int] = {}
    settings: dict[tuple[int, ...], int] = {}
    used = {}
    for record in records:
        own = tuple(
            entries.setdefault((key, _told(entry.value), without_folders(entry.origin)), len(entries))
            for key, entry in record.config.items()
        )
        used[record.run_id] = settings.setdefault(own, len(settings))
    return tuple(entries), tuple(settings), used


def _told(value: Any) -> str:
    """A setting's value as text; a strategy of a file without the folder that it lies in."""
    return without_folders(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment(record: RunRecord) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, ", ".join(value) if isinstance(value, tuple) else str(value))
        for name, value in record.environment.model_dump().items()
        if value not in (None, (), [])
    )


def _shown_run(
    record: RunRecord, metrics: Sequence[str], settings: int, environment: int, logs: Mapping[str, Logs]
) -> ShownRun:
    seconds = record.seconds
    return ShownRun(
        record.run_id,
        _key(record),
        record.row,
        record.seed,
        {metric: None if (value := record.metrics[metric]) is None else 100 * value for metric in metrics},
        settings,
        environment,
        {
            "strategy": f"{record.assigner.label}, from {Path(record.assigner.origin).name}",
            "code of the strategy, sha256": record.assigner.source_sha256,
            "scored by": record.scored_by,
            "iterations": f"{record.iterations:,}",
            "parameters": f"{record.parameters:,}",
            "seconds": f"{seconds.total:,.0f}",
            "detections": f"{record.detections:,}",
            "weights, sha256": record.weights_sha256,
            "detections, sha256": record.detections_sha256,
            "training data": _split(record.dataset.train),
            "evaluation data": _split(record.dataset.evaluation),
            "finished": record.finished.strftime("%Y-%m-%d %H:%M UTC"),
        },
        record.notes,
        _logs(logs, record).losses,
        _logs(logs, record).validation,
    )


def _split(split: SplitFacts) -> str:
    return f"{split.images:,} pictures, fingerprint {split.fingerprint[:12]}"


def _logs(logs: Mapping[str, Logs], record: RunRecord) -> Logs:
    return logs.get(record.run_id, Logs())


def _mean_curve(curves: Sequence[Curve]) -> Curve | None:
    """The mean of the runs of one row; of runs of other lengths, those of the most usual one."""
    usual = Counter(one.iterations for one in curves if one.iterations).most_common(1)
    if not usual:
        return None
    (iterations, _), *_ = usual
    some = [one for one in curves if one.iterations == iterations]

    def mean(name: str, point: int) -> float | None:
        known = [value for one in some if (value := one.values[name][point]) is not None]
        return statistics.fmean(known) if known else None

    names = [name for name in some[0].values if all(name in one.values for one in some)]
    return Curve(
        iterations,
        {name: tuple(mean(name, point) for point in range(len(iterations))) for name in names},
        some[0].lines,
    )


def _learned(
    own: Mapping[str, Sequence[RunRecord]],
) -> tuple[dict[str, dict[str, dict[str, float]]], int]:
    """Row → name → class → mean over the runs, of the first classes; and how many classes are left out."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    left_out = 0
    for row, records in own.items():
        known = [record.learned for record in records if record.learned]
        if not known:
            continue
        labels = list(known[0])[:MOST_CLASSES]
        left_out = max(left_out, len(known[0]) - len(labels))
        for label in labels:
            for name in known[0][label]:
                values = [each[label][name] for each in known if name in each.get(label, {})]
                found.setdefault(row, {}).setdefault(name, {})[label] = statistics.fmean(values)
    return found, left_out


def _cost(records: Sequence[RunRecord]) -> Cost:
    parts = {
        name: statistics.fmean(getattr(record.seconds, name) for record in records)
        for name in ("data", "network", "assignment", "evaluation")
    }
    total = statistics.fmean(record.seconds.total for record in records)
    return Cost(
        {**parts, "other": max(total - sum(parts.values()), 0.0)},
        parts["assignment"] / total if total else 0.0,
        statistics.fmean(record.images_per_second for record in records),
        records[0].parameters,
    )


def _held(records: Sequence[RunRecord], going_on: Sequence[Unfinished]) -> tuple[Held, ...]:
    """Every strategy of a protocol with every seed of a data set: finished, under way or missing."""
    state: dict[tuple[str, str, int | None], str] = {
        (_key(record), record.row, record.seed): "finished" for record in records
    }
    for run in going_on:
        state.setdefault((_unfinished_key(run), _unfinished_row(run), run.seed), run.state)
    protocol = {key: key.rpartition(" · ")[2] for key, _, _ in state}
    rows: dict[str, set[str]] = {}
    seeds: dict[str, set[int]] = {}
    for key, row, seed in state:
        rows.setdefault(protocol[key], set()).add(row)
        if seed is not None:
            seeds.setdefault(key, set()).add(seed)
    wanted = {(key, row, seed) for key in seeds for row in rows[protocol[key]] for seed in seeds[key]}
    every = sorted(wanted | state.keys(), key=lambda one: (one[0], one[1], -1 if one[2] is None else one[2]))
    return tuple(Held(*one, state.get(one, "missing")) for one in every)


def _deviations(records: Sequence[RunRecord]) -> tuple[Deviation, ...]:
    """Whatever is not the standard protocol, each with the runs that it holds for."""
    found: dict[str, list[str]] = {}
    for record in records:
        place = f"{record.dataset.name}: "
        changed = [
            f"{key} = {_told(entry.value)}, set by hand"
            for key, entry in record.config.items()
            if entry.origin == OVERRIDE and key not in BOOKKEEPING
        ]
        commit = record.environment.commit or ""
        dirty = ["the code differs from its commit"] if commit.endswith("-dirty") else []
        splits = (record.dataset.train, record.dataset.evaluation)
        repaired = [f"{split.name}: {repair}" for split in splits for repair in split.repairs]
        preset = [f"published protocol, preset {record.preset}"] if record.preset is not None else []
        for what in (*changed, *preset, *record.notes, *dirty, *record.dataset.caveats, *repaired):
            found.setdefault(place + what, []).append(record.run_id)
    for key in sorted({_key(record) for record in records}):
        here = [record for record in records if _key(record) == key]
        for note in environment_notes(here):
            found.setdefault(note, []).extend(record.run_id for record in here)
    return tuple(Deviation(what, tuple(runs), len(records)) for what, runs in found.items())


def _block_key(block: Block) -> str:
    return key_of(block.dataset, block.protocol or "")  # only detections files have none


def _key(record: RunRecord) -> str:
    return key_of(record.dataset.name, record.protocol)


def key_of(dataset: str, protocol: str) -> str:
    """What the page calls a data set under a protocol."""
    return f"{dataset} · {protocol}"


def _unfinished_key(run: Unfinished) -> str:
    return key_of(run.dataset, "controlled" if run.preset is None else "published")


def _unfinished_row(run: Unfinished) -> str:
    return run.strategy if run.preset is None else f"{run.strategy} ({run.preset})"
