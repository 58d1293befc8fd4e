"""Reader of Pascal VOC folders (http://host.robots.ox.ac.uk/pascal/VOC/, development kit, section 5).

A folder holds ``ImageSets/Main/LIST.txt`` with one picture name a line, ``Annotations/NAME.xml`` and
``JPEGImages/NAME.*``; without a list, every annotation counts. There are no ids: pictures and objects are numbered
from 1 in sorted order.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assignbench.data.folders import SUFFIXES, aside_in, leaves, led_out, pictures_below
from assignbench.data.read.findings import (
    BOX_ROTATED,
    CORNERS_EXCHANGED,
    ENTRY_MALFORMED,
    LABELS_ORPHAN,
    LABELS_UNREADABLE,
    LINE_RESPELT,
    LISTED_AGAIN,
    NAME_BLANKS,
    PICTURE_ASIDE,
    PICTURE_RESPELT,
    PICTURE_UNLABELLED,
    PIXEL_ORIGIN,
)
from assignbench.data.read.picture_names import on_one_line, several
from assignbench.data.read.plain import doubtful, number, read_lines, whole_number
from assignbench.data.read.raw import RawSplit, unreadable
from assignbench.data.read.rows import Box, Object, Rows
from assignbench.data.read.rules import LARGEST
from assignbench.data.read.xml import declares, parse_xml, text_of
from assignbench.errors import DataError

_TRUTH = {"": None, "unspecified": None, "0": False, "1": True, "false": False, "true": True}
_FLAGS = ("-1", "0", "1")  # behind a name, in lists of one class
_OTHER_FORMS = ("robndbox", "polygon", "points", "mask")  # where tools put what is no box


@dataclass(frozen=True)
class VocList:
    """One list of one VOC folder."""

    folder: Path  # holds ImageSets
    list: str | None  # "trainval"; None: every annotation
    annotations: Path
    images: Path

    @property
    def file(self) -> Path:
        """The list itself; without one, the folder of annotations."""
        if self.list is None:
            return self.annotations
        return self.folder / "ImageSets" / "Main" / f"{self.list}.txt"


def read_voc(
    lists: Sequence[VocList], part: str, *, classes: Sequence[str] | None = None, pixel_origin: int = 1
) -> RawSplit:
    """Read one split, which may join several lists (VOC 2007 and 2012).

    Args:
        lists: where to read.
        part: "train" or "evaluation".
        classes: the classes; None takes those that occur, sorted by name.
        pixel_origin: 1 as VOC writes it: pixels count from 1 and the last one belongs to the box, so
            ``xmin ymin xmax ymax`` is the box ``xmin−1, ymin−1, xmax, ymax``. 0: the corners are the box.
    """
    rows = Rows(part, lists[0].file)
    for one in lists:
        try:
            _read_list(rows, one, pixel_origin)
        except DataError as error:
            return unreadable(part, one.file, str(error))
    names = classes or sorted({found.name for _, found in rows.objects})
    folders = tuple(dict.fromkeys(one.images for one in lists))
    return rows.split(list(enumerate(names, start=1)), folders=folders, classes=classes)


def _read_list(rows: Rows, one: VocList, pixel_origin: int) -> None:
    found = pictures_below(one.images)
    if one.list is None:  # else nobody has asked for more than the list names
        rows.say(PICTURE_ASIDE, *aside_in(found))
    pictures: dict[str, list[Path]] = {}
    for path in found.paths:
        pictures.setdefault(path.relative_to(one.images).with_suffix("").as_posix(), []).append(path)
    stems = _every(rows, one, pictures) if one.list is None else _listed(rows, one, pictures)
    for stem in stems:
        read_annotation(rows, one, stem, pictures, pixel_origin)


def _every(rows: Rows, one: VocList, pictures: Mapping[str, list[Path]]) -> list[str]:
    """The names of all annotations that have a picture."""
    files = sorted(path for path in one.annotations.rglob("*") if path.suffix.lower() == ".xml")
    names = [file.relative_to(one.annotations).with_suffix("").as_posix() for file in files]
    names = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    again = [name for name, count in Counter(names).items() if count > 1]
    rows.say(LISTED_AGAIN, *(f"{one.annotations}: {name}.xml is there in other cases, too; keep one" for name in again))
    names = list(dict.fromkeys(names))
    rows.say(LABELS_ORPHAN, *(f"{name}.xml" for name in names if name not in pictures))
    unlabelled = sorted(set(pictures) - set(names))
    rows.say(PICTURE_UNLABELLED, *(str(pictures[name][0]) for name in unlabelled))
    return [name for name in names if name in pictures]


def _listed(rows: Rows, one: VocList, pictures: Mapping[str, list[Path]]) -> list[str]:
    """The names of a list, sorted; suffixes and flags behind a name are read over."""
    names: dict[str, int] = {}
    for place, line in enumerate(read_lines(one.file, "image list"), start=1):
        text = line.strip()
        if not text:
            continue
        name = _name_in(text, one, pictures)
        if _are_several(name, pictures) and not _is_there(one, name):
            rows.say(ENTRY_MALFORMED, f"{one.file}, line {place}: {on_one_line(text)}")
            continue
        if leaves(one.annotations, name):
            rows.say(ENTRY_MALFORMED, f"{one.file}, line {place}: {led_out(name, one.annotations)}")
            continue
        if name != text:
            rows.say(LINE_RESPELT, f"{one.file}, line {place}: {text!r:.60}")
        if name in names:
            rows.say(LISTED_AGAIN, f"{one.file}: {name!r} is listed twice; each picture must be listed once")
        names[name] = place
    return sorted(names)


def _name_in(text: str, one: VocList, pictures: Mapping[str, list[Path]]) -> str:
    """The name that a line means: as it stands, if there is such a picture or annotation."""
    if text in pictures or _is_there(one, text):
        return text
    words = text.split()
    bare = text[: text.rindex(words[-1])].rstrip() if len(words) > 1 and words[-1] in _FLAGS else text
    plain = _without_suffix(bare)
    for name in (bare, plain, "" if _are_several(bare, pictures) else plain.rpartition("/")[2]):
        if name and (name in pictures or _is_there(one, name)):
            return name
    return bare


def _are_several(name: str, pictures: Mapping[str, list[Path]]) -> bool:
    """Whether a name, which no picture has, is those of several pictures."""
    if name in pictures:
        return False
    words = re.split(r"[\s,;|]+", name)
    stems = [_without_suffix(word).rpartition("/")[2] for word in words]
    return several(name) or (len(words) > 1 and all(stem in pictures for stem in stems))


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in {*SUFFIXES, ".xml"} else name


def _is_there(one: VocList, stem: str) -> bool:
    """Whether there is such an annotation, below the folder of them."""
    return not leaves(one.annotations, stem) and _file_of(one, stem).is_file()


def _file_of(one: VocList, stem: str) -> Path:
    """The annotation of a name, whatever the case of ``.xml``; it need not be there."""
    files = [one.annotations / f"{stem}{suffix}" for suffix in (".xml", ".XML", ".Xml")]
    return next((file for file in files if file.is_file()), files[0])


def read_annotation(rows: Rows, one: VocList, stem: str, pictures: Mapping[str, list[Path]], pixel_origin: int) -> None:
    """One picture and its objects; ``stem``: its name without suffix, by which ``pictures`` list it."""
    file = _file_of(one, stem)
    same = pictures.get(stem, [])
    path = same[0] if same else one.images / f"{stem}.jpg"
    try:
        if len(same) > 1:
            names = " and ".join(path.name for path in same)
            raise DataError(f"{one.images}: {names} share a name, and with it {file.name}; keep one")
        root = parse_xml(file)
        if root.tag != "annotation":
            raise DataError(f"{file} is not a VOC annotation: its root is <{root.tag}>, not <annotation>")
        stated = text_of(str(file), root, "filename")
        if not same and (named := one.images / Path(stated.replace("\\", "/")).name).is_file() and stated:
            path = named
            rows.say(PICTURE_RESPELT, f"{file.name}: {named.name}")
        size = _size_of(file, root)
        if (stray := _stray(root)) is not None:
            raise DataError(
                f"{file}: a box is in {stray}, where VOC has none: its objects are <annotation><object>. "
                "Rename or move it, else the picture would be taught without this object"
            )
    except DataError as error:
        rows.picture(path, (0, 0))
        rows.say_of_picture(LABELS_UNREADABLE, str(error))
        return
    rows.picture(path, size)
    for place, element in enumerate(root.findall("object"), start=1):
        try:
            _read_object(rows, file, f"{file}: object {place}", element, pixel_origin)
        except DataError as error:
            rows.say_of_picture(ENTRY_MALFORMED, str(error))


def _stray(root: ET.Element) -> str | None:
    """The first element that holds a box and is no object of VOC's, nor a part of one (head, hand, foot): its tags."""
    objects = root.findall("object")
    homes = {*objects, *(part for one in objects for part in one.findall("part"))}
    for element in root.iter():
        if element not in homes and any(child.tag.rpartition("}")[2].casefold() == "bndbox" for child in element):
            around = next((f"<{one.tag}>" for one in root.iter() if element in list(one)), "")
            return f"{around}<{element.tag}>"
    return None


def _size_of(file: Path, root: ET.Element) -> tuple[int, int]:
    """Width and height as the annotation states them; 0 where it does not."""
    stated = [text_of(str(file), root, f"size/{key}") for key in ("width", "height")]
    try:
        width, height = (whole_number(text or "0") for text in stated)
    except ValueError as error:
        raise DataError(f"{file}: <size> must hold whole numbers, not {stated!s:.40}") from error
    if min(width, height) < 0 or max(width, height) >= LARGEST:
        raise DataError(f"{file}: <size> says {width}×{height} pixels; correct or remove it")
    return (width, height) if width and height else (0, 0)


def _read_object(rows: Rows, file: Path, place: str, element: ET.Element, pixel_origin: int) -> None:
    """One ``<object>``: name, box, difficult."""
    name = text_of(place, element, "name")
    if not name:
        raise DataError(f"{place}: <name> is missing or empty")
    if doubtful(name) and not declares(file):
        raise DataError(
            f"{place}: the name {name!r} has no letter of a … z: is the file in another encoding, as GBK? Then its "
            'first line must say so (<?xml version="1.0" encoding="GBK"?>); else give the class a name with one'
        )
    corners = _corners(place, element)
    x0, y0, x1, y1 = corners
    exchanged = x1 < x0 and y1 < y0  # drawn from the lower right corner; one axis alone is a stray click
    if exchanged:
        x0, y0, x1, y1 = x1, y1, x0, y0
    solid = x1 > x0 and y1 > y0
    # Corners that coincide or cross stay as they stand, so that the size is zero or negative and is counted as such.
    box: Box = (x0 - pixel_origin, y0 - pixel_origin, x1, y1) if solid else (x0, y0, x1, y1)
    difficult = text_of(place, element, "difficult")
    if difficult.lower() not in _TRUTH:
        raise DataError(f"{place}: <difficult> must be 0 or 1, not {difficult!r:.40}")
    rows.object(Object(name, box, _TRUTH[difficult.lower()]))
    if element.findtext("name") != name:
        rows.say_of_object(NAME_BLANKS, repr(name))
    if exchanged:
        rows.say_of_object(CORNERS_EXCHANGED, "")
    if any(turn.strip("-0.") for turn in _angles(element)):
        rows.say_of_object(BOX_ROTATED, "")
    if pixel_origin == 1 and (min(x0, y0) < 1 or any(corner % 1 for corner in corners)):
        rows.say_of_object(PIXEL_ORIGIN, "")


def _angles(element: ET.Element) -> list[str]:
    """By which a tool turns a box; CVAT writes it as an attribute."""
    named = [one for one in element.iter("attribute") if (one.findtext("name") or "").strip() == "rotation"]
    return [(one.findtext("value") or "").strip() for one in named]


def _corners(place: str, element: ET.Element) -> list[float]:
    """xmin, ymin, xmax, ymax as they are stated."""
    if element.find("bndbox") is None:
        for tag in _OTHER_FORMS:
            if element.find(tag) is not None:
                what = "a rotated box" if tag == "robndbox" else "no box"
                raise DataError(f"{place}: it has a <{tag}>, {what}, and no <bndbox>; export upright boxes")
        raise DataError(f"{place}: it has no <bndbox> with <xmin>, <ymin>, <xmax> and <ymax>")
    corners: list[float] = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = text_of(place, element, f"bndbox/{key}")
        try:
            corners.append(number(text))
        except ValueError as error:
            raise DataError(f"{place}: <{key}> must be a number, not {text!r:.40}") from error
    if not all(map(math.isfinite, corners)):
        raise DataError(f"{place}: the box {corners} is not finite; correct or remove it")
    return corners
