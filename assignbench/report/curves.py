"""The logs of training in a run's folder, as curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assignbench.run.results.json_lines import is_validation, read_rows
from assignbench.run.results.names import LOSSES, STATISTICS
from assignbench.run.results.record import RunRecord
from assignbench.run.results.run_files import as_recorded

POINTS = 40  # of a curve on the page
_NO_NUMBERS = ("iteration", "epoch", "lr")


@dataclass(frozen=True)
class Curve:
    """A log of numbers over training, thinned."""

    iterations: tuple[int, ...]  # the last one of each point
    values: Mapping[str, tuple[float | None, ...]]  # name → one a point; None: it was not logged there
    lines: int  # of the log that a point is the mean of, at most


def curve(lines: Sequence[Mapping[str, Any]], points: int = POINTS) -> Curve:
    """Lines of a log in at most so many points, each the mean of neighbouring lines."""
    size = max(1, -(-len(lines) // points))
    windows = [lines[start : start + size] for start in range(0, len(lines), size)]
    names = list(dict.fromkeys(name for line in lines for name in line if name not in _NO_NUMBERS))
    return Curve(
        tuple(int(window[-1]["iteration"]) for window in windows),
        {name: tuple(_mean(line.get(name) for line in window) for window in windows) for name in names},
        size,
    )


def losses_of(folder: Path, record: RunRecord) -> Curve:
    """The losses of a run in training; empty where there is no log, and the record knows of none.

    Raises:
        RunError: the log is damaged, or not the one that the record lists.
    """
    return curve([row for row in _losses(folder, record) if not is_validation(row)])


def validation_of(folder: Path, record: RunRecord) -> Curve:
    """The losses on the evaluation split, with prefixes as in the log; empty and errors as `losses_of`."""
    return curve([row for row in _losses(folder, record) if is_validation(row)])


def statistics_of(folder: Path, record: RunRecord) -> Curve:
    """What assignment did in a run, as `run/training/statistics.py` names it; empty and errors as `losses_of`."""
    return curve(read_rows(as_recorded(folder, record, STATISTICS)))


def _losses(folder: Path, record: RunRecord) -> list[dict[str, Any]]:
    return read_rows(as_recorded(folder, record, LOSSES))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
