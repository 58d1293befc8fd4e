"""What a comparison needs beside the records: how much each picture moves each run's numbers."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assignbench.compare.influences import Floats
    from assignbench.data.dataset import Dataset
    from assignbench.run.results.record import RunRecord


def influences_of(
    root: Path, records: Sequence["RunRecord"], metrics: Sequence[str], data_root: Path | None
) -> tuple[dict[str, Mapping[str, "Floats"]], list[str]]:
    """Run id → metric → influences, for the runs whose matches are kept or can be made again; and a note on the others.

    Raises:
        RunError: a file of matches is damaged, or its numbers are not those of the record.
    """
    from assignbench.cli.output import progress
    from assignbench.compare.influences import influences, same_ap
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
        if not same_ap(matches, record.metrics.get("AP")):
            raise RunError(f"{folder / FILE} gives another AP than the record; remove it, it is made again")
        found[record.run_id] = influences(matches, metrics)
    told = [
        f"pictures have no part in {len(runs)} of {len(records)} runs, as {runs[0]}: {reason}"
        for reason, runs in missing.items()
    ]
    return found, told
