"""YOLO's own ``data.yaml`` → what it says of a data set, with paths that exist here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from assignbench.data.spec.recognise.splits import SHARE
from assignbench.data.spec.schema import YoloSpec
from assignbench.data.spec.tails import existing_tail
from assignbench.errors import DataError, UsageError
from assignbench.strict_yaml import read_yaml

_EVALUATION = ("val", "valid", "validation", "test")  # keys, the first that says something is taken


@dataclass(frozen=True)
class DataYaml:
    """What a ``data.yaml`` says of a data set."""

    spec: YoloSpec
    key: str | None  # of the split that is taken for evaluation; None: ``train`` is divided
    unused: bool  # ``test`` is stated, and not taken
    instead: tuple[str, ...]  # what is taken for paths that are not there, in sentences
    from_inside: bool  # ``../train/images`` stands for ``train/images``, as in archives of Roboflow


@dataclass(frozen=True)
class _Place:
    path: Path  # relative to the file's folder, or absolute
    instead: str | None = None  # as `DataYaml.instead`
    from_inside: bool = False


def is_data_yaml(content: object) -> bool:
    """Whether a YAML document is a data set as YOLO describes it."""
    return isinstance(content, Mapping) and "format" not in content and "names" in content and "train" in content


def read_data_yaml(file: Path) -> DataYaml:
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
    path = _stated_path(file, content)
    train = _places(file, path, content, "train")
    if not train:
        raise DataError(f"{file}: 'train' must be a path or a list of paths, not {content.get('train')!r:.40}")
    key = next((key for key in _EVALUATION if content.get(key)), None)
    evaluation = [] if key is None else _places(file, path, content, key)
    places = (*train, *evaluation)
    spec = YoloSpec(
        format="yolo",
        classes=list(classes),
        train=[place.path for place in train],
        evaluation=[place.path for place in evaluation] or None,
        split=None if evaluation else SHARE,
        keypoints=_keypoints(file, content),
    )
    needless = _is_place(file.parent / path) or all(place.path.is_absolute() for place in places)
    ignored = [] if needless else [instead_of(file.name, path, "the folder of the file")]
    return DataYaml(
        spec,
        key,
        key != "test" and bool(content.get("test")),
        (*ignored, *dict.fromkeys(place.instead for place in places if place.instead)),
        any(place.from_inside for place in places),
    )


def instead_of(file: str, stated: str, taken: str, *, there: bool = False) -> str:
    """That not what a file names is taken; ``there``: though it exists."""
    return f"{file} names {stated}, which is {'not used' if there else 'not there'}; {taken} is taken instead"


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


def _stated_path(file: Path, content: Mapping[str, Any]) -> str:
    """``path``: the folder that the other paths are relative to; it need not be there."""
    stated = content.get("path") or ""
    if not isinstance(stated, str):
        raise DataError(f"{file}: 'path' must be text, not {stated!r:.40}")
    return stated


def _places(file: Path, path: str, content: Mapping[str, Any], key: str) -> list[_Place]:
    stated = content.get(key)
    if not stated:
        return []
    listed = stated if isinstance(stated, list) else [stated]
    if not all(isinstance(place, str) and place for place in listed):
        raise DataError(f"{file}: {key!r} must be a path or a list of paths, not {stated!r:.40}")
    return [_place(file, path, key, place) for place in listed]


def _place(file: Path, path: str, key: str, stated: str) -> _Place:
    folder = file.parent
    spelt = stated.replace("\\", "/")
    named = Path(os.path.normpath(folder / path / spelt))
    there = _is_place(named)
    inside = spelt.removeprefix("../")  # exported archives say ../train/images and mean train/images
    from_inside = inside != spelt and _is_place(folder / inside)
    if from_inside:  # whatever lies beside the folder belongs to another data set
        found = next(base / inside for base in (folder / path, folder) if _is_place(base / inside))
    else:
        # Other paths come from another machine.
        found = named if there else folder / spelt if _is_place(folder / spelt) else existing_tail(folder, spelt)
    if found is None or not _is_place(found):
        raise DataError(f"{file}: {key!r} names {stated}, but there is no {named}; correct the path")
    whole = Path(os.path.normpath(found))
    taken = whole.relative_to(folder) if whole.is_relative_to(folder) else whole
    usable = _is_place(folder / path)  # else it is said once that `path` is not
    meant = named if usable else Path(os.path.normpath(folder / spelt))
    if whole == meant or (from_inside and not there):
        return _Place(taken, None, from_inside)
    absolute = PurePosixPath(spelt).is_absolute() or PureWindowsPath(stated).is_absolute()
    full = f"{path.rstrip('/')}/{stated}" if path and usable and not absolute else stated
    return _Place(taken, instead_of(file.name, full, taken.as_posix(), there=there))


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
