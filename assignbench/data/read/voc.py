"""Reader of Pascal VOC folders (http://host.robots.ox.ac.uk/pascal/VOC/, development kit, section 5).

A folder holds ``ImageSets/Main/LIST.txt`` with one picture name a line, ``Annotations/NAME.xml`` and
``JPEGImages/NAME.*``. There are no ids: pictures and objects are numbered from 1 in sorted order.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from assignbench.data.dataset import Dataset, ImageInfo, Repair
from assignbench.data.pictures import SUFFIXES, picture_size
from assignbench.data.read.annotations import EXAMPLES, Annotations
from assignbench.data.read.build import LARGEST, build_dataset
from assignbench.data.read.plain import number, read_lines, whole_number
from assignbench.errors import DataError

LARGEST_XML = 1 << 24  # bytes of one annotation; more would only fill the memory


@dataclass(frozen=True)
class VocList:
    """One list of one VOC folder."""

    folder: Path  # holds ImageSets, Annotations, JPEGImages
    list: str  # "trainval"

    @property
    def file(self) -> Path:
        """The list itself."""
        return self.folder / "ImageSets" / "Main" / f"{self.list}.txt"


@dataclass(frozen=True)
class _Object:
    name: str
    box: tuple[float, float, float, float]
    difficult: bool | None  # None: not stated


def read_voc(
    lists: Sequence[VocList],
    *,
    name: str,
    split: str,
    training: bool,
    classes: Sequence[str] | None = None,
    pixel_origin: int = 1,
) -> Dataset:
    """Read one split, which may join several lists (VOC 2007 and 2012).

    Args:
        lists: where to read.
        name: canonical spec of the data set.
        split: name of the split.
        training: repair for training, or keep what an official evaluation counts (see `build`).
        classes: the classes; None takes those that occur, sorted by name.
        pixel_origin: 1 as VOC writes it: pixels count from 1 and the last one belongs to the box, so
            ``xmin ymin xmax ymax`` is the box ``xmin−1, ymin−1, xmax, ymax``. 0: the corners are the box.

    Raises:
        DataError: naming the file and the place, for anything missing, malformed or inconsistent.
    """
    images: list[ImageInfo] = []
    silent: list[str] = []
    objects: list[_Object] = []
    owners: list[int] = []
    for source in lists:
        pictures = pictures_in(source.folder / "JPEGImages")
        for stem in _read_list(source.file):
            file = source.folder / "Annotations" / f"{stem}.xml"
            root = parse_xml(file)
            if root.tag != "annotation":
                raise DataError(f"{file} is not a VOC annotation: its root is <{root.tag}>, not <annotation>")
            path = pictures.get(stem, source.folder / "JPEGImages" / f"{stem}.jpg")
            width, height = size_of(file, root, path)
            images.append(ImageInfo(len(images) + 1, path, width, height))
            for place, element in enumerate(root.findall("object"), start=1):
                found = object_of(f"{file}: object {place}", element, pixel_origin)
                if found.difficult is None:
                    silent.append(f"object {place} of {file.name}")
                objects.append(found)
                owners.append(len(images))
                if classes is not None and found.name not in classes:
                    known = "the list of classes" if training else "the training split"
                    raise DataError(f"{file}: object {place}: {known} has no class {found.name!r}")
    classes = sorted({found.name for found in objects}) if classes is None else classes
    numbers = {text: place for place, text in enumerate(classes, start=1)}
    return build_dataset(
        name=name,
        split=split,
        source=lists[0].file,
        categories=[(number, text) for text, number in numbers.items()],
        classes=classes,
        images=images,
        annotations=Annotations.of(
            range(1, len(objects) + 1),
            owners,
            [numbers[found.name] for found in objects],
            [found.box for found in objects],
            [bool(found.difficult) for found in objects],
        ),
        training=training,
        repairs=[Repair("difficult missing, taken as 0", len(silent), tuple(silent[:EXAMPLES]))] if silent else [],
    )


def _read_list(file: Path) -> list[str]:
    stems = sorted(line.strip() for line in read_lines(file, "image list") if line.strip())
    for one, other in pairwise(stems):
        if one == other:
            raise DataError(f"{file}: {one!r} is listed twice; each picture must be listed once")
    return stems


def pictures_in(folder: Path) -> dict[str, Path]:
    """Picture files by stem; whatever the suffix, because many folders in VOC layout hold PNG."""
    found: dict[str, Path] = {}
    try:
        listed = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    for path in listed:
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            raise DataError(f"{folder}: {found[path.stem].name} and {path.name} share a name; keep one")
        found[path.stem] = path
    return found


class _NoDoctype(ET.TreeBuilder):
    """Refuses a document type, and with it entities: none is needed, and they can fill the memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called by the parser before any entity is declared."""
        raise DataError(f"it declares the document type {name!r}, which is refused; remove it")


def parse_xml(file: Path) -> ET.Element:
    """The root of an annotation; a document type, and with it every entity of its own, is refused."""
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_XML + 1)
        if len(content) > LARGEST_XML:
            raise DataError(f"it has more than {LARGEST_XML >> 20} MB; the annotation of a picture has some kilobytes")
        return ET.fromstring(content, ET.XMLParser(target=_NoDoctype()))  # noqa: S314  # see _NoDoctype
    except FileNotFoundError as error:
        raise DataError(f"no annotation file {file}; every listed picture needs one") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except (ET.ParseError, ValueError, LookupError) as error:  # malformed, or in an unknown encoding
        raise DataError(f"{file} is not valid XML: {error}; it may be truncated, copy it again") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def text_of(place: str, element: ET.Element, path: str) -> str:
    """What stands in the one element at ``path``; empty when there is none."""
    found: list[ET.Element] = [element]
    for tag in path.split("/"):
        found = found[0].findall(tag)
        if len(found) > 1:
            raise DataError(f"{place}: <{tag}> is given {len(found)} times; keep one")
        if not found:
            return ""
    return (found[0].text or "").strip()


def size_of(file: Path, root: ET.Element, path: Path) -> tuple[int, int]:
    """Width and height as the annotation states them; without them, as the picture's header does."""
    stated = [text_of(str(file), root, f"size/{key}") for key in ("width", "height")]
    try:
        width, height = (whole_number(text or "0") for text in stated)
    except ValueError as error:
        raise DataError(f"{file}: <size> must hold whole numbers, not {stated!s:.40}") from error
    if min(width, height) < 0 or max(width, height) >= LARGEST:
        raise DataError(f"{file}: <size> says {width}×{height} pixels; correct or remove it")
    if width > 0 and height > 0:
        return width, height
    return picture_size(path)


def object_of(place: str, element: ET.Element, pixel_origin: int) -> _Object:
    """One ``<object>``: name, box, difficult; ``place`` is for messages."""
    name = text_of(place, element, "name")
    if not name:
        raise DataError(f"{place}: <name> is missing or empty")
    corners = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = text_of(place, element, f"bndbox/{key}")
        try:
            corners.append(number(text))
        except ValueError as error:
            raise DataError(f"{place}: <{key}> must be a number, not {text!r:.40}") from error
    x0, y0, x1, y1 = corners
    if not all(map(math.isfinite, corners)):
        raise DataError(f"{place}: the box {corners} is not finite; correct or remove it")
    # Corners that coincide or cross are a stray click, not a box one pixel wide: left as they stand, so
    # that the size is zero or negative and the repair step counts them.
    if x1 > x0 and y1 > y0:
        x0, y0 = x0 - pixel_origin, y0 - pixel_origin
    difficult = text_of(place, element, "difficult")
    if difficult not in ("", "0", "1"):
        raise DataError(f"{place}: <difficult> must be 0 or 1, not {difficult!r:.40}")
    return _Object(name, (x0, y0, x1, y1), difficult == "1" if difficult else None)
