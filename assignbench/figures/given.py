"""A picture that no run belongs to, and its objects: of a data set, annotated beside, given in words, or drawn here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assignbench.data.images import ImageInfo
from assignbench.data.pictures import read_header, read_picture, refuse_dim
from assignbench.data.read.beside import objects_beside
from assignbench.data.read.yolo import SHOWN
from assignbench.data.shapes.forms import FORMS
from assignbench.data.shapes.scene import draw_scene
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, UsageError
from assignbench.figures.picture import Picture, find_picture, open_picture

UNNAMED = "object"  # class of a box in words that has none
SCENE = (512, 384)  # width and height of a drawn picture, pixels
SIDES = (14.0, 340.0)  # of its objects, pixels: from less than a stride to most of the picture


def picture_beside(file: Path) -> tuple[Picture, tuple[str, ...]]:
    """A picture with the annotation of its name, and what was repaired in it.

    Raises:
        As `objects_beside`.
    """
    dataset = objects_beside(file)
    refuse_dim(dataset.images, file.name)
    picture = open_picture(dataset, 0)
    return _of_used_classes(replace(picture, called=file.name)), tuple(str(repair) for repair in dataset.repairs)


def picture_with(file: Path, boxes: str) -> Picture:
    """A picture, as viewers show it, with objects in words: ``x0 y0 x1 y1 [class], …`` in pixels.

    Raises:
        UsageError: the words are no boxes, or one reaches beyond the picture.
        DataError: the picture cannot be read, or would be nearly black.
    """
    width, height = read_header(file, SHOWN).size
    found = [_box_of(words, number, width, height) for number, words in enumerate(boxes.split(","), start=1)]
    names = [name for _, name in found]
    info = ImageInfo(1, file, width, height, SHOWN)
    refuse_dim([info], file.name)
    return made(info, read_picture(info), [box for box, _ in found], names, file.name)


def picture_of(spec: str, wanted: str | None, data_root: Path) -> Picture:
    """A picture of a data set, of its evaluation split if it is there; None: the first with an object.

    Raises:
        UsageError: there is no such data set or picture.
        DataError: it cannot be read.
    """
    splits = open_dataset(spec, data_root)
    if wanted is None:
        holding = splits.evaluation.image[~splits.evaluation.crowd]
        if not len(holding):
            raise DataError(f"{splits.evaluation.name}: its evaluation split holds no object; name a picture: --image")
        return open_picture(splits.evaluation, int(holding[0]))
    try:
        return open_picture(splits.evaluation, find_picture(splits.evaluation, wanted, "--image"))
    except UsageError as error:
        try:
            return open_picture(splits.train, find_picture(splits.train, wanted, "--image"))
        except UsageError:
            raise error from None


def picture_drawn(seed: int) -> Picture:
    """A scene like those of the data set `shapes`, the same for the same seed."""
    width, height = SCENE
    pixels, drawn = draw_scene(np.random.default_rng(seed), width=width, height=height, sizes=SIDES)
    forms = list(FORMS)
    info = ImageInfo(1, Path(f"scene {seed}"), width, height)
    names = [forms[one.label] for one in drawn]
    return made(info, pixels, [one.box for one in drawn], names, f"generated scene {seed}")


def made(
    info: ImageInfo, pixels: NDArray[np.uint8], boxes: Sequence[Sequence[float]], names: Sequence[str], called: str
) -> Picture:
    """A picture from its parts; its classes are those that occur, in the order of their names."""
    classes = tuple(sorted(set(names)))
    labels = np.array([classes.index(name) for name in names], dtype=np.int64)
    nothing = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
    table = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Picture(0, info, pixels, table, labels, *nothing, classes, called)


def with_classes(picture: Picture, classes: Sequence[str], whose: str) -> Picture:
    """The same picture, labelled by the classes that a detector has learned.

    Raises:
        UsageError: an object is of another class.
    """
    known = {name: label for label, name in enumerate(classes)}
    if strange := sorted({picture.name(number) for number in range(len(picture.labels))} - known.keys()):
        some = ", ".join(list(known)[:12]) + (", …" if len(known) > 12 else "")
        raise UsageError(f"{whose} has learned no class {strange[0]!r}; {picture.title} has it. It knows {some}")
    labels = np.array([known[picture.name(number)] for number in range(len(picture.labels))], dtype=np.int64)
    regions = np.zeros(len(picture.ignored_labels), dtype=np.int64)  # what teaches nothing needs no class
    return replace(picture, labels=labels, ignored_labels=regions, classes=tuple(classes))


def _of_used_classes(picture: Picture) -> Picture:
    """Without the classes that no object has, of which a list of labels may name a thousand."""
    used = sorted(set(picture.labels.tolist()))
    return with_classes(picture, [picture.classes[label] for label in used], "nobody")


def _box_of(words: str, number: int, width: int, height: int) -> tuple[tuple[float, ...], str]:
    parts = words.split()
    try:
        box = tuple(float(part) for part in parts[:4])
    except ValueError:
        box = ()
    if len(box) < 4 or not all(map(math.isfinite, box)):
        raise UsageError(
            f"--boxes: box {number} is {words.strip()!r}; write x0 y0 x1 y1 in pixels and, if you like, a class, and "
            "a comma between boxes"
        )
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise UsageError(
            f"--boxes: box {number}, {words.strip()!r}, has no area; write x0 y0 x1 y1 with x0 < x1, y0 < y1"
        )
    if min(box) < 0 or x1 > width or y1 > height:
        raise UsageError(
            f"--boxes: box {number}, {words.strip()!r}, reaches beyond the picture, which is {width} × {height} pixels"
        )
    return box, " ".join(parts[4:]) or UNNAMED
