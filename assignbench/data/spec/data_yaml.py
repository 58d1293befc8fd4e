"""YOLO's own ``data.yaml`` → what it says of a data set, with paths that exist here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from assignbench.data.spec.recognise.splits import SHARE
from assignbench.data.spec.schema import YoloSpec
from assignbench.data.spec.tails import existing_tail
from assignbench.errors import DataError, UsageError
from assignbench.strict_yaml import read_yaml

_EVALUATION = ("val", "valid", "validation", "test")  # keys, the first that says something is taken


def is_data_yaml(content: object) -> bool:
    """Whether a YAML document is a data set as YOLO describes it."""
    return isinstance(content, Mapping) and "format" not in content and "names" in content and "train" in content


def spec_of_yaml(file: Path) -> YoloSpec:
    """Read ``data.yaml``.

    Paths are looked up below ``path``, beside the file, and below the file's folder under every tail of them, as they
    come from other machines. Those inside the file's folder are relative to it, the others absolute.

    Raises:
        DataError: naming the file and the key, for anything missing, unknown or contradictory.
    """
    try:
        content = read_yaml(file)
    except UsageError as error:
        raise DataError(str(error)) from error
    if not isinstance(content, dict):
        raise DataError(f"{file} must hold 'names', 'train' and 'val'")
    classes = _names(file, content)
    bases = _bases(file, content)
    train = _places(file, bases, content, "train")
    if not train:
        raise DataError(f"{file}: 'train' must be a path or a list of paths, not {content.get('train')!r:.40}")
    key = evaluation_key(content)
    evaluation = None if key is None else _places(file, bases, content, key)
    return YoloSpec(
        format="yolo",
        classes=list(classes),
        train=train,
        evaluation=evaluation or None,
        split=None if evaluation else SHARE,
        keypoints=_keypoints(file, content),
    )


def evaluation_key(content: Mapping[str, Any]) -> str | None:
    """The key of the split that `spec_of_yaml` takes for evaluation; None: ``train`` is divided."""
    return next((key for key in _EVALUATION if content.get(key)), None)


def _names(file: Path, content: Mapping[str, Any]) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        numbers = {str(key): name for key, name in names.items()}
        if set(numbers) != {str(number) for number in range(len(names))}:
            raise DataError(f"{file}: 'names' must number the classes from 0 to {len(names) - 1} without gaps")
        names = [numbers[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: 'names' must list the classes, not {names!r:.40}")
    for position, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise DataError(f"{file}: class {position} must be text, not {name!r:.40}; put it in quotes")
    names = [name.strip() for name in names]
    if repeated := [name for position, name in enumerate(names) if name in names[:position]]:
        raise DataError(f"{file}: the class {repeated[0]!r} is named twice; give each class a name of its own")
    if str(content.get("nc", len(names))) != str(len(names)):
        raise DataError(f"{file}: 'nc' is {content['nc']!r:.40}, but 'names' lists {len(names)} classes")
    return names


def _bases(file: Path, content: Mapping[str, Any]) -> list[Path]:
    """Folders that paths may be relative to: ``path``, if it exists here, then the file's own."""
    stated = content.get("path") or ""
    if not isinstance(stated, str):
        raise DataError(f"{file}: 'path' must be text, not {stated!r:.40}")
    return list(dict.fromkeys((file.parent / stated, file.parent)))


def _places(file: Path, bases: Sequence[Path], content: Mapping[str, Any], key: str) -> list[Path]:
    stated = content.get(key)
    if not stated:
        return []
    listed = stated if isinstance(stated, list) else [stated]
    if not all(isinstance(place, str) and place for place in listed):
        raise DataError(f"{file}: {key!r} must be a path or a list of paths, not {stated!r:.40}")
    return [_place(file, bases, key, place) for place in listed]


def _place(file: Path, bases: Sequence[Path], key: str, stated: str) -> Path:
    spelt = stated.replace("\\", "/")
    inside = spelt.removeprefix("../")  # exported archives say ../train/images and mean train/images
    if inside != spelt and _is_place(file.parent / inside):
        spelt = inside  # whatever lies beside the folder belongs to another data set
    found = next((base / spelt for base in bases if _is_place(base / spelt)), None)
    # Other paths come from another machine.
    found = found or existing_tail(file.parent, spelt)
    if found is None or not _is_place(found):
        raise DataError(
            f"{file}: {key!r} names {stated}, but there is no {os.path.normpath(bases[0] / spelt)}; correct the path"
        )
    whole = Path(os.path.normpath(found))
    return whole.relative_to(file.parent) if whole.is_relative_to(file.parent) else whole


def _is_place(path: Path) -> bool:
    try:
        return path.is_dir() or path.is_file()
    except (OSError, ValueError):
        return False


def _keypoints(file: Path, content: Mapping[str, Any]) -> tuple[int, Literal[2, 3]] | None:
    """``kpt_shape``: how many keypoints follow a box, and the numbers of each."""
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(number) is int for number in shape)
    if not whole or shape[0] < 1 or shape[1] not in (2, 3):
        raise DataError(f"{file}: 'kpt_shape' must be [how many, 2 or 3], not {shape!r:.40}")
    return shape[0], 2 if shape[1] == 2 else 3
