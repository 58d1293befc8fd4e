"""What commands that were killed have left in folders of runs.

Looked at is only what assignbench writes: by its name, in folders that are known to be runs by their record or their
settings. Links are not followed, and a run that somebody is at, or that waits for a machine, is left alone. What goes
is taken away under the run's lock, so that no command can begin with the run meanwhile.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assignbench.engines.job import LOG
from assignbench.engines.standing import standing
from assignbench.errors import RunError, UsageError
from assignbench.files import half_written, read_json, remove_deserted
from assignbench.lock import Taken, exclusive, holder_of
from assignbench.run.results import progress
from assignbench.run.results.names import (
    CHECKPOINTS,
    CONFIG,
    DETECTIONS,
    FAILURES,
    JOBS,
    LEARNED,
    LOCK,
    LOSSES,
    SNAPSHOTS,
    STATISTICS,
    TRACKED,
    WEIGHTS,
)
from assignbench.run.results.record import FILE
from assignbench.run.results.repairs import REPAIRS
from assignbench.run.scoring.kept_matches import FILE as MATCHES

# what a run has in its folder before it has a record
_OF_RUN = (CONFIG, LOSSES, STATISTICS, CHECKPOINTS, SNAPSHOTS, TRACKED, WEIGHTS, LEARNED, DETECTIONS, MATCHES, REPAIRS)
_WRITTEN = (*_OF_RUN, FAILURES, JOBS, LOG, LOCK, progress.FILE, f".{progress.FILE}.tmp")
_NAME = re.compile(r".+-s\d+-[0-9a-f]{10}")  # of a run's folder
_RUNS = "runs"  # where reproduce keeps them


@dataclass(frozen=True)
class Leftover:
    """Files and folders that may go together."""

    path: Path  # what is named: the one that goes, or the run's folder
    why: str  # it is a leftover
    parts: tuple[Path, ...]  # what goes
    run: Path | None = None  # whose lock is held meanwhile; None: it lies in no run
    unfinished: bool = False  # whether it is a run without a record

    @property
    def size(self) -> int:
        """Bytes of all files in it."""
        inside = (file for part in self.parts for file in (part, *(part.rglob("*") if part.is_dir() else ())))
        return sum(file.lstat().st_size for file in inside if not file.is_dir())


@dataclass(frozen=True)
class Found:
    """What lies in a folder."""

    leftovers: tuple[Leftover, ...]
    busy: dict[Path, str]  # runs that are left alone → who is at them
    unfinished: tuple[Path, ...]  # runs without a record that nobody is at, and that stay


def find(root: Path, *, unfinished: bool = False) -> Found:
    """Look for leftovers in a folder of runs, in its ``runs/``, or in one run.

    Args:
        root: the folder.
        unfinished: whether runs that have no record and that nobody is at are leftovers, too.

    Raises:
        UsageError: there is no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}; name one that assignbench run or reproduce writes to")
    leftovers: list[Leftover] = []
    busy: dict[Path, str] = {}
    stay: list[Path] = []
    for folder in (root, *_folders(root), *_folders(root / _RUNS)):
        if not is_run(folder):
            leftovers += _half_written(folder, None)
        elif (who := _at_work(folder)) is not None:
            busy[folder] = who
        else:
            whole = _unfinished(folder)
            leftovers += [whole] if whole is not None and unfinished else _of_run(folder)
            stay += [folder] if whole is not None and not unfinished else []
    return Found(tuple(leftovers), busy, tuple(stay))


def remove(one: Leftover) -> bool:
    """Take a leftover away; False: somebody has begun with it meanwhile, and it stays.

    Raises:
        OSError: the disk does not let go of it.
    """
    if one.run is None:
        return remove_deserted(one.path)
    try:
        with exclusive(one.run / LOCK, lambda _: False):
            if one.unfinished and (one.run / FILE).exists():
                return False
            gone = [_removed(part) for part in one.parts if part.name != LOCK]  # which goes when it is let go
    except Taken:
        return False
    if one.unfinished:
        with suppress(OSError):  # a stranger's file in it stays, and so does the folder
            one.run.rmdir()
    return all(gone)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of ours: by its record, its settings, or its name and nothing else in it."""
    if (found := standing(folder)) is not None and found.state == "done":
        return True
    try:
        settings = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else None
    except RunError:
        settings = None
    if isinstance(settings, dict):
        one = settings.get("assigner.text")
        return isinstance(one, dict) and one.keys() >= {"value", "origin"}
    return _NAME.fullmatch(folder.name) is not None and all(one.name in _WRITTEN for one in folder.iterdir())


def _at_work(run: Path) -> str | None:
    """Who is at a run, or which engine has it; None: nobody that is known."""
    if (holder := holder_of(run / LOCK)) is not None:
        return holder
    found = standing(run)
    return f"{found.state}, {found.where}" if found is not None and found.state in ("running", "queued") else None


def _unfinished(run: Path) -> Leftover | None:
    """A run without a record, with all that it has written; None: it has one, or there is nothing."""
    if (run / FILE).exists():
        return None
    parts = [run / name for name in _WRITTEN if (run / name).exists()]
    found = standing(run)
    cause = "before it began" if found is None else found.cause
    parts += [one.path for one in _half_written(run, run)]
    state = "stopped" if found is None else found.state
    return Leftover(run, f"unfinished run, {state}: {cause}", tuple(parts), run, unfinished=True) if parts else None


def _of_run(run: Path) -> Iterator[Leftover]:
    """What a run has of processes that died."""
    finished = (found := standing(run)) is not None and found.state == "done"
    own = [(LOCK, "lock of a process that died")]
    own += [(name, "last word of a process that died") for name in (progress.FILE, f".{progress.FILE}.tmp")]
    own += [(CHECKPOINTS, "checkpoints of a finished run")] if finished else []
    for name, why in own:
        if (path := run / name).exists() and not path.is_symlink():
            yield Leftover(path, why, (path,), run)
    for folder in (run, run / SNAPSHOTS, *([] if finished else [run / CHECKPOINTS])):
        yield from _half_written(folder, run)


def _half_written(folder: Path, run: Path | None) -> Iterator[Leftover]:
    """Folders in which a process that died was writing a file; in a run, whose lock tells, also a checkpoint's."""
    for path in sorted(folder.glob(".*.tmp")):
        name = path.name.removeprefix(".").removesuffix(".tmp")
        checkpoint = run is not None and folder.name == CHECKPOINTS and name.startswith("iteration-")
        if path.is_dir() and not path.is_symlink() and (checkpoint or half_written(path)):
            yield Leftover(path, f"half-written {name} of a process that died", (path,), run)


def _removed(path: Path) -> bool:
    if half_written(path):
        return remove_deserted(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return True


def _folders(root: Path) -> list[Path]:
    if root.is_symlink() or not root.is_dir():
        return []
    return [one for one in sorted(root.iterdir()) if one.is_dir() and not one.is_symlink() and one.name[0] != "."]
