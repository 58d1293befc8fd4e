"""The objects of one picture, from the annotation of the same name that lies beside it: COCO's, VOC's or YOLO's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from assignbench.data.dataset import Dataset
from assignbench.data.pictures import read_header
from assignbench.data.read.build import build_dataset
from assignbench.data.read.coco.coco import read_coco
from assignbench.data.read.plain import read_lines
from assignbench.data.read.raw import RawSplit
from assignbench.data.read.rows import Rows
from assignbench.data.read.voc import VocList, read_annotation
from assignbench.data.read.yolo import SHOWN, read_labels
from assignbench.data.read.yolo_habits import Habits
from assignbench.errors import DataError, UsageError

UNNAMED = 1000  # classes of YOLO's labels where no classes.txt names them: they go by their numbers
NAMES = "classes.txt"  # of YOLO, a name a line


def objects_beside(picture: Path) -> Dataset:
    """A split of this picture alone, as a training would have it: boxes are clipped, and repairs are counted.

    Raises:
        UsageError: there is no annotation beside it, or more than one.
        DataError: the picture or the annotation cannot be read, or the annotation does not name the picture.
    """
    read_header(picture)  # what is no picture is refused first
    found = [file for suffix in READERS if (file := picture.with_suffix(suffix)).is_file()]
    if not found:
        names = ", ".join(picture.with_suffix(suffix).name for suffix in READERS)
        raise UsageError(
            f"{picture} has no annotation beside it ({names}); put one there, or give its objects with --boxes"
        )
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise UsageError(f"{picture} has several annotations beside it, {names}; keep one, or use --boxes")
    raw = READERS[found[0].suffix](found[0], picture)
    return build_dataset(raw, name=picture.name, split="train (beside the picture)", classes=None, training=True)


def _coco(file: Path, picture: Path) -> RawSplit:
    raw = read_coco(file, picture.parent, "train", hashlib.sha256(), folders=0)
    own = np.array([Path(name).name == picture.name for name in raw.images.names()], dtype=np.bool_)
    if raw.readable and not own.any():
        raise DataError(f"{file} names no picture {picture.name}; correct its file_name, or use --boxes")
    return raw.only(own) if raw.readable else raw


def _voc(file: Path, picture: Path) -> RawSplit:
    rows, folder = Rows("train", file), picture.parent
    read_annotation(rows, VocList(folder, None, folder, folder), file.stem, {file.stem: [picture]}, 1)
    return rows.split(list(enumerate(sorted({found.name for _, found in rows.objects}), start=1)))


def _yolo(file: Path, picture: Path) -> RawSplit:
    rows, named = Rows("train", file), file.with_name(NAMES)
    lines = read_lines(named, "list of classes") if named.is_file() else []
    names = [line.strip() for line in lines if line.strip()] or [str(number) for number in range(UNNAMED)]
    rows.picture(picture, read_header(picture, SHOWN).size)
    read_labels(rows, file, names, None, habits := Habits())
    for kind, text in habits.findings():
        rows.say(kind, text)
    raw = rows.split(list(enumerate(names)))
    return replace(raw, images=replace(raw.images, stored=SHOWN))


READERS: Mapping[str, Callable[[Path, Path], RawSplit]] = {".json": _coco, ".xml": _voc, ".txt": _yolo}
