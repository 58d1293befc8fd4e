"""COCO's JSON, entry by entry: what the reader would refuse is set aside and named, the rest goes on.

The reader's own functions parse: a piece that they refuse is halved until the odd entries stand alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from assignbench.data.read.annotations import Annotations
from assignbench.data.read.coco_entries import annotations_in, categories_in, images_in, joined
from assignbench.data.read.findings import ENTRY_MALFORMED, FILE_UNREADABLE, PICTURE_LEFT_OUT, SIZE_MISSING, Finding
from assignbench.data.read.raw import RawImages, RawSplit
from assignbench.data.read.scan import Piece, Repeated, Value, scan
from assignbench.data.spec.schema import CocoSpec
from assignbench.errors import DataError

Read = TypeVar("Read")

_NOWHERE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class _Part(Piece):
    """Entries of a piece without their text; they were read with care already."""

    def careful(self) -> list[Any]:
        """As they are."""
        return self.entries


def coco_split(spec: CocoSpec, base: Path, part: str) -> RawSplit:
    """One split of a data set in COCO's format.

    Args:
        spec: what to read.
        base: folder that its paths are relative to.
        part: ``train`` or ``evaluation``.
    """
    split = spec.train if part == "train" else spec.evaluation or spec.train
    file, pictures = base / split.annotations, base / split.images
    reading = _Reading(file, spec.folders)
    try:
        for found in scan(file, hashlib.sha256()):
            if not isinstance(found, Value):
                reading.take(found)
        for key in ("images", "annotations", "categories"):
            if key not in reading.seen:
                raise DataError(f"{file}: {key!r} is missing or not a list")
    except DataError as error:
        finding = Finding(FILE_UNREADABLE, part, "nothing", _NOWHERE, (str(error),))
        images = RawImages(_NOWHERE, np.zeros((0, 2), dtype=np.int64), [])
        return RawSplit(
            part, file, [], images, Annotations.of([], [], [], [], []), own_ids=True, readable=False, findings=[finding]
        )
    return reading.split(part, pictures, spec)


class _Reading:
    """What was read of one file so far."""

    def __init__(self, file: Path, folders: int | None) -> None:
        self.file, self.folders = file, folders
        self.seen: set[str] = set()
        self.images: list[Any] = []
        self.annotations: list[Any] = []
        self.categories: list[tuple[int, str]] = []
        self.malformed: list[str] = []

    def take(self, piece: Piece) -> None:
        """Read one piece of one list; lists of other names do not count."""
        self.seen.add(piece.key)
        if piece.key == "images":
            self.images += self._each(piece, partial(images_in, self.file, self.folders), self._without_size)
        elif piece.key == "annotations":
            self.annotations += self._each(piece, partial(annotations_in, self.file))
        elif piece.key == "categories":
            for rows in self._each(piece, partial(categories_in, self.file)):
                self.categories += [(number, name) for number, name, _ in rows]

    def _each(
        self, piece: Piece, read: Callable[[Piece], Read], rescue: Callable[[Piece], Read | None] = lambda _: None
    ) -> list[Read]:
        try:
            return [read(piece)]
        except DataError as error:
            if len(piece.entries) == 1 and isinstance(piece, _Part):
                rescued = rescue(piece)
                if rescued is None:
                    self.malformed.append(str(error).removeprefix(f"{self.file}: ") + _ids(piece.entries[0]))
                return [] if rescued is None else [rescued]
        entries = piece.careful()
        middle = len(entries) // 2
        halves = (_Part(piece.key, piece.first, entries[:middle], ""),) if middle else ()
        halves += (_Part(piece.key, piece.first + middle, entries[middle:], ""),)
        return [part for half in halves for part in self._each(half, read, rescue)]

    def _without_size(self, piece: Piece) -> Any:
        """An image entry that is right but for its size."""
        entry = piece.entries[0]
        if not isinstance(entry, dict) or (isinstance(entry, Repeated) and entry.keys_given_twice):
            return None
        try:
            one = _Part(piece.key, piece.first, [{**entry, "width": 1, "height": 1}], "")
            ids, sizes, names = images_in(self.file, self.folders, one)
        except DataError:
            return None
        return ids, 0 * sizes, names

    def split(self, part: str, pictures: Path, spec: CocoSpec) -> RawSplit:
        names = [name for piece in self.images for name in piece[2]]
        ids = np.concatenate([_NOWHERE, *(piece[0] for piece in self.images)])
        sizes = np.concatenate([np.zeros((0, 2), dtype=np.int64), *(piece[1] for piece in self.images)])
        annotations = joined(self.annotations)
        left_out = set(spec.left_out)
        out = np.array([name in left_out for name in names], dtype=np.bool_)
        findings = []
        if self.malformed:
            findings.append(Finding(ENTRY_MALFORMED, part, "nothing", _NOWHERE, tuple(self.malformed)))
        if out.any():
            gone = tuple(name for name in names if name in left_out)
            findings.append(Finding(PICTURE_LEFT_OUT, part, "nothing", _NOWHERE, gone))
            annotations = annotations.take(~np.isin(annotations.image_ids, ids[out]))
            names = [name for name in names if name not in left_out]
            ids, sizes = ids[~out], sizes[~out]
        missing = np.flatnonzero(sizes[:, 0] == 0)
        if len(missing):
            findings.append(Finding(SIZE_MISSING, part, "images", missing))
        return RawSplit(
            part=part,
            source=self.file,
            categories=self.categories,
            images=RawImages(ids, sizes, [str(pictures / name) for name in names]),
            annotations=annotations,
            own_ids=True,
            classes=spec.classes,
            folders=[pictures],
            findings=findings,
        )


def _ids(entry: object) -> str:
    """What an entry that cannot be understood says of itself."""
    keys = ("id", "image_id", "file_name", "name")
    said = [f"{key} {entry[key]!r:.40}" for key in keys if key in entry] if isinstance(entry, dict) else []
    return f" ({', '.join(said)})" if said else ""
