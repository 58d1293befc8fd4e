"""What a comparison needs beside the records: how much each picture moves each run's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from assignbench.run.results.record import RunRecord

if TYPE_CHECKING:
    from assignbench.comparison.influences import Floats
    from assignbench.data.dataset import Dataset


def influences_of(
    runs: Sequence[tuple[Path, RunRecord]],
    metrics: Sequence[str],
    data_root: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Mapping[str, Floats]], list[str]]:
    """Run id → metric → influences, for the runs whose matches are kept or can be made again; and a note on the others.

    Args:
        runs: folder and record of each.
        metrics: names, as in a record.
        data_root: folder of the data sets, which are opened where matches have to be made again.
        progress: is told what is being done.

    Raises:
        RunError: a file of matches or influences is damaged, or its numbers are not those of the record.
    """
    from assignbench.kept_influences import keep_influences, kept_influences
    from assignbench.run.scoring.kept_matches import matches_of_run

    opened = opener(data_root)
    found, missing = {}, {}
    for number, (folder, record) in enumerate(runs, start=1):
        progress(f"pictures of run {number} of {len(runs)}")
        known = kept_influences(folder, record)
        if known is None:
            matches, reason = matches_of_run(folder, record, opened)
            if matches is None:
                missing.setdefault(reason, []).append(record.run_id)
                continue
            known = keep_influences(folder, record, matches)
        found[record.run_id] = {metric: each for metric, each in known.items() if metric in metrics}
    told = [
        f"pictures have no part in {len(ids)} of {len(runs)} runs, as {ids[0]}: {reason}"
        for reason, ids in missing.items()
    ]
    return found, told


def opener(data_root: Path | None) -> Callable[[str], Dataset]:
    """What opens the evaluation split of a data set by what names it, each once.

    Args:
        data_root: folder of the data sets; None: as for every command.
    """

    @cache
    def opened(spec: str) -> Dataset:
        from assignbench.data.spec.locate import data_root as resolve_data_root
        from assignbench.data.spec.locate import open_dataset

        return open_dataset(spec, resolve_data_root(data_root)).evaluation

    return opened
