"""How the runs of a folder stand: ``assignbench status``, from any shell, by what their folders hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assignbench.engines import history
from assignbench.engines.ends import furthest, last_failure
from assignbench.errors import RunError, UsageError
from assignbench.lock import holder_of
from assignbench.run.results.names import CHECKPOINTS, CONFIG, FAILURES, JOBS, LOCK, LOSSES
from assignbench.run.results.progress import RunProgress, progress_of
from assignbench.run.results.record import FILE, read_record

State = Literal["done", "running", "queued", "failed", "stopped"]
STATES: Sequence[State] = ("done", "running", "queued", "failed", "stopped")
_STARTED = (JOBS, CONFIG, LOSSES, FAILURES, CHECKPOINTS)


@dataclass(frozen=True)
class Standing:
    """One run."""

    run: str  # name of its folder
    state: State
    where: str = ""  # who is at it, or was last
    progress: RunProgress | None = None  # of a run that is at work
    cause: str = ""  # of a failure; of a stop, how far the run is


def standings(output: Path) -> list[Standing]:
    """Every run of a folder, ordered by name.

    Raises:
        UsageError: there is no such folder.
    """
    if (output / FILE).is_file():
        raise UsageError(f"{output} is one run; name the folder that it lies in, {output.parent}")
    if not output.is_dir():
        raise UsageError(f"there is no folder {output}; name the one that assignbench run writes to (--output)")
    folders = (folder for folder in sorted(output.iterdir()) if folder.is_dir())
    return [found for folder in folders if (found := standing(folder)) is not None]


def standing(folder: Path) -> Standing | None:
    """The run of a folder; None: there is none."""
    if (folder / FILE).exists():
        try:
            read_record(folder / FILE)
        except RunError as error:
            return Standing(folder.name, "failed", cause=str(error).replace("\n", "; "))
        return Standing(folder.name, "done")
    if not any((folder / name).exists() for name in _STARTED):
        return None
    holder = holder_of(folder / LOCK)
    if holder is not None:
        return Standing(folder.name, "running", holder, progress_of(folder))
    entry, failure = history.newest(folder), last_failure(folder)
    if entry is not None and entry.event in (*history.OPEN, history.AGAIN) and entry.conducted:
        started = entry.event == history.RUNNING
        return Standing(folder.name, "running" if started else "queued", entry.where or entry.engine)
    if entry is not None and entry.event == history.FAILED:
        return Standing(folder.name, "failed", entry.where, cause=entry.cause)
    if failure:
        return Standing(folder.name, "failed", cause=failure)
    reached, begun = furthest(folder), (folder / CONFIG).exists()
    far = "before its first checkpoint" if begun else "before it began"
    far = far if reached < 0 else f"with a checkpoint of iteration {reached:,}"
    return Standing(folder.name, "stopped", entry.where if entry else "", cause=far)
