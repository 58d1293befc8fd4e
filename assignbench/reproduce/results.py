"""A sheet with its finished runs: what stands in the table, and what became of the claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assignbench.comparison.checks import environment_notes
from assignbench.comparison.table import Cell, cell_of
from assignbench.reproduce.claims import Tested, claims_of
from assignbench.reproduce.filled import Filled, Values, off_centre_classes, state_of, values_of
from assignbench.reproduce.priors import prior_notes
from assignbench.reproduce.published import class_column
from assignbench.reproduce.schema import OFF_CENTRE
from assignbench.reproduce.sheet import Sheet
from assignbench.run.results.record import RunRecord


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
class Result:
    """What is printed of an experiment."""

    sheet: Sheet
    columns: tuple[str, ...]
    rows: tuple[ResultRow, ...]
    claims: tuple[Tested, ...]
    notes: tuple[str, ...]  # below the table


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
    claims = claims_of(sheet, filled, values, off)
    by_data: dict[str, list[RunRecord]] = {}
    for record in {record.run_id: record for record in records}.values():
        by_data.setdefault(record.dataset.name, []).append(record)
    notes = [note for some in by_data.values() for note in environment_notes(some)]
    notes += [remark for one in filled for remark in one.remarks]
    notes += lacking_of(filled)
    notes += readings_of(filled)
    if off:
        notes.append(
            f"off-centre: mean AP of {', '.join(off)}, whose mass sits at least {experiment.off_centre:g} box sizes off"
        )
        for one in filled:
            notes += prior_notes(one.line.row.label, list(one.records.values()), experiment.off_centre or 0.0)
    return Result(sheet, columns, rows, claims, (*dict.fromkeys(notes), *experiment.remarks))


def lacking_of(filled: Sequence[Filled]) -> list[str]:
    """For which runs the claims have no part for the pictures, and why."""
    runs: dict[str, list[str]] = {}
    for run, reason in {run: reason for one in filled for run, reason in one.lacking.items()}.items():
        runs.setdefault(reason, []).append(run)
    return [
        f"claims: pictures have no part, for {len(some)} run{'s' if len(some) > 1 else ''}, as {some[0]}: {reason}"
        for reason, some in runs.items()
    ]


def readings_of(filled: Sequence[Filled]) -> list[str]:
    """How rows were read where the paper is ambiguous; each reading once, behind all of its rows."""
    labels: dict[str, dict[str, None]] = {}
    for one in filled:
        if reading := one.line.row.reading:
            labels.setdefault(reading, {})[one.line.row.label] = None
    return [f"{'; '.join(rows)}: {reading}" for reading, rows in labels.items()]


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
