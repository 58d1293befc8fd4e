"""YOLO's data.yaml as a specification."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from assignbench.data.spec.schema import YoloSpec
from assignbench.errors import DataError, UsageError
from assignbench.strict_yaml import read_yaml


def read_yolo_folder(place: Path) -> YoloSpec:
    """Read ``data.yaml``, or the only YAML file of a folder.

    Raises:
        DataError: naming the file and the key, for anything missing, unknown or contradictory.
    """
    file = place if place.is_file() else _yaml_in(place)
    try:
        content = read_yaml(file)
    except UsageError as error:
        raise DataError(str(error)) from error
    if not isinstance(content, dict):
        raise DataError(f"{file} must hold 'names', 'train' and 'val'")
    classes = _names(file, content)
    stated = content.get("path", "")
    if not isinstance(stated, str):
        raise DataError(f"{file}: 'path' must be text, not {stated!r:.40}")
    base = file.parent / stated
    if not base.is_dir():  # where the data lay when the file was written
        base = file.parent
    train, val = (_places(file, base, content, key) for key in ("train", "val"))
    return YoloSpec(
        format="yolo",
        classes=list(classes),
        train=list(train),
        evaluation=list(val),
        keypoints=content.get("kpt_shape"),
    )


def _yaml_in(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    if (folder / "data.yaml").is_file():
        return folder / "data.yaml"
    found = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(f"{folder} must hold data.yaml or one other YAML file with names, train and val, not {names}")
    return found[0]


def _names(file: Path, content: dict[str, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        wanted = list(range(len(names)))
        if sorted(names, key=str) != sorted(wanted, key=str):
            raise DataError(f"{file}: 'names' must number the classes from 0 to {len(names) - 1} without gaps")
        names = [names[number] for number in wanted]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: 'names' must list the classes, not {names!r:.40}")
    for position, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise DataError(f"{file}: class {position} must be text, not {name!r:.40}; put it in quotes")
    if content.get("nc", len(names)) != len(names):
        raise DataError(f"{file}: 'nc' is {content['nc']!r:.40}, but 'names' lists {len(names)} classes")
    return tuple(names)


def _places(file: Path, base: Path, content: dict[str, Any], key: str) -> tuple[Path, ...]:
    stated = content.get(key)
    listed = stated if isinstance(stated, list) else [stated]
    places = [place for place in listed if isinstance(place, str) and place]
    if not places or len(places) < len(listed):
        raise DataError(f"{file}: {key!r} must be a path or a list of paths, not {stated!r:.40}")
    return tuple(_place(file, base, key, place) for place in places)


def _place(file: Path, base: Path, key: str, place: str) -> Path:
    # Exported archives often say ../train/images and mean train/images.
    for path in (base / place, *([base / place.removeprefix("../")] if place.startswith("../") else [])):
        if path.is_dir() or path.is_file():
            return Path(os.path.normpath(path))
    raise DataError(f"{file}: {key!r} names {place}, but there is no {base / place}")
