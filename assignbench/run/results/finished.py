"""Finished runs by what a user names: a record, a run's folder or id, a folder of runs, or a folder of such folders.

A record that cannot be read does not hide the others: it is kept aside with its reason, and whoever shows the others
says so and ends in an error.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assignbench.errors import RunError, UsageError
from assignbench.overwriting import head_of
from assignbench.run.results.record import FILE, RunRecord, read_record
from assignbench.suggest import did_you_mean

RUNS = Path("runs")  # where `run` writes to, and ids are looked for, unless another folder is named
DEPTH = 3  # levels of folders that are looked through: runs, folders of runs, and folders of those
SHOWN = 5  # ids in a message


@dataclass(frozen=True)
class FoundRuns:
    """The finished runs of some places."""

    runs: tuple[tuple[Path, RunRecord], ...]  # folder and record of each; a single record's folder need not exist
    damaged: tuple[str, ...]  # of every record that cannot be read, why

    @property
    def records(self) -> list[RunRecord]:
        """Without their folders."""
        return [record for _, record in self.runs]


def find_runs(*places: Path) -> FoundRuns:
    """The finished runs of places, ordered by their folders' names.

    A run's folder may have another name than the run: its record says which run it is. What lies nearest counts: a
    folder that holds runs stands for these, not for those in folders beside them.

    Args:
        places: records (``record.json``, or by any name), folders of runs, or folders that hold such; to `DEPTH`
            levels.

    Raises:
        UsageError: a place holds no finished run, or one run lies in two of them.
        RunError: no record can be read.
    """
    by_id: dict[str, tuple[Path, RunRecord]] = {}
    damaged: list[str] = []
    for file in dict.fromkeys(file for place in places for file in _required(place)):
        try:
            record = read_record(file)
        except RunError as error:
            damaged.append(str(error).replace("\n", "; "))
            continue
        if record.run_id in by_id:
            raise UsageError(f"{by_id[record.run_id][0]} and {file} are the same run {record.run_id}; remove one")
        by_id[record.run_id] = (file, record)
    if not by_id:
        raise RunError("\n".join(damaged))
    return FoundRuns(tuple((_folder(file), record) for file, record in by_id.values()), tuple(damaged))


def refuse_damaged(damaged: Sequence[str]) -> None:
    """To be called when the other runs have been shown.

    Args:
        damaged: of every record that could not be read, why.

    Raises:
        RunError: there is any.
    """
    if damaged:
        records = "1 record" if len(damaged) == 1 else f"{len(damaged)} records"
        raise RunError("\n".join((f"{records} could not be read, and left out:", *damaged)))


def record_files(place: Path) -> list[Path]:
    """The records that a place stands for, as `find_runs` says; none: it holds none."""
    if place.is_file():
        return [place]
    if os.path.lexists(place / FILE):
        return [place / FILE]
    if not place.is_dir():  # a single record, named as a run's folder would be
        beside = place.with_name(f"{place.name}.json")
        return [beside] if is_record(beside) else []
    folders = [place]
    for _ in range(DEPTH):
        if files := [file for folder in folders for file in _records_in(folder)]:
            return files
        folders = [below for folder in folders for below in _folders(folder)]
    return []


def is_record(file: Path) -> bool:
    """Whether a file begins as a record does, however it goes on."""
    head = head_of(file, 200)
    return b'"schema_version"' in head and b'"run_id"' in head


def run_named(place: Path) -> Path:
    """The run that is meant: a path, or an id or its beginning, in the folder before it, else in `RUNS`.

    ``shapes-atss-tiny-s0-12b4c5907d`` is also found by ``12b4``, the beginning of its digest, where that is unique.

    Returns:
        ``place`` itself where it is there, or where nothing is called so.

    Raises:
        UsageError: several runs are called so.
    """
    if os.path.lexists(place):
        return place
    folder = RUNS if place == Path(place.name) else place.parent
    known = [below.name for below in _folders(folder)] + [file.stem for file in _loose(folder)]
    found = beginning_so(place.name, known)
    if len(found) > 1:
        more = ", …" if len(found) > SHOWN else ""
        raise UsageError(f"{len(found)} runs in {folder} begin with {place.name}: {', '.join(found[:SHOWN])}{more}")
    return folder / found[0] if found else place


def no_run(folder: Path) -> UsageError:
    """What to say of a folder that should be a finished run's, and is not."""
    if not folder.is_dir():
        where = RUNS if folder == Path(folder.name) else folder.parent
        hint = did_you_mean(folder.name, [below.name for below in _folders(where)])
        return UsageError(f"there is no run {folder}: no folder, and no run in {where} whose id begins so{hint}")
    runs = sorted(file.parent for file in folder.glob(f"*/{FILE}"))
    hint = f"; name one of its runs, as {runs[0]}" if runs else ""
    return UsageError(f"{folder} holds no finished run: there is no {FILE} in it{hint}")


def beginning_so(word: str, ids: Iterable[str]) -> list[str]:
    """The ids that are called so; else those that, or whose digests, begin so."""
    ids = list(ids)
    return [one for one in ids if one == word] or [
        one for one in ids if word and (one.startswith(word) or one.rpartition("-")[2].startswith(word))
    ]


def _required(place: Path) -> Sequence[Path]:
    """`record_files`, of which there must be some."""
    files = record_files(place)
    if files and not (place.is_file() and not is_record(place) and place.name != FILE):
        return files
    if place.is_file():
        kinds = {".csv": "a table", ".tex": "a table", ".md": "a table", ".html": "a page"}
        what = f" but {kinds[place.suffix]}, of which no run can be read back" if place.suffix in kinds else ""
        raise UsageError(
            f"{place} is no run's record{what}; name a {FILE}, a run, or a folder of runs. Detections files are "
            "compared by: assignbench compare --detections FILE… --dataset D"
        )
    if not place.is_dir():
        raise UsageError(f"there is no folder {place}; name the one that assignbench run has written to (--output)")
    begun = len(list(place.glob("*/losses.jsonl")))
    if begun:
        raise UsageError(f"{place} holds {begun} unfinished and no finished run; repeat the command with --resume")
    raise UsageError(f"{place} holds no finished run; start one with: assignbench run --output {place}")


def _records_in(folder: Path) -> Iterator[Path]:
    """Of runs in a folder, and single ones."""
    yield from sorted([*folder.glob(f"*/{FILE}"), *_loose(folder)])


def _loose(folder: Path) -> list[Path]:
    """Records that lie in a folder without their run's."""
    return sorted(file for file in folder.glob("*.json") if is_record(file))


def _folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):  # it is none, or not ours to read
        return sorted(below for below in folder.iterdir() if below.is_dir() and not below.name.startswith("."))
    return []


def _folder(file: Path) -> Path:
    return file.parent if file.name == FILE else file.with_name(file.stem)
