"""Finished runs as figures show them: opened, named, and refused when they do not belong into one figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assignbench.data.dataset import Dataset, Splits
from assignbench.data.spec.locate import data_root as resolve_data_root
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import UsageError
from assignbench.recipe import Recipe
from assignbench.run.results.changed import recipe_told
from assignbench.run.results.finished import find_runs, no_run, record_files, refuse_damaged
from assignbench.run.results.record import FILE, RunRecord, named_apart, read_record
from assignbench.run.scoring.reopen import open_run, unchanged
from assignbench.run.training.device import device_of
from assignbench.run.training.learner import Learner


@dataclass(frozen=True)
class ShownRun:
    """A finished run in a figure."""

    folder: Path
    record: RunRecord
    recipe: Recipe
    learner: Learner  # as evaluated: its norms use their running statistics
    name: str  # what the figure calls it; no two are called the same
    notes: tuple[str, ...]  # what differs from when it was trained

    @property
    def facts(self) -> str:
        """For captions: ``autoassign (run 433aee4b82, recipe tiny, iteration 800)``."""
        recipe = recipe_told(self.record)
        return f"{self.name} (run {self.short_id}, recipe {recipe}, iteration {self.record.iterations:,})"

    @property
    def short_id(self) -> str:
        """The end of the run's id, which is a digest."""
        return self.record.run_id.rpartition("-")[2]


def expanded(folders: Sequence[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """Runs, and folders that hold runs: of those, each strategy's run of the lowest seed.

    Returns:
        Folders of single runs, and a note for every folder of which some are left out.

    Raises:
        UsageError: a folder holds no finished run.
        RunError: a record is damaged.
    """
    found, notes = [], []
    for folder in folders:
        if (folder / FILE).is_file() or not record_files(folder):
            found.append(folder)
            continue
        some = find_runs(folder)
        refuse_damaged(some.damaged)
        records = sorted(named_apart(some.records), key=lambda record: record.seed)
        first = {(record.dataset.name, record.recipe, record.row): record for record in reversed(records)}
        chosen = sorted(first.values(), key=lambda record: record.run_id)
        paths = {record.run_id: place for place, record in some.runs}
        found += [paths[record.run_id] for record in chosen]
        if left := len(records) - len(chosen):
            notes.append(f"{folder}: of each strategy the run of its lowest seed; left out: {left}")
    return found, tuple(notes)


def check_runs(folders: Sequence[Path]) -> list[RunRecord]:
    """The records of runs for one figure, before their weights are read.

    Raises:
        UsageError: a folder holds no finished run, a run is named twice, or data sets differ.
        RunError: a record is damaged.
    """
    records = _records(folders)
    for record in records[1:]:
        if record.dataset.evaluation.fingerprint != records[0].dataset.evaluation.fingerprint:
            raise UsageError(
                f"a figure needs runs on one data set: {records[0].run_id} was evaluated on {records[0].dataset.name}, "
                f"{record.run_id} on {record.dataset.name}, or on another state of it"
            )
    return records


def _records(folders: Sequence[Path]) -> list[RunRecord]:
    """Those of finished runs, none named twice, with rows that tell them apart."""
    for folder in folders:
        if not (folder / FILE).is_file():
            raise no_run(folder)
    records = [read_record(folder / FILE) for folder in folders]
    repeated = [run_id for run_id, count in Counter(record.run_id for record in records).items() if count > 1]
    if repeated:
        raise UsageError(f"the run {repeated[0]} is named twice")
    return named_apart(records)


def open_runs(folders: Sequence[Path], device: str = "auto", *, trust: bool = False) -> list[ShownRun]:
    """Load the runs of one figure; ``trust`` as for `open_run`.

    Raises:
        UsageError: as `check_runs` and `open_run`.
        RunError: a record or weights are damaged.
    """
    return _opened(folders, check_runs(folders), device, trust=trust)


def open_some(folders: Sequence[Path], device: str = "auto", *, trust: bool = False) -> list[ShownRun]:
    """As `open_runs`, of whatever data sets, and perhaps none."""
    return _opened(folders, _records(folders), device, trust=trust)


def _opened(folders: Sequence[Path], records: Sequence[RunRecord], device: str, *, trust: bool) -> list[ShownRun]:
    where = device_of(device)
    rows = Counter(record.row for record in records)
    same_seed = Counter((record.row, record.seed) for record in records)
    shown = []
    for folder, record in zip(folders, records, strict=True):
        finished = open_run(folder, trust=trust)
        name = record.row if rows[record.row] == 1 else f"{record.row}, seed {record.seed}"
        if same_seed[record.row, record.seed] > 1:
            name = f"{name}, run {record.run_id.rpartition('-')[2]}"
        learner = finished.learner.to(where).eval()
        shown.append(ShownRun(folder, record, finished.recipe.recipe, learner, name, finished.notes))
    return shown


def evaluation_split(record: RunRecord, data_root: Path | None) -> Dataset:
    """The pictures that a run was evaluated on.

    Raises:
        DataError: they are not there, or no longer what they were.
    """
    return unchanged(_splits(record, data_root).evaluation, record.dataset.evaluation, record, "evaluated")


def training_split(record: RunRecord, data_root: Path | None) -> Dataset:
    """The pictures that a run was trained on; errors as `evaluation_split`."""
    return unchanged(_splits(record, data_root).train, record.dataset.train, record, "trained")


def _splits(record: RunRecord, data_root: Path | None) -> Splits:
    return open_dataset(record.dataset.spec, resolve_data_root(data_root))
