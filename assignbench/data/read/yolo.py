"""Reader of folders in YOLO's layout: ``data.yaml``, pictures below ``images``, their labels below ``labels``.

A label file holds a line for each object: class and ``x y width height`` of the box, counted from its centre, or
class and the corners of a polygon. All numbers are fractions of the picture's width and height.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from assignbench.data.dataset import Dataset, ImageInfo, Repair
from assignbench.data.images import Images
from assignbench.data.pictures import SUFFIXES, picture_size
from assignbench.data.read.annotations import EXAMPLES, Annotations
from assignbench.data.read.build import build_dataset, refuse_missing_pictures
from assignbench.data.read.plain import number, read_lines, whole_number
from assignbench.errors import DataError, UsageError
from assignbench.strict_yaml import read_yaml

NOT_LABELS = {"classes.txt", "notes.txt"}  # what labelling tools leave among the labels
BEYOND = 1e-3  # of a side: a number may lie this far outside 0 … 1, as rounding leaves it


@dataclass(frozen=True)
class YoloFolder:
    """What ``data.yaml`` says; nothing but that file has been read."""

    file: Path
    classes: tuple[str, ...]
    train: tuple[Path, ...]  # folders with pictures, or text files that list pictures
    val: tuple[Path, ...]


def read_yolo_folder(place: Path) -> YoloFolder:
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
    return YoloFolder(file, classes, train, val)


def read_yolo(folder: YoloFolder, places: Sequence[Path], *, name: str, split: str, training: bool) -> Dataset:
    """Read one split.

    Args:
        folder: as `read_yolo_folder` gives it.
        places: ``folder.train`` or ``folder.val``.
        name: canonical spec of the data set.
        split: name of the split.
        training: repair for training, or keep what an evaluation counts (see `build`).

    Raises:
        DataError: naming the file and the line, for anything missing, malformed or inconsistent.
    """
    paths = sorted(path for place in places for path in pictures_in(place))
    if not paths:
        raise DataError(f"{folder.file}: {split} holds no pictures: {', '.join(map(str, places))}")
    labels = [label_file(path) for path in paths]
    owner: dict[Path, Path] = {}
    for path, file in zip(paths, labels, strict=True):
        if file in owner:
            what = "is listed twice" if owner[file] == path else f"and {owner[file].name} share their labels; keep one"
            raise DataError(f"{folder.file}: {path} {what}")
        owner[file] = path
    refuse_missing_pictures(folder.file, Images.of(ImageInfo(0, path, 1, 1) for path in paths))
    objects: list[tuple[int, int, tuple[float, float, float, float]]] = []
    images: list[ImageInfo] = []
    without: list[Path] = []
    for path, file in zip(paths, labels, strict=True):
        images.append(ImageInfo(len(images) + 1, path, *_upright_size(path)))
        if not file.is_file():
            without.append(path)
            continue
        objects.extend((len(images), *one) for one in _objects(file, len(folder.classes), images[-1]))
    if len(without) == len(paths):
        raise DataError(f"{folder.file}: none of {len(paths)} pictures has labels; the first belong into {labels[0]}")
    return build_dataset(
        name=name,
        split=split,
        source=folder.file,
        categories=list(enumerate(folder.classes)),
        classes=folder.classes,
        images=images,
        annotations=Annotations.of(
            range(1, len(objects) + 1),
            [owner for owner, _, _ in objects],
            [label for _, label, _ in objects],
            [box for _, _, box in objects],
            [False] * len(objects),
        ),
        training=training,
        repairs=[
            *_counted("picture without a label file, taken as one without objects", without),
            *_counted("label file without a picture left aside", orphans(places, set(labels))),
        ],
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


def pictures_in(place: Path) -> list[Path]:
    """Every picture of a folder and its folders, or of a list."""
    if place.is_dir():
        found = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
        return [path for path in found if path.suffix.lower() in SUFFIXES]
    lines = [line.strip() for line in read_lines(place, "list of pictures")]
    return [Path(os.path.normpath(place.parent / line)) for line in lines if line]


def label_file(picture: Path) -> Path:
    """``…/images/a/b.jpg`` → ``…/labels/a/b.txt``; beside the picture where no folder is called images."""
    parts = list(picture.with_suffix(".txt").parts)
    for at in reversed(range(len(parts) - 1)):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts)


def orphans(places: Sequence[Path], wanted: Container[Path]) -> list[Path]:
    """Label files of whole folders that belong to no picture."""
    folders = {label_file(place / "a").parent for place in places if place.is_dir()}
    found = (Path(folder, name) for place in folders for folder, _, names in os.walk(place) for name in names)
    return sorted(
        path for path in found if path.suffix == ".txt" and path.name not in NOT_LABELS and path not in wanted
    )


def _counted(kind: str, paths: Sequence[Path]) -> list[Repair]:
    return [Repair(kind, len(paths), tuple(path.name for path in paths[:EXAMPLES]))] if paths else []


def _upright_size(path: Path) -> tuple[int, int]:
    """Width and height; refused where the picture is shown otherwise than it is stored, for labels refer to that."""
    size = picture_size(path)
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")  # damaged EXIF data that say nothing of an orientation
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # half a dozen unrelated types
        raise DataError(f"the EXIF data of {path} cannot be read: {error}; remove them") from error
    if turned not in (0, 1):
        raise DataError(
            f"{path} is stored turned or mirrored (EXIF orientation {turned}), and labels of YOLO refer to the "
            "picture as it is shown; store its pixels upright"
        )
    return size


def _objects(file: Path, classes: int, image: ImageInfo) -> list[tuple[int, tuple[float, float, float, float]]]:
    """Class and box of each line, in pixels."""
    lines = ((place, line.split()) for place, line in enumerate(read_lines(file, "label file"), start=1))
    return [object_of(f"{file}, line {place}", words, classes, image) for place, words in lines if words]


def object_of(
    place: str, words: list[str], classes: int, image: ImageInfo
) -> tuple[int, tuple[float, float, float, float]]:
    """One line of a label file: class and box, in pixels of the picture."""
    if len(words) == 6:
        raise DataError(f"{place}: six columns, the last of them probably a score; labels have five")
    if len(words) < 5 or len(words) % 2 == 0:
        raise DataError(f"{place}: {len(words)} columns, neither a class and a box nor a class and a polygon")
    try:
        label, fractions = whole_number(words[0]), [number(word) for word in words[1:]]
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    if not 0 <= label < classes:
        raise DataError(f"{place}: there is no class {label}; data.yaml names {classes}, counted from 0")
    if odd := [fraction for fraction in fractions if not -BEYOND <= fraction <= 1 + BEYOND]:  # NaN compares false
        raise DataError(f"{place}: {odd[0]:g} is not a fraction of the picture's size, from 0 to 1; are these pixels?")
    if len(fractions) == 4:
        x, y, width, height = fractions
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        corners = (min(fractions[::2]), min(fractions[1::2]), max(fractions[::2]), max(fractions[1::2]))
    x0, y0, x1, y1 = corners
    return label, (x0 * image.width, y0 * image.height, x1 * image.width, y1 * image.height)
