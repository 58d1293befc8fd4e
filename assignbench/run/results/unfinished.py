"""Runs that have been started and have no record, by what their folders hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assignbench.errors import RunError
from assignbench.files import read_json
from assignbench.lock import holder_of
from assignbench.run.results.json_lines import LARGEST, is_row, read_lines
from assignbench.run.results.names import CONFIG, FAILURES, LOCK, LOSSES
from assignbench.run.results.record import FILE, RunRecord


@dataclass(frozen=True)
class Unfinished:
    """A run that has been started and has no record."""

    folder: str  # its name
    dataset: str
    strategy: str
    preset: str | None  # None: the controlled protocol
    recipe: str
    seed: int | None  # None: the folder's name does not say
    done: int  # iterations that were logged
    planned: int | None  # iterations; None: the settings are not there
    holder: str | None  # who trains it; None: nobody that is known
    failure: str | None  # how it ended last, where it failed

    @property
    def state(self) -> str:
        """In words: how far it is, and whether anybody is at it."""
        far = f"{self.done:,} of {self.planned:,} iterations" if self.planned else f"{self.done:,} iterations"
        if self.holder is not None:
            return f"training, {far}"
        return f"failed after {far}: {self.failure}" if self.failure else f"stopped after {far}"


def unfinished(root: Path, records: Sequence[RunRecord]) -> tuple[Unfinished, ...]:
    """The runs of a folder that have no record, ordered by the names of their folders.

    Args:
        root: the folder of runs.
        records: its finished runs, which say what the words in a folder's name stand for.
    """
    datasets = {_word(record.dataset.name): record.dataset.name for record in records}
    labels = {_word(record.assigner.label): record.assigner.label for record in records}
    started = (
        folder
        for folder in sorted(root.iterdir())
        if not (folder / FILE).is_file() and any((folder / name).is_file() for name in (LOSSES, CONFIG, FAILURES))
    )
    return tuple(_unfinished(folder, datasets, labels) for folder in started)


def _unfinished(folder: Path, datasets: Mapping[str, str], labels: Mapping[str, str]) -> Unfinished:
    # "bccd-atss-mmdet-tiny-s0-89f2e7f602": no word of a folder's name holds a dash
    words = folder.name.split("-")
    read = re.fullmatch(r"s(\d+)", words[-2]) if len(words) in (5, 6) else None
    settings = _settings(folder / CONFIG)
    lines, failures = _logged(folder / LOSSES), _logged(folder / FAILURES)
    dataset, strategy = words[:2] if read else ("?", folder.name)
    planned = _value(settings, "train.iterations")
    usable = [line["iteration"] for line in lines if is_row(line)]
    return Unfinished(
        folder.name,
        datasets.get(dataset, dataset),
        labels.get(strategy) or str(_value(settings, "assigner.text") or strategy),
        words[2] if read and len(words) == 6 else None,
        words[-3] if read else "?",
        int(read[1]) if read else None,
        usable[-1] if usable else 0,
        planned if type(planned) is int and abs(planned) < LARGEST else None,
        holder_of(folder / LOCK),
        str(failures[-1].get("error", "")).partition("\n")[0] if failures else None,
    )


def recipe_word(recipe: str) -> str:
    """What the name of a run's folder calls its recipe."""
    return _word(Path(recipe).stem)


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", Path(text).name).strip("_")


def _value(settings: Mapping[str, Any], key: str) -> Any:
    entry = settings.get(key)
    return entry.get("value") if isinstance(entry, dict) else None


def _settings(file: Path) -> Mapping[str, Any]:
    """The settings of a run that has no record; {}: they cannot be read, which happens while they are written."""
    try:
        config = read_json(file) if file.is_file() else {}
    except RunError:
        return {}
    return config if isinstance(config, dict) else {}


def _logged(file: Path) -> list[dict[str, Any]]:
    """The lines of a log of a run that is not finished; []: it cannot be read."""
    try:
        return read_lines(file)
    except RunError:
        return []
