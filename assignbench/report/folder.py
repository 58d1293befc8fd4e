"""What a folder of runs holds beside its records: logs of training, and runs that have no record yet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assignbench.errors import RunError
from assignbench.files import read_json
from assignbench.lock import holder_of
from assignbench.run.results.json_lines import read_lines
from assignbench.run.results.record import FILE, RunRecord

# As run/training and run/matrix name them, whose modules would load torch.
LOSSES, STATISTICS, CONFIG, LEASE, FAILURES = (
    "losses.jsonl",
    "assignment.jsonl",
    "config.json",
    ".lease",
    "failures.jsonl",
)
LARGEST = 1e300  # of what a log holds: also no NaN and no infinity
POINTS = 40  # of a curve on the page
_NO_NUMBERS = ("iteration", "epoch", "lr")


@dataclass(frozen=True)
class Curve:
    """A log of numbers over training, thinned."""

    iterations: tuple[int, ...]  # the last one of each point
    values: Mapping[str, tuple[float | None, ...]]  # name → one a point; None: it was not logged there
    lines: int  # of the log that a point is the mean of, at most


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


def losses_of(folder: Path) -> Curve:
    """The losses of a run; empty where there is no log.

    Raises:
        RunError: the log is damaged.
    """
    return _curve_of(folder / LOSSES)


def statistics_of(folder: Path) -> Curve:
    """What assignment did in a run, as `run/training/statistics.py` names it; empty where there is no log.

    Raises:
        RunError: the log is damaged.
    """
    return _curve_of(folder / STATISTICS)


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
    usable = [line["iteration"] for line in lines if _usable(line)]
    return Unfinished(
        folder.name,
        datasets.get(dataset, dataset),
        labels.get(strategy) or str(_value(settings, "assigner.text") or strategy),
        words[2] if read and len(words) == 6 else None,
        words[-3] if read else "?",
        int(read[1]) if read else None,
        usable[-1] if usable else 0,
        planned if type(planned) is int and abs(planned) < LARGEST else None,
        holder_of(folder / LEASE),
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


def _curve_of(file: Path) -> Curve:
    lines = read_lines(file)
    if not all(map(_usable, lines)):
        raise RunError(f"{file} is damaged: a line is no iteration with numbers; move its folder away and run again")
    return curve(lines)


def _usable(line: Any) -> bool:
    """Whether a line of a log names its iteration and holds numbers."""
    return (
        isinstance(line, dict)
        and type(line.get("iteration")) is int
        and all(value is None or (type(value) in (int, float) and abs(value) < LARGEST) for value in line.values())
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
