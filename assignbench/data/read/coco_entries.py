"""Entries of COCO's lists, with every type checked: a column at a time where nothing is unusual, else one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assignbench.data.read.annotations import Annotations
from assignbench.data.read.rules import LARGEST
from assignbench.data.read.scan import Piece, Repeated
from assignbench.errors import DataError

# Our own addition to a category, written by the generated data set and read back by the reader.
OFFSET_KEY = "assignbench_offset"

_IMAGE = ("id", "file_name", "width", "height")
_ANNOTATION = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
_CATEGORY = ("id", "name", OFFSET_KEY)
_CROWD = {None: -1, 0: 0, 1: 1}

Columns = tuple[NDArray[Any], ...]


def joined(pieces: Sequence[Columns]) -> Annotations:
    """What `annotations_in` gave for each piece, as one."""
    if not pieces:
        return Annotations.of([], [], [], [], [])
    ids, owners, kinds, boxes, areas, crowd = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Annotations(ids, owners, kinds, boxes, areas, crowd)


def annotations_in(file: Path, piece: Piece) -> Columns:
    """The columns of `Annotations`.

    Raises:
        DataError: naming file, place and ids.
    """
    columns = _plain_annotations(piece)
    return columns if columns is not None else _careful_annotations(file, piece)


def _plain_annotations(piece: Piece) -> Columns | None:
    """The usual case, a column at a time; None when anything is unusual, be it right or wrong."""
    entries = piece.entries
    try:
        ids, owners, kinds = ([entry[key] for entry in entries] for key in ("id", "image_id", "category_id"))
        boxes = [entry["bbox"] for entry in entries]
        areas, crowds = ([entry.get(key) for entry in entries] for key in ("area", "iscrowd"))
        numbers = list(chain.from_iterable(boxes))
        plain = (
            set(map(type, chain(ids, owners, kinds))) <= {int}
            and set(map(type, boxes)) <= {list}
            and set(map(len, boxes)) <= {4}
            and set(map(type, numbers)) <= {int, float}
            and set(map(type, areas)) <= {int, float, type(None)}
            and piece.plain(_ANNOTATION)
        )
        if not plain:
            return None
        corners = np.array(numbers, dtype=np.float64).reshape(-1, 4)
        with np.errstate(invalid="ignore", over="ignore"):  # `build` names what is not finite
            corners[:, 2:] += corners[:, :2]
        surface = np.array(areas, dtype=np.float64)  # None becomes NaN
        odd = np.flatnonzero(~((surface >= 0) & (surface < np.inf))).tolist()
        if any(areas[index] is not None for index in odd):
            return None
        crowd = np.fromiter(map(_CROWD.__getitem__, crowds), dtype=np.int8, count=len(crowds))
        whole = (np.array(column, dtype=np.int64) for column in (ids, owners, kinds))
        return *whole, corners, surface, crowd
    except (AttributeError, KeyError, TypeError, OverflowError):
        return None


def _careful_annotations(file: Path, piece: Piece) -> Columns:
    rows: list[tuple[Any, ...]] = []
    boxes: list[tuple[float, ...]] = []
    for place, entry in _entries(file, piece, _ANNOTATION):
        number, image, category = (_integer(file, entry, place, key) for key in ("id", "image_id", "category_id"))
        place = f"{place} (annotation {number} of image {image})"
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(f"{file}: {place}: 'bbox' must be [x, y, width, height], not {_short(box)}")
        x, y, width, height = (_number(file, value, place, "bbox") for value in box)
        boxes.append((x, y, x + width, y + height))
        area = entry.get("area")
        crowd = entry.get("iscrowd")
        if crowd not in (None, 0, 1):
            raise DataError(f"{file}: {place}: 'iscrowd' must be 0 or 1, not {_short(crowd)}")
        surface = np.nan if area is None else _area(file, area, place)
        rows.append((number, image, category, surface, _CROWD[crowd]))
    ids, owners, kinds, areas, crowds = zip(*rows, strict=True) if rows else ((),) * 5
    return (
        *(np.array(column, dtype=np.int64) for column in (ids, owners, kinds)),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(areas, dtype=np.float64),
        np.array(crowds, dtype=np.int8),
    )


def images_in(file: Path, folders: int | None, piece: Piece) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Ids, sizes and names.

    Args:
        file: for messages.
        folders: how many folders of a name count; None: all of them.
        piece: of the list of images.

    Raises:
        DataError: naming file, place and id.
    """
    found = _plain_images(piece)
    ids, widths, heights, names = found if found is not None else _careful_images(file, piece)
    if folders is not None:
        names = ["/".join(name.split("/")[-folders - 1 :]) for name in names]
    sizes = np.column_stack([np.array(column, dtype=np.int64) for column in (widths, heights)])
    return np.array(ids, dtype=np.int64), sizes, names


def _plain_images(piece: Piece) -> tuple[list[int], list[int], list[int], list[str]] | None:
    """As `_plain_annotations`."""
    try:
        ids, names, widths, heights = ([entry[key] for entry in piece.entries] for key in _IMAGE)
    except (KeyError, TypeError):
        return None
    plain = (
        set(map(type, chain(ids, widths, heights))) <= {int}
        and set(map(type, names)) <= {str}
        and all(map(_is_name, names))
        and all(0 < side < LARGEST for side in chain(widths, heights))
        and all(abs(number) < 2**63 for number in ids)
        and piece.plain(_IMAGE)
    )
    return (ids, widths, heights, names) if plain else None


def _careful_images(file: Path, piece: Piece) -> tuple[list[int], list[int], list[int], list[str]]:
    ids: list[int] = []
    widths: list[int] = []
    heights: list[int] = []
    names: list[str] = []
    for place, entry in _entries(file, piece, _IMAGE):
        ids.append(_integer(file, entry, place, "id"))
        names.append(_text(file, entry, place, "file_name"))
        width, height = (_integer(file, entry, place, key) for key in ("width", "height"))
        if not 0 < min(width, height) <= max(width, height) < LARGEST:
            raise DataError(f"{file}: {place} (image {ids[-1]}) has the size {width}×{height}")
        widths.append(width)
        heights.append(height)
    return ids, widths, heights, names


def categories_in(file: Path, piece: Piece) -> list[tuple[int, str, tuple[float, float] | None]]:
    """Id, name and, where it is known, the offset of each class.

    Raises:
        DataError: naming file and place.
    """
    return [
        (_integer(file, entry, place, "id"), _text(file, entry, place, "name"), _offset(file, entry, place))
        for place, entry in _entries(file, piece, _CATEGORY)
    ]


def _offset(file: Path, entry: dict[str, Any], place: str) -> tuple[float, float] | None:
    if OFFSET_KEY not in entry:
        return None
    value = entry[OFFSET_KEY]
    if not isinstance(value, list) or len(value) != 2:
        raise DataError(f"{file}: {place}.{OFFSET_KEY} must be two numbers, not {_short(value)}")
    x, y = (_number(file, part, place, OFFSET_KEY) for part in value)
    return x, y


def _entries(file: Path, piece: Piece, keys: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a piece, each with its place for messages: ``images[3]``."""
    entries = piece.careful()
    for position, value in enumerate(entries, start=piece.first):
        if not isinstance(value, dict):
            raise DataError(f"{file}: {piece.key}[{position}] must be an object, not {_short(value)}")
        if isinstance(value, Repeated) and (twice := sorted(value.keys_given_twice & set(keys))):
            raise DataError(f"{file}: {piece.key}[{position}]: the key {twice[0]!r} is given twice")
    return [(f"{piece.key}[{position}]", value) for position, value in enumerate(entries, start=piece.first)]


def _integer(file: Path, entry: dict[str, Any], place: str, key: str) -> int:
    value = entry.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    raise DataError(f"{file}: {place}.{key} must be a whole number, not {_short(value, key in entry)}")


def _text(file: Path, entry: dict[str, Any], place: str, key: str) -> str:
    value = entry.get(key)
    if isinstance(value, str) and _is_name(value):
        return value
    raise DataError(f"{file}: {place}.{key} must be text, not {_short(value, key in entry)}")


def _is_name(text: str) -> bool:
    """Whether it can be written and printed: JSON can spell halves of characters, which no file name holds."""
    try:
        return bool(text) and "\0" not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False


def _number(file: Path, value: object, place: str, key: str) -> float:
    """Numbers only: true is not 1, and "12" is not 12. NaN and infinity pass, `build` names them."""
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    raise DataError(f"{file}: {place}: {key!r} must hold numbers, not {_short(value)}")


def _area(file: Path, value: object, place: str) -> float:
    area = _number(file, value, place, "area")
    if 0 <= area < float("inf"):
        return area
    raise DataError(f"{file}: {place}: 'area' must be finite and not negative, not {area}")


def _short(value: object, present: bool = True) -> str:
    """The value as a message shows it."""
    return f"{value!r:.40}" if present else "missing"
