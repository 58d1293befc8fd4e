"""One entry of COCO's lists, read with care: what is clear is put right and noted, the rest is refused by name.

Clear is what has one meaning only: a whole number as ``1.0``, a number as text, ``iscrowd`` as true or false, an
object with an outline and no box. A key given twice has two meanings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assignbench.data.read import plain
from assignbench.data.read.coco.pieces import Repeated
from assignbench.data.read.coco.text_ids import LARGEST as LARGEST_ID
from assignbench.data.read.coco.text_ids import SMALLEST as SMALLEST_ID
from assignbench.data.read.coco.text_ids import TextIds
from assignbench.data.read.findings import (
    BOX_FROM_MASK,
    BOX_FROM_POLYGON,
    BOX_ROTATED,
    CROWD_BOOLEAN,
    NAME_BLANKS,
    NUMBER_IN_TEXT,
    WHOLE_WITH_POINT,
    Kind,
)
from assignbench.data.read.rules import LARGEST

# Our own addition to a category, written by the generated data set and read back by the reader.
OFFSET_KEY = "assignbench_offset"

_ONE_OF = {"images": "image", "annotations": "annotation", "categories": "category"}
_EXACT = 2.0**53  # a float below it has all digits of a whole number


class Unclear(Exception):  # noqa: N818  # a sentence about an entry
    """An entry that cannot be understood; the message names its place and says why."""


@dataclass(frozen=True)
class Texts:
    """Ids that are text, by what they are ids of."""

    images: TextIds = field(default_factory=TextIds)
    annotations: TextIds = field(default_factory=TextIds)
    categories: TextIds = field(default_factory=TextIds)


@dataclass(frozen=True)
class Entry:
    """An entry as the file has it, and what was put right in it so far."""

    place: str  # "annotations[3]"
    value: Any
    notes: dict[Kind, list[str]] = field(default_factory=dict)  # what was put right → in which keys

    def note(self, kind: Kind, key: str) -> None:
        """Write a repair down."""
        keys = self.notes.setdefault(kind, [])
        if key not in keys:
            keys.append(key)

    def unclear(self, sentence: str) -> Unclear:
        """With the place and, as far as they are known, the ids."""
        return Unclear(f"{self.place}{self._named()}: {sentence}")

    def _named(self) -> str:
        if not isinstance(self.value, dict) or "id" not in self.value:
            return ""
        what = _ONE_OF.get(self.place.partition("[")[0], "entry")
        of = f" of image {_short(self.value['image_id'])}" if "image_id" in self.value else ""
        return f" ({what} {_short(self.value['id'])}{of})"

    def once(self, *keys: str) -> None:
        """Refuse what is no object, or gives one of these keys twice."""
        if not isinstance(self.value, dict):
            raise Unclear(f"{self.place} must be an object, not {_short(self.value)}")
        twice = sorted(self.value.keys_given_twice & set(keys)) if isinstance(self.value, Repeated) else ()
        if twice:
            raise Unclear(f"{self.place}: the key {twice[0]!r} is given twice")

    def id(self, key: str, texts: TextIds) -> int:
        """An id; one that is text stands as a provisional number."""
        value = self.value.get(key)
        if isinstance(value, str) and is_name(value):
            return texts.provisional(value)
        number = self.whole(key)
        if not SMALLEST_ID <= number <= LARGEST_ID:
            raise self.unclear(f"{key!r} is {_short(number)}, which has more digits than can be kept (64 bits)")
        return number

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.value.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
            self.note(WHOLE_WITH_POINT, key)
            return int(value)
        raise self.unclear(f"{key!r} must be a whole number, not {self.shown(key)}")

    def text(self, key: str) -> str:
        """A text that can be written and printed."""
        value = self.value.get(key)
        if isinstance(value, str) and is_name(value):
            return value
        raise self.unclear(f"{key!r} must be text, not {self.shown(key)}")

    def number(self, key: str, value: object) -> float:
        """A number that stands at a key; NaN and infinity pass, for they are found later, box by box."""
        if isinstance(value, str):
            try:
                number = plain.number(value)
            except ValueError:
                raise self.unclear(f"{key!r} must hold numbers, not {_short(value)}") from None
            self.note(NUMBER_IN_TEXT, key)
            return number
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.unclear(f"{key!r} must hold numbers, not {_short(value)}")
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def shown(self, key: str) -> str:
        """The value at a key as a message shows it."""
        return _short(self.value[key]) if key in self.value else "missing"


def image_of(entry: Entry, texts: Texts) -> tuple[int, int, int, str]:
    """Id, width, height, name; width and height are 0 where no usable size is stated.

    Raises:
        Unclear: it cannot be understood.
    """
    entry.once("id", "file_name", "width", "height")
    number, name = entry.id("id", texts.images), entry.text("file_name")
    width, height = (_side(entry, key) for key in ("width", "height"))
    return (number, width, height, name) if width and height else (number, 0, 0, name)


def _side(entry: Entry, key: str) -> int:
    """A width or height; 0 where it is missing or impossible, for the picture itself has one."""
    value = entry.value.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        side = plain.number(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return 0
    if not 0 < side < LARGEST or not side.is_integer():
        return 0
    if not isinstance(value, int):
        entry.note(NUMBER_IN_TEXT if isinstance(value, str) else WHOLE_WITH_POINT, key)
    return int(side)


def category_of(entry: Entry, texts: Texts) -> tuple[int, str, str | None, tuple[float, float] | None]:
    """Id, name, supercategory and, where it is known, the offset of a class.

    Blanks at the ends of a name go, in every file alike, so that the splits' classes stay the same.

    Raises:
        Unclear: it cannot be understood.
    """
    entry.once("id", "name", "supercategory", OFFSET_KEY)
    number, stated = entry.id("id", texts.categories), entry.text("name")
    name, parent = stated.strip(), entry.value.get("supercategory")
    if not name:
        raise entry.unclear(f"'name' must be text, not {_short(stated)}")
    if name != stated:
        entry.note(NAME_BLANKS, repr(stated))
    offset = None
    if OFFSET_KEY in entry.value:
        pair = entry.value[OFFSET_KEY]
        if not isinstance(pair, list) or len(pair) != 2:
            raise entry.unclear(f"{OFFSET_KEY!r} must be two numbers, not {_short(pair)}")
        offset = (entry.number(OFFSET_KEY, pair[0]), entry.number(OFFSET_KEY, pair[1]))
    return number, name, parent.strip() if isinstance(parent, str) else None, offset


Annotation = tuple[int, int, int, tuple[float, float, float, float], float, int]  # as `Annotations` has its columns


def annotation_of(entry: Entry, texts: Texts) -> Annotation:
    """Id, image id, category id, box (x0 y0 x1 y1), area (NaN: not stated) and crowd (−1: not stated).

    Raises:
        Unclear: it cannot be understood.
    """
    entry.once("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    number = entry.id("id", texts.annotations)
    image = entry.id("image_id", texts.images)
    category = entry.id("category_id", texts.categories)
    x, y, width, height = _box(entry)
    attributes = entry.value.get("attributes")
    if isinstance(attributes, dict) and attributes.get("rotation", 0) not in (0, None, "", "0", "0.0"):
        entry.note(BOX_ROTATED, f"rotation {_short(attributes['rotation'])}")
    return number, image, category, (x, y, x + width, y + height), _area(entry), _crowd(entry)


def _area(entry: Entry) -> float:
    value = entry.value.get("area")
    if value is None:
        return math.nan
    area = entry.number("area", value)
    if not 0 <= area < math.inf:
        raise entry.unclear(f"'area' must be finite and not negative, not {area}")
    return area


def _crowd(entry: Entry) -> int:
    value = entry.value.get("iscrowd")
    if value is None:
        return -1
    if isinstance(value, bool):
        entry.note(CROWD_BOOLEAN, "iscrowd")
    elif isinstance(value, str) and value in ("0", "1"):
        entry.note(NUMBER_IN_TEXT, "iscrowd")
    elif isinstance(value, float) and value in (0, 1):
        entry.note(WHOLE_WITH_POINT, "iscrowd")
    elif not isinstance(value, int) or value not in (0, 1):
        raise entry.unclear(f"'iscrowd' must be 0 or 1, not {_short(value)}")
    return int(value)


def _box(entry: Entry) -> Sequence[float]:
    """x, y, width, height."""
    value = entry.value.get("bbox")
    if value is not None and value != []:
        if not isinstance(value, list) or len(value) != 4:
            raise entry.unclear(f"'bbox' must be [x, y, width, height], not {_short(value)}")
        return [entry.number("bbox", part) for part in value]
    entry.once("segmentation")
    outline = entry.value.get("segmentation")
    if isinstance(outline, dict):
        return _around_mask(entry, outline)
    if isinstance(outline, list) and outline:
        entry.note(BOX_FROM_POLYGON, "bbox")
        return _around_polygons(entry, outline if isinstance(outline[0], list) else [outline])
    raise entry.unclear(f"'bbox' must be [x, y, width, height], not {entry.shown('bbox')}; there is no outline either")


def _around_polygons(entry: Entry, polygons: Sequence[Any]) -> Sequence[float]:
    points: list[float] = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 4 or len(polygon) % 2:
            raise entry.unclear(
                f"it has no 'bbox', and 'segmentation' is not made of [x, y, x, y, …] but of {_short(polygon)}"
            )
        points += (entry.number("segmentation", value) for value in polygon)
    if not all(map(math.isfinite, points)):
        raise entry.unclear("it has no 'bbox', and 'segmentation' has a corner that is not finite")
    x, y = min(points[::2]), min(points[1::2])
    return x, y, max(points[::2]) - x, max(points[1::2]) - y


def _around_mask(entry: Entry, mask: dict[str, Any]) -> Sequence[float]:
    """Of a mask as run lengths, column by column, empty first."""
    counts, size = mask.get("counts"), mask.get("size")
    if isinstance(counts, str):
        raise entry.unclear(
            "it has no 'bbox', only a compressed mask; add the box that pycocotools.mask.toBbox gives for it"
        )
    if (
        isinstance(mask, Repeated)
        or not (isinstance(counts, list) and isinstance(size, list) and len(size) == 2)
        or not all(type(number) is int and 0 <= number < LARGEST for number in (*counts, *size))
        or sum(counts) != size[0] * size[1]
    ):
        raise entry.unclear(
            "it has no 'bbox', and 'segmentation' is no mask: 'counts' must add up to the area of 'size'"
        )
    ends = np.cumsum(np.array(counts, dtype=np.int64))
    first, last = ends[:-1:2], ends[1::2] - 1  # of each run of the object
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        raise entry.unclear("it has no 'bbox', and its mask is empty")
    height = size[0]
    left, right = int(first.min()) // height, int(last.max()) // height
    crosses = bool(np.any(first // height < last // height))  # into the next column: from the bottom to the top
    top, bottom = (0, height - 1) if crosses else (int((first % height).min()), int((last % height).max()))
    entry.note(BOX_FROM_MASK, "bbox")
    return left, top, right - left + 1, bottom - top + 1


def is_name(text: str) -> bool:
    """Whether it can be written and printed: JSON can spell halves of characters, which no file name holds."""
    try:
        return bool(text) and "\0" not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False


def _short(value: object) -> str:
    """A value as a message shows it."""
    return f"{value!r:.40}"
