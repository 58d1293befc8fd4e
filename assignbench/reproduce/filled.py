"""A line of a sheet with what its runs came to: its values, and what is missing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from assignbench.comparison.influences import Floats
from assignbench.reproduce.published import class_column
from assignbench.reproduce.schema import OFF_CENTRE
from assignbench.reproduce.sheet import Line
from assignbench.run.results.record import RunRecord

Values = Mapping[str, Mapping[int, float]]  # column → seed → percent points


@dataclass(frozen=True)
class Filled:
    """A line with what its runs came to, by seed."""

    line: Line
    records: Mapping[int, RunRecord]
    failures: Mapping[int, str]  # seed → reason
    metrics: Mapping[int, Mapping[str, float | None]]  # of the row: the record's, or those of multi-scale testing
    per_class: Mapping[int, Mapping[str, float | None]]
    remarks: tuple[str, ...] = ()
    pictures: Mapping[int, Mapping[str, Floats]] = field(
        default_factory=dict
    )  # seed → column → influences, where known
    lacking: Mapping[str, str] = field(default_factory=dict)  # run id → why its pictures have no part in the claims


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


def failed(one: Filled) -> bool:
    """Whether a run of a row failed."""
    return state_of(one)[1]
