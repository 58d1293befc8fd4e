"""Runs in one table, and what that needs beside their records: how much each picture moves each run's numbers."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assignbench.compare.influences import Floats
    from assignbench.compare.table import Table
    from assignbench.compare.twolevel import About
    from assignbench.compare.verdicts import Spread
    from assignbench.data.dataset import Dataset
    from assignbench.run.results.record import RunRecord

AGREEMENT = 1e-9  # of a number of the record with that of the matches, as fractions


def table_of_runs(
    root: Path,
    recipe: str | None,
    protocol: str | None,
    metrics: Sequence[str] | None,
    data_root: Path | None,
    baseline: str | None,
    about: "About",
    spread: "Spread",
) -> "Table":
    """The finished runs of a folder side by side.

    Args:
        root: folder of runs.
        recipe: only the runs of this one.
        protocol: only the runs under this one.
        metrics: columns; None: those of a table.
        data_root: folder of the data sets.
        baseline: row or label.
        about: the question.
        spread: whose spread over seeds counts.

    Raises:
        UsageError: there are no such runs, no such baseline or metric, or runs that must not stand in one table.
        RunError: a record or a file of matches is damaged.
    """
    from assignbench.compare.checks import select
    from assignbench.run.results.record import read_records

    records = select(read_records(root), recipe=recipe, protocol=protocol)

    from assignbench.compare.table import METRICS, compare  # numpy: after what can be refused without it

    metrics = METRICS if metrics is None else metrics
    pictures, remarks = influences_of(root, records, metrics, data_root)
    return compare(
        records, baseline=baseline, metrics=metrics, pictures=pictures, remarks=remarks, about=about, spread=spread
    )


def influences_of(
    root: Path, records: Sequence["RunRecord"], metrics: Sequence[str], data_root: Path | None
) -> tuple[dict[str, Mapping[str, "Floats"]], list[str]]:
    """Run id → metric → influences, for the runs whose matches are kept or can be made again; and a note on the others.

    Raises:
        RunError: a file of matches is damaged, or its numbers are not those of the record.
    """
    from assignbench.cli.output import progress
    from assignbench.compare.influences import influences, value_of
    from assignbench.errors import RunError
    from assignbench.run.scoring.kept_matches import FILE, matches_of_run

    @cache
    def opened(spec: str) -> "Dataset":
        from assignbench.data.specs import data_root as resolve_data_root
        from assignbench.data.specs import open_dataset

        return open_dataset(spec, resolve_data_root(data_root)).evaluation

    found, missing = {}, {}
    for number, record in enumerate(records, start=1):
        progress(f"pictures of run {number} of {len(records)}")
        folder = root / record.run_id
        matches, reason = matches_of_run(folder, record, opened)
        if matches is None:
            missing.setdefault(reason, []).append(record.run_id)
            continue
        stated = record.metrics.get("AP")
        if stated is not None and not abs(value_of(matches, "AP") - stated) <= AGREEMENT:
            raise RunError(f"{folder / FILE} gives another AP than the record; remove it, it is made again")
        found[record.run_id] = influences(matches, metrics)
    told = [
        f"pictures have no part in {len(runs)} of {len(records)} runs, as {runs[0]}: {reason}"
        for reason, runs in missing.items()
    ]
    return found, told
