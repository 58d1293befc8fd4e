"""A sheet with its finished runs: what stands in the table, and what became of the claims."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from assignbench.comparison.checks import environment_notes
from assignbench.comparison.paired import Paired, paired
from assignbench.comparison.table import Cell, cell_of
from assignbench.reproduce.priors import prior_notes
from assignbench.reproduce.published import class_column
from assignbench.reproduce.schema import OFF_CENTRE, Claim
from assignbench.reproduce.sheet import Line, Sheet
from assignbench.run.results.record import RunRecord

Values = Mapping[str, Mapping[int, float]]  # column → seed → percent points
Verdict = Literal["supported", "contradicted", "undecided", "not tested"]


@dataclass(frozen=True)
class Entry:
    """One number of a row."""

    column: str
    cell: Cell  # difference: to the published value; None unless the sheet is faithful
    published: float | None  # percent points


@dataclass(frozen=True)
class ResultRow:
    """One row of the table."""

    group: str | None
    label: str
    strategy: str
    seeds: tuple[int, ...]  # of the finished runs
    entries: tuple[Entry, ...]
    state: str  # empty: complete; else what is missing and why
    failed: bool  # a run of this row failed


@dataclass(frozen=True)
class Tested:
    """A claim held against the runs."""

    group: str | None
    claim: Claim
    difference: Paired | None  # None: the two rows share no seed, or a run failed
    published: float | None  # the paper's difference, percent points
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Result:
    """What is printed of an experiment."""

    sheet: Sheet
    columns: tuple[str, ...]
    rows: tuple[ResultRow, ...]
    claims: tuple[Tested, ...]
    notes: tuple[str, ...]  # below the table


@dataclass(frozen=True)
class Filled:
    """A line with what its runs came to, by seed."""

    line: Line
    records: Mapping[int, RunRecord]
    failures: Mapping[int, str]  # seed → reason
    metrics: Mapping[int, Mapping[str, float | None]]  # of the row: the record's, or those of multi-scale testing
    per_class: Mapping[int, Mapping[str, float | None]]
    remarks: tuple[str, ...] = ()


def result_of(sheet: Sheet, filled: Sequence[Filled]) -> Result:
    """Fill a sheet.

    Args:
        sheet: the experiment.
        filled: its lines in order, with what their runs came to.
    """
    experiment = sheet.experiment
    records = [record for one in filled for record in one.records.values()]
    off = off_centre_classes(records, experiment.off_centre)
    present = {name for record in records for name in record.dataset.classes}
    classes = [name for name in experiment.classes if name in present] or [*off]
    columns = (*experiment.metrics, *map(class_column, classes), *([OFF_CENTRE] if off else []))
    values = [values_of(one, columns, off) for one in filled]
    rows = tuple(row_of(sheet, one, value, columns) for one, value in zip(filled, values, strict=True))
    claims = [
        tested
        for group in dict.fromkeys(one.line.group for one in filled)
        for tested in claims_of(sheet, group, filled, values, off)
    ]
    by_data: dict[str, list[RunRecord]] = {}
    for record in {record.run_id: record for record in records}.values():
        by_data.setdefault(record.dataset.name, []).append(record)
    notes = [note for some in by_data.values() for note in environment_notes(some)]
    notes += [remark for one in filled for remark in one.remarks]
    notes += readings_of(filled)
    if off:
        notes.append(
            f"off-centre: mean AP of {', '.join(off)}, whose mass sits at least {experiment.off_centre:g} box sizes off"
        )
        for one in filled:
            notes += prior_notes(one.line.row.label, list(one.records.values()), experiment.off_centre or 0.0)
    return Result(sheet, columns, rows, tuple(claims), (*dict.fromkeys(notes), *experiment.remarks))


def readings_of(filled: Sequence[Filled]) -> list[str]:
    """How rows were read where the paper is ambiguous; each reading once, behind all of its rows."""
    labels: dict[str, dict[str, None]] = {}
    for one in filled:
        if reading := one.line.row.reading:
            labels.setdefault(reading, {})[one.line.row.label] = None
    return [f"{'; '.join(rows)}: {reading}" for reading, rows in labels.items()]


def off_centre_classes(records: Sequence[RunRecord], least: float | None) -> tuple[str, ...]:
    """Classes whose mass sits at least that far from the box centre, in box sizes along x or y."""
    offsets = next((record.true_offsets for record in records if record.true_offsets), None)
    if offsets is None or least is None:
        return ()
    return tuple(name for name, offset in offsets.items() if max(map(abs, offset)) >= least)


def values_of(one: Filled, columns: Sequence[str], off: Sequence[str]) -> Values:
    """Column → seed → percent points; AP and the off-centre mean are always there."""
    found: dict[str, dict[int, float]] = {}
    for seed in one.metrics:
        numbers = {**one.metrics[seed], **{class_column(name): value for name, value in one.per_class[seed].items()}}
        known = [value for name in off if (value := one.per_class[seed].get(name)) is not None]
        numbers[OFF_CENTRE] = statistics.fmean(known) if off and len(known) == len(off) else None
        for column in {"AP", OFF_CENTRE, *columns}:
            if (value := numbers.get(column)) is not None:
                found.setdefault(column, {})[seed] = 100 * value
    return found


def row_of(sheet: Sheet, one: Filled, values: Values, columns: Sequence[str]) -> ResultRow:
    """One row: ours, the published value, and their difference where it means something."""
    line, entries = one.line, []
    comparable = sheet.faithful and line.published is not None and line.published.split != "test-dev"
    for column in columns:
        value = line.published.values.get(column) if line.published else None
        cell = cell_of(values.get(column, {}))
        if comparable and value is not None and cell.mean is not None:
            cell = Cell(cell.mean, cell.std, cell.mean - value)
        entries.append(Entry(column, cell, value))
    return ResultRow(
        line.group, line.row.label, line.strategy, tuple(sorted(one.metrics)), tuple(entries), *state_of(one)
    )


def state_of(one: Filled) -> tuple[str, bool]:
    """What is missing of a row, and whether something failed."""
    if why := nothing_to_run(one.line):
        return why, one.line.problem is not None
    if one.failures:
        reasons = dict.fromkeys(one.failures.values())
        seeds = "" if len(one.line.runs) == 1 else f" (seed {', '.join(map(str, one.failures))})"
        return f"failed{seeds}: {'; '.join(reasons)}", True
    missing = [run.seed for run in one.line.runs if run.seed not in one.metrics]
    return (f"not run yet: seed {', '.join(map(str, missing))}" if missing else ""), False


def nothing_to_run(line: Line) -> str:
    """Why a line has no runs; empty: it has some."""
    if line.row.not_built is not None:
        return f"not built yet: {line.row.not_built}"
    return f"failed: {line.problem}" if line.problem is not None else ""


def claims_of(
    sheet: Sheet, group: str | None, filled: Sequence[Filled], values: Sequence[Values], off: Sequence[str]
) -> list[Tested]:
    """Every claim in one group."""
    own = {
        one.line.row.label: (one, value) for one, value in zip(filled, values, strict=True) if one.line.group == group
    }
    tested = []
    for claim in sheet.experiment.claims:
        sides = [own[claim.better], own[claim.worse]]
        column = claim.on
        theirs = [one.line.published.values.get("AP") if one.line.published else None for one, _ in sides]
        gap = None
        if column == "AP" and theirs[0] is not None and theirs[1] is not None:
            gap = theirs[0] - theirs[1]
        difference = paired(sides[0][1].get(column, {}), sides[1][1].get(column, {}))
        states = [state_of(one) for one, _ in sides]
        failed = any(lost for _, lost in states)  # seeds that are left are not a fair choice of seeds
        if difference is None or failed:
            lacking = [
                f"{one.line.row.label}: {state or 'no value'}"
                for (one, value), (state, lost) in zip(sides, states, strict=True)
                if lost or column not in value
            ]
            why = "; ".join(lacking) or "the two rows share no seed"
            if not failed and column == OFF_CENTRE and not off:
                why = "the data set does not know where the mass of its classes sits"
            tested.append(Tested(group, claim, None, gap, "not tested", why))
        elif not sheet.scale.decides:
            untold = replace(difference, confidence=None)
            tested.append(Tested(group, claim, untold, gap, "not tested", "at this scale nothing is learned"))
        else:
            tested.append(Tested(group, claim, difference, gap, *verdict_of(difference)))
    return tested


def verdict_of(difference: Paired) -> tuple[Verdict, str]:
    """What a paired difference says about a direction, and why."""
    if difference.half is None:
        return "undecided", "one seed says nothing about noise"
    if not difference.decided:
        return "undecided", "the interval has zero in it"
    return ("supported" if difference.mean > 0 else "contradicted"), "the interval leaves out zero"
