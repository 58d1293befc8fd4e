"""Reader of COCO instance annotations (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assignbench.data.annotations import Annotations
from assignbench.data.build import build_dataset
from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.errors import DataError

# Our own addition to a category, written by the generated data set and read back here.
OFFSET_KEY = "assignbench_offset"


def read_coco(
    file: Path,
    pictures: Path,
    *,
    name: str,
    split: str,
    training: bool,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Read one split.

    Args:
        file: ``instances_*.json``.
        pictures: folder that every ``file_name`` is relative to.
        name: canonical spec of the data set.
        split: name of the split.
        training: repair for training, or keep what an official evaluation counts (see `build`).
        classes: classes of the training split, for an evaluation split; category ids may differ
            between the two files, names may not.

    Raises:
        DataError: naming the file and the place, for anything missing, malformed or inconsistent.
    """
    content = _load(file)
    categories = [
        (_integer(file, entry, place, "id"), _text(file, entry, place, "name"))
        for place, entry in _entries(file, content, "categories")
    ]
    images = [_image(file, entry, place, pictures) for place, entry in _entries(file, content, "images")]
    return build_dataset(
        name=name,
        split=split,
        source=file,
        categories=categories,
        classes=classes,
        images=images,
        annotations=_annotations(file, content),
        training=training,
        offsets=_offsets(file, content),
    )


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"no annotation file {file}; put it there") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # malformed JSON, or not UTF-8
        raise DataError(f"{file} is not valid JSON: {error}; it may be truncated, copy it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: the top level must be an object with images, annotations and categories")
    return content


def _entries(file: Path, content: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a list, each with its place for messages: ``images[3]``."""
    values = content.get(key)
    if not isinstance(values, list):
        raise DataError(f"{file}: {key!r} is missing or not a list")
    for position, value in enumerate(values):
        if not isinstance(value, dict):
            raise DataError(f"{file}: {key}[{position}] must be an object, not {_short(value)}")
    return [(f"{key}[{position}]", value) for position, value in enumerate(values)]


def _image(file: Path, entry: dict[str, Any], place: str, pictures: Path) -> ImageInfo:
    image = ImageInfo(
        id=_integer(file, entry, place, "id"),
        path=pictures / _text(file, entry, place, "file_name"),
        width=_integer(file, entry, place, "width"),
        height=_integer(file, entry, place, "height"),
    )
    if image.width < 1 or image.height < 1:
        raise DataError(f"{file}: {place} (image {image.id}) has the size {image.width}×{image.height}")
    return image


def _annotations(file: Path, content: dict[str, Any]) -> Annotations:
    found = Annotations()
    for place, entry in _entries(file, content, "annotations"):
        found.ids.append(_integer(file, entry, place, "id"))
        found.image_ids.append(_integer(file, entry, place, "image_id"))
        found.category_ids.append(_integer(file, entry, place, "category_id"))
        place = f"{place} (annotation {found.ids[-1]} of image {found.image_ids[-1]})"
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise DataError(f"{file}: {place}: 'bbox' must be [x, y, width, height], not {_short(box)}")
        x, y, width, height = (_number(file, value, place, "bbox") for value in box)
        found.boxes.append((x, y, x + width, y + height))
        area = entry.get("area")
        found.areas.append(None if area is None else _area(file, area, place))
        crowd = entry.get("iscrowd")
        if crowd not in (None, 0, 1):
            raise DataError(f"{file}: {place}: 'iscrowd' must be 0 or 1, not {_short(crowd)}")
        found.crowd.append(None if crowd is None else bool(crowd))
    return found


def _offsets(file: Path, content: dict[str, Any]) -> dict[str, tuple[float, float]]:
    offsets = {}
    for place, entry in _entries(file, content, "categories"):
        if OFFSET_KEY in entry:
            value = entry[OFFSET_KEY]
            if not isinstance(value, list) or len(value) != 2:
                raise DataError(f"{file}: {place}.{OFFSET_KEY} must be two numbers, not {_short(value)}")
            x, y = (_number(file, part, place, OFFSET_KEY) for part in value)
            offsets[entry["name"]] = (x, y)
    return offsets


def _integer(file: Path, entry: dict[str, Any], place: str, key: str) -> int:
    value = entry.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    raise DataError(f"{file}: {place}.{key} must be a whole number, not {_short(value, key in entry)}")


def _text(file: Path, entry: dict[str, Any], place: str, key: str) -> str:
    value = entry.get(key)
    if isinstance(value, str) and value:
        return value
    raise DataError(f"{file}: {place}.{key} must be text, not {_short(value, key in entry)}")


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
