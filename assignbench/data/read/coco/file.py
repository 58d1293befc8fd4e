r"""What a file in COCO's format states (https://cocodataset.org/#format-data), however large and however odd.

Almost every piece of a file goes through msgspec, which turns its entries into typed objects at 300 MB a second, and
from there into columns. A piece in which anything is unusual is read again, entry by entry (`entry`): what is
clear is put right and counted, the rest is set aside and named.

msgspec does not see keys that an entry gives twice, and a box must never silently be the second of two. So a piece
counts as usual only if the text has as many keys as the entries have values: there is one colon for each of them, or,
where entries hold more than we read, each key that we read stands in the text once for each entry that has it.
Both counts can be too high (a colon in a text, the word ``"id"`` inside another object), never too low, except for a
key with a letter spelt as ``\u0069``, which is looked for. Too high means that the piece is read entry by entry.
"""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from assignbench.data.images import Images
from assignbench.data.read.annotations import Annotations
from assignbench.data.read.coco.entry import Annotation, Entry, Texts, Unclear, annotation_of, category_of, image_of
from assignbench.data.read.coco.pieces import Digest, Piece, Value, pieces
from assignbench.data.read.coco.text_ids import LARGEST as LARGEST_ID
from assignbench.data.read.coco.text_ids import SMALLEST as SMALLEST_ID
from assignbench.data.read.findings import (
    CATEGORY_PARENT,
    ENTRY_MALFORMED,
    ID_IN_TEXT,
    ID_NUMBERED,
    Finding,
    Kind,
    Table,
)
from assignbench.data.read.raw import RawSplit, among, said
from assignbench.data.read.rules import LARGEST
from assignbench.errors import DataError

Row = TypeVar("Row")

_ABSENT = -1  # stands for an area or iscrowd that an entry does not have; one that is stated so is refused
_ESCAPED_KEY = re.compile(r"\\u00(?:[67][0-9a-fA-F]|5[fF])")  # a lower-case letter or a low line


def read_json(
    file: Path,
    pictures: Path,
    part: str,
    digest: Digest,
    *,
    labelled: bool = True,
    folders: int | None = None,
) -> RawSplit:
    """Read a file once, piece by piece; it is never in memory as a whole.

    Types are checked, and nothing else: ids may repeat and point nowhere. Sizes that are not stated are 0.

    Args:
        file: ``instances_*.json``, or ``image_info_*.json`` of a split whose objects are secret.
        pictures: folder that every ``file_name`` is relative to.
        part: "train", "evaluation" or "test".
        digest: gets every byte of the file.
        labelled: whether there must be annotations; otherwise there must be none.
        folders: how many folders of a ``file_name`` count; None: all of them.

    Raises:
        DataError: the file is missing, unreadable, no JSON, or lacks a list.
    """
    reading = _Reading(part, folders)
    needed = ("images", "categories", *(["annotations"] if labelled else []))
    takers: dict[str, Callable[[Piece], None]] = {
        "images": reading.take_images,
        "annotations": reading.take_annotations,
        "categories": reading.take_categories,
    }
    keys: dict[str, bool] = {}  # → whether it holds a list
    with _no_garbage_collection():
        for found in pieces(file, digest, {"images": _IMAGES, "annotations": _ANNOTATIONS}):
            keys[found.key] = not isinstance(found, Value)
            if isinstance(found, Value):
                continue
            if found.key == "annotations" and not labelled and found.count:
                raise DataError(f"{file}: it holds annotations, but this split is known for having none")
            if found.key in takers:
                takers[found.key](found)
    for key in needed:
        if not keys.get(key):
            has = ", ".join(f"{other!r:.40}" for other in list(keys)[:6]) or "nothing"
            raise DataError(f"{file}: {key!r} is missing or not a list; an annotation file has it, this one has {has}")
    return reading.split(file, pictures, labelled)


@dataclass
class _Notes:
    """Places of repairs, per kind, while a table grows."""

    places: list[NDArray[np.int64]] = field(default_factory=list)
    details: list[str] = field(default_factory=list)


class _Column:
    """An array that grows at its end; large ones grow in place, so that nothing is ever in memory twice."""

    def __init__(self, start: NDArray[Any]) -> None:
        self._space, self._used = start.copy(), len(start)

    def add(self, rows: NDArray[Any]) -> None:
        """Copy these to the end."""
        end = self._used + len(rows)
        if end > len(self._space):
            self._resize(end + end // 8)
        self._space[self._used : end] = rows
        self._used = end

    def whole(self) -> NDArray[Any]:
        """All of it; the column itself is of no use any more."""
        self._resize(self._used)
        return self._space

    def _resize(self, rows: int) -> None:
        self._space.resize((rows, *self._space.shape[1:]), refcheck=False)  # nobody else has seen it


class _Reading:
    """What was read of a file so far."""

    def __init__(self, part: str, folders: int | None) -> None:
        self._part, self._folders = part, folders
        self._texts = Texts()
        self._names: list[str] = []
        self._images = _Column(np.zeros((0, 3), dtype=np.int64))  # id, width, height
        self._columns = [_Column(column) for column in _columns([])]  # of annotations
        self._annotations = 0
        self._categories: list[tuple[int, str, str | None, tuple[float, float] | None]] = []
        self._malformed: list[str] = []
        self._notes: dict[tuple[Kind, Table], _Notes] = {}

    def take_images(self, piece: Piece) -> None:
        """Read entries of the list of images."""
        found = _usual_images(piece)
        if found is None:
            entries = self._each(piece, image_of, "images", len(self._names))
            rows = np.array([entry[:3] for entry in entries], dtype=np.int64).reshape(-1, 3)
            found = rows, [entry[3] for entry in entries]
        rows, names = found
        self._images.add(rows)
        self._names += names if self._folders is None else [_last_parts(name, self._folders) for name in names]

    def take_annotations(self, piece: Piece) -> None:
        """Read entries of the list of annotations."""
        columns = _usual_annotations(piece)
        if columns is None:
            columns = _columns(self._each(piece, annotation_of, "annotations", self._annotations))
        for column, rows in zip(self._columns, columns, strict=True):
            column.add(rows)
        self._annotations += len(columns[0])

    def take_categories(self, piece: Piece) -> None:
        """Read entries of the list of categories."""
        self._categories += self._each(piece, category_of, "categories", len(self._categories))

    def _each(self, piece: Piece, read: Callable[[Entry, Texts], Row], table: Table, before: int) -> list[Row]:
        """Entry by entry; ``before``: how many the table has already."""
        rows: list[Row] = []
        places: dict[Kind, list[int]] = {}
        for position, value in enumerate(piece.entries(), start=piece.first):
            entry = Entry(f"{piece.key}[{position}]", value)
            try:
                row = read(entry, self._texts)
            except Unclear as unclear:
                self._malformed.append(str(unclear))
                continue
            for kind, keys in entry.notes.items():
                places.setdefault(kind, []).append(before + len(rows))
                self._notes.setdefault((kind, table), _Notes()).details.append(", ".join(keys))
            rows.append(row)
        for kind, found in places.items():
            self._notes[kind, table].places.append(np.array(found, dtype=np.int64))
        return rows

    def split(self, file: Path, pictures: Path, labelled: bool) -> RawSplit:
        """Everything together."""
        images = self._images.whole()
        image_ids, sizes = images[:, 0].copy(), images[:, 1:].copy()
        ids, owners, kinds, boxes, areas, crowd = (column.whole() for column in self._columns)
        annotations = Annotations(ids, owners, kinds, boxes, areas, crowd)
        category_ids = np.array([row[0] for row in self._categories], dtype=np.int64)
        strange: dict[str, dict[int, str]] = {}
        findings = [*self._found(), *self._settle(image_ids, annotations, category_ids, strange)]
        rows = [(number, *row[1:]) for number, row in zip(category_ids.tolist(), self._categories, strict=True)]
        if labelled:
            parents = _parents(rows, annotations.category_ids)
            if parents.any():
                gone = [f"category {rows[at][0]} ({rows[at][1]})" for at in np.flatnonzero(parents).tolist()]
                findings = [among(finding, {"categories": ~parents}) for finding in findings]
                findings.append(said(CATEGORY_PARENT, self._part, gone))
                rows = [row for row, parent in zip(rows, parents.tolist(), strict=True) if not parent]
        return RawSplit(
            part=self._part,
            source=file,
            categories=[(number, name) for number, name, _, _ in rows],
            images=Images.named(pictures, image_ids, sizes, self._names),
            annotations=annotations,
            own_ids=True,
            strange=strange.get("category_id", {}),
            strange_images=strange.get("image_id", {}),
            folders=[pictures],
            findings=[finding for finding in findings if finding.count],
            offsets={name: offset for _, name, _, offset in rows if offset is not None},
        )

    def _found(self) -> Iterable[Finding]:
        yield said(ENTRY_MALFORMED, self._part, self._malformed)
        for (kind, table), notes in self._notes.items():
            yield Finding(kind, self._part, table, np.concatenate(notes.places), tuple(notes.details))

    def _settle(
        self,
        images: NDArray[np.int64],
        annotations: Annotations,
        categories: NDArray[np.int64],
        strange: dict[str, dict[int, str]],
    ) -> Iterable[Finding]:
        """Give ids that are text their numbers, in place, and say where they stood.

        What nobody has goes into ``strange``: key that refers to it → number → text.
        """
        owners, kinds = annotations.image_ids, annotations.category_ids
        places: tuple[tuple[Any, list[tuple[Table, str, NDArray[np.int64]]]], ...] = (
            (self._texts.images, [("images", "id", images), ("annotations", "image_id", owners)]),
            (self._texts.categories, [("categories", "id", categories), ("annotations", "category_id", kinds)]),
            (self._texts.annotations, [("annotations", "id", annotations.ids)]),
        )
        for texts, columns in places:
            if not texts.texts:
                continue
            settled = texts.settle(*(column for _, _, column in columns))
            strange[columns[-1][1]] = settled.strange
            kind = ID_IN_TEXT if settled.spelt else ID_NUMBERED
            for (table, key, _), (rows, texts_said) in zip(columns, settled.columns, strict=True):
                details = {text: f"{key} {text}" for text in set(texts_said)}  # millions of places share a few texts
                yield Finding(kind, self._part, table, rows, tuple(map(details.__getitem__, texts_said)))


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = _ABSENT
    iscrowd: int | None = _ABSENT


class _Image(msgspec.Struct, gc=False):
    id: int
    width: int
    height: int
    file_name: str


_ROTATION = re.compile(r'"rotation"\s*:\s*-?(?!0(?:\.0*)?\s*[,}])')
_ANNOTATIONS = msgspec.json.Decoder(list[_Annotation])
_IMAGES = msgspec.json.Decoder(list[_Image])
_BOX = attrgetter("bbox")


def _usual_annotations(piece: Piece) -> tuple[NDArray[Any], ...] | None:
    """The columns, unless anything is unusual, be it right or wrong."""
    entries = piece.usual
    if entries is None:  # other types, or NaN
        return None
    try:
        ids, owners, kinds = (_whole(entries, name) for name in ("id", "image_id", "category_id"))
        area, crowd = (_numbers(entries, name) for name in ("area", "iscrowd"))
    except OverflowError:  # an id beyond 64 bits
        return None
    present = {key: len(entries) for key in ("id", "image_id", "category_id", "bbox")}
    present |= {"area": int(np.sum(area != _ABSENT)), "iscrowd": int(np.sum(crowd != _ABSENT))}
    if not _nothing_else(piece.text, present) and (not _once(piece.text, present) or _turned(piece.text)):
        return None
    area[area == _ABSENT] = np.nan
    crowd[np.isnan(crowd)] = _ABSENT
    usual = (
        np.all(np.isnan(area) | ((area >= 0) & (area < np.inf)))
        and np.all((crowd == _ABSENT) | (crowd == 0) | (crowd == 1))
        and all(_keepable(column) for column in (ids, owners, kinds))
    )
    if not usual:
        return None
    boxes = np.fromiter(chain.from_iterable(map(_BOX, entries)), np.float64, 4 * len(entries)).reshape(-1, 4)
    with np.errstate(invalid="ignore", over="ignore"):  # the gate names what is not finite
        boxes[:, 2:] += boxes[:, :2]
    return ids, owners, kinds, boxes, area, crowd.astype(np.int8)


def _usual_images(piece: Piece) -> tuple[NDArray[np.int64], list[str]] | None:
    """As `_usual_annotations`: id, width and height, and the names."""
    entries = piece.usual
    if entries is None:
        return None
    try:
        rows = np.column_stack([_whole(entries, name) for name in ("id", "width", "height")])
    except OverflowError:
        return None
    names = [entry.file_name for entry in entries]
    present: Mapping[str, int] = dict.fromkeys(("id", "width", "height", "file_name"), len(entries))
    usual = (
        (_nothing_else(piece.text, present) or _once(piece.text, present))
        and _keepable(rows[:, 0])
        and np.all((rows[:, 1:] > 0) & (rows[:, 1:] < LARGEST))
        and all(names)
        and "\\u0000" not in piece.text
    )
    return (rows, names) if usual else None


def _whole(entries: Sequence[Any], name: str) -> NDArray[np.int64]:
    """One column; raises OverflowError beyond 64 bits."""
    return np.fromiter(map(attrgetter(name), entries), np.int64, len(entries))


def _numbers(entries: Sequence[Any], name: str) -> NDArray[np.float64]:
    """One column, in which None becomes NaN."""
    try:
        return np.fromiter(map(attrgetter(name), entries), np.float64, len(entries))
    except TypeError:  # None, which alone is slower
        return np.array([getattr(entry, name) for entry in entries], dtype=np.float64)


def _nothing_else(text: str, present: Mapping[str, int]) -> bool:
    """Whether it is certain that entries hold these keys alone, each once; ``present``: how many entries have each."""
    return text.count(":") == sum(present.values())  # one for each value, and none in a text


def _once(text: str, present: Mapping[str, int]) -> bool:
    """Whether it is certain that no entry gives one of these keys twice, whatever else it holds."""
    if "\\" in text and _ESCAPED_KEY.search(text):  # a single character is found much faster
        return False
    return all(text.count(f'"{key}"') == count for key, count in present.items())


def _turned(text: str) -> bool:
    """Whether an entry may have a rotation that is not 0."""
    return '"rotation"' in text and _ROTATION.search(text) is not None  # a text alone is found much faster


def _keepable(ids: NDArray[np.int64]) -> bool:
    return not len(ids) or (int(ids.min()) >= SMALLEST_ID and int(ids.max()) <= LARGEST_ID)


def _columns(rows: Sequence[Annotation]) -> tuple[NDArray[Any], ...]:
    """In the order of `Annotations`."""
    ids, owners, kinds, boxes, areas, crowds = zip(*rows, strict=True) if rows else ((),) * 6
    return (
        *(np.array(column, dtype=np.int64) for column in (ids, owners, kinds)),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(areas, dtype=np.float64),
        np.array(crowds, dtype=np.int8),
    )


def _parents(rows: Sequence[tuple[int, str, str | None, Any]], used: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``[category]`` which only group others: these name it as their supercategory, and it has no object.

    Roboflow writes such a category, sometimes under the name of one of its children: that one names itself.
    """
    named: dict[str, set[int]] = {}
    for at, (_, _, above, _) in enumerate(rows):
        if above is not None:
            named.setdefault(above, set()).add(at)
    return np.array(
        [
            bool(named.get(name, set()) - {at}) and above != name and not np.any(used == number)
            for at, (number, name, above, _) in enumerate(rows)
        ],
        dtype=np.bool_,
    )


def _last_parts(name: str, folders: int) -> str:
    return "/".join(name.split("/")[-folders - 1 :])


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
