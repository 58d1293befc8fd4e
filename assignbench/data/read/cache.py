"""Large annotation files are parsed once: the arrays are kept in a file that every process maps into memory.

The file is found by the content of the annotation file, by what was asked of it and by the source of the reader,
never by a name or a date, so it cannot be stale. Its own digest is verified each time, so it cannot be damaged
unnoticed. Loader processes map the same file: however many there are, the arrays lie in memory once.

It lies in ``$XDG_CACHE_HOME/assignbench/annotations``, else ``~/.cache/…``, and may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Generator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from assignbench.data.dataset import Dataset
from assignbench.data.read.coco.pieces import Digest
from assignbench.data.read.findings import PICTURE_RESPELT, SIZE_MISSING
from assignbench.data.read.picture_names import absent
from assignbench.data.read.stored import images_of, load, save
from assignbench.errors import DataError, SystemProblem
from assignbench.files import open_regular

SMALLEST = 1 << 24  # bytes of an annotation file; a smaller one is read in less than half a second
KEPT = 8  # cached files, a few hundred megabytes each; the one longest unused makes room


def remembered(
    file: Path,
    choices: Mapping[str, Any],
    read: Callable[[Digest], Dataset],
    *,
    name: str,
    split: str,
    pictures: Path,
) -> Dataset:
    """The data set that ``read`` makes of a file, from the cache when it is there.

    Args:
        file: the annotations.
        choices: everything else that the result depends on, as JSON.
        read: parses the file and gives every byte it reads to a digest.
        name: of the data set, not kept in the cache.
        split: as above.
        pictures: folder of the pictures; whether they are there is asked each time.

    Raises:
        DataError: as ``read``, or the file changed while it was read.
    """
    try:
        if file.stat().st_size < SMALLEST:
            return read(hashlib.sha256())
        content = _digest(file)
    except OSError:  # the reader explains it
        return read(hashlib.sha256())
    stored = folder() / f"{_key(content, choices)}.arrays"
    found, _ = _load(stored, name, split, pictures)
    if found is None:
        with _one_at_a_time(stored):
            found, remark = _load(stored, name, split, pictures)  # another process may have been quicker
            if found is None:
                return _made(file, content, read, stored).remarked(*filter(None, [remark]))
    if absent(pictures, list(images_of(found).names())):  # under the names of then
        return read(hashlib.sha256())
    return found


def _made(file: Path, content: str, read: Callable[[Digest], Dataset], stored: Path) -> Dataset:
    digest = hashlib.sha256()
    dataset = read(digest)
    if digest.hexdigest() != content:
        raise DataError(f"{file} changed while it was read; start again when it is complete")
    if any(repair.kind in (SIZE_MISSING.done, PICTURE_RESPELT.done) for repair in dataset.repairs):
        return dataset  # it depends on the pictures, too
    try:
        save(dataset, stored)
        _make_room(stored)
        return load(stored, dataset.name, dataset.split, images_of(dataset).folder)
    except (OSError, SystemProblem, ValueError) as error:  # also where safetensors takes no header of that length
        return dataset.remarked(
            f"the parsed annotations cannot be kept ({error}), so each start parses them again and each loader process "
            "holds a copy; XDG_CACHE_HOME names another place",
        )


def folder() -> Path:
    """Where parsed annotations are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache")  # noqa: PTH111  # never fails
    return Path(home) / "assignbench" / "annotations"


def _load(stored: Path, name: str, split: str, pictures: Path) -> tuple[Dataset | None, str | None]:
    """The cached data set, or nothing and perhaps why."""
    try:
        dataset = load(stored, name, split, pictures, verify=True)
        os.utime(stored)  # used now
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"{stored} was damaged ({error}); the annotations were parsed again"
    return dataset, None


def _make_room(new: Path) -> None:
    """Remove what was longest unused, by the clock, and never what is new; a process that has it mapped keeps it."""
    with contextlib.suppress(OSError):
        others = (file for file in new.parent.glob("*.arrays") if file != new)
        for file in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            file.unlink()


@contextlib.contextmanager
def _one_at_a_time(stored: Path) -> Generator[None]:
    """Of several processes that start at once, one parses; where no lock can be had, each does."""
    lock = FileLock(stored.with_suffix(".lock"))
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _key(content: str, choices: Mapping[str, Any]) -> str:
    facts = json.dumps([content, _reader(), choices], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


@cache
def _reader() -> str:
    """Digest of the source of everything between the file and the arrays."""
    digest = hashlib.sha256(f"{sys.byteorder} {np.__version__}".encode())
    for file in reader_files():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def reader_files() -> list[Path]:
    """The source that decides what the arrays hold."""
    here = Path(__file__).parent
    return [
        *sorted(here.rglob("*.py")),
        here.parent / "dataset.py",
        here.parent / "images.py",
        here.parent / "damage.py",
    ]


def _digest(file: Path) -> str:
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
