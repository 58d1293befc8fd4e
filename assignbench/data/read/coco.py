"""Reader of COCO instance annotations (https://cocodataset.org/#format-data), however large the file."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from assignbench.data.images import Images
from assignbench.data.read.coco_entries import annotations_in, categories_in, images_in, joined
from assignbench.data.read.findings import ENTRY_MALFORMED, PICTURE_LEFT_OUT
from assignbench.data.read.raw import NOWHERE, RawSplit, said, unreadable
from assignbench.data.read.scan import Digest, Piece, Repeated, Value, scan
from assignbench.errors import DataError

Read = TypeVar("Read")


@dataclass(frozen=True)
class _Part(Piece):
    """Entries of a piece without their text; they were read with care already."""

    def careful(self) -> list[Any]:
        """As they are."""
        return self.entries


def read_coco(
    file: Path,
    pictures: Path,
    part: str,
    digest: Digest,
    *,
    classes: Sequence[str] | None = None,
    labelled: bool = True,
    folders: int | None = None,
    left_out: Sequence[str] = (),
) -> RawSplit:
    """Read one split.

    Args:
        file: ``instances_*.json``, or ``image_info_*.json`` of a split whose objects are secret.
        pictures: folder that every ``file_name`` is relative to.
        part: "train", "evaluation" or "test".
        digest: gets every byte that was read.
        classes: what the specification demands.
        labelled: whether there must be annotations; otherwise there must be none.
        folders: how many folders of a ``file_name`` count; None: all of them.
        left_out: pictures that are dropped with their objects, counted and named.
    """
    reading = _Reading(file, folders)
    try:
        with _no_garbage_collection():
            for found in scan(file, digest):
                if not isinstance(found, Value):
                    reading.take(found)
        for key in ("images", "annotations", "categories") if labelled else ("images", "categories"):
            if key not in reading.seen:
                raise DataError(f"{file}: {key!r} is missing or not a list")
        if not labelled and reading.annotations and len(reading.annotations[0][0]):
            raise DataError(f"{file}: it holds annotations, but this split is known for having none")
    except DataError as error:
        return unreadable(part, file, str(error), own_ids=True)
    return reading.split(part, pictures, classes, frozenset(left_out))


class _Reading:
    """What was read of one file so far."""

    def __init__(self, file: Path, folders: int | None) -> None:
        self.file, self.folders = file, folders
        self.seen: set[str] = set()
        self.images: list[Any] = []
        self.annotations: list[Any] = []
        self.categories: list[tuple[int, str]] = []
        self.offsets: dict[str, tuple[float, float]] = {}
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
                self.offsets |= {name: offset for _, name, offset in rows if offset is not None}

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

    def split(self, part: str, pictures: Path, classes: Sequence[str] | None, left_out: frozenset[str]) -> RawSplit:
        names = [name for piece in self.images for name in piece[2]]
        ids = np.concatenate([NOWHERE, *(piece[0] for piece in self.images)])
        sizes = np.concatenate([np.zeros((0, 2), dtype=np.int64), *(piece[1] for piece in self.images)])
        images, annotations = Images.named(pictures, ids, sizes, names), joined(self.annotations)
        findings = [said(ENTRY_MALFORMED, part, self.malformed)] if self.malformed else []
        out = np.array([name in left_out for name in names], dtype=np.bool_)
        if out.any():
            findings.append(said(PICTURE_LEFT_OUT, part, [name for name in names if name in left_out]))
            images, annotations = images.take(~out), annotations.take(~np.isin(annotations.image_ids, ids[out]))
        return RawSplit(
            part=part,
            source=self.file,
            categories=self.categories,
            images=images,
            annotations=annotations,
            own_ids=True,
            classes=classes,
            folders=[pictures],
            findings=findings,
            offsets=self.offsets,
        )


@contextlib.contextmanager
def _no_garbage_collection() -> Generator[None]:
    """Millions of short-lived objects without cycles: looking for some would take a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _ids(entry: object) -> str:
    """What an entry that cannot be understood says of itself."""
    keys = ("id", "image_id", "file_name", "name")
    said = [f"{key} {entry[key]!r:.40}" for key in keys if key in entry] if isinstance(entry, dict) else []
    return f" ({', '.join(said)})" if said else ""
