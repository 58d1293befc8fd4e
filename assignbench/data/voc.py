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

from assignbench.data.annotations import Annotations
from assignbench.data.build import build_dataset
from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.data.pictures import SUFFIXES, picture_size
from assignbench.errors import DataError


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
    difficult: bool


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
    annotations = Annotations()
    names: list[str] = []
    for source in lists:
        pictures = _pictures(source.folder / "JPEGImages")
        for stem in _read_list(source.file):
            file = source.folder / "Annotations" / f"{stem}.xml"
            root = _parse(file)
            if root.tag != "annotation":
                raise DataError(f"{file} is not a VOC annotation: its root is <{root.tag}>, not <annotation>")
            path = pictures.get(stem, source.folder / "JPEGImages" / f"{stem}.jpg")
            width, height = _size(file, root, path)
            images.append(ImageInfo(len(images) + 1, path, width, height))
            for number, element in enumerate(root.findall("object"), start=1):
                found = _object(f"{file}: object {number}", element, pixel_origin)
                names.append(found.name)
                annotations.ids.append(len(names))
                annotations.image_ids.append(len(images))
                annotations.boxes.append(found.box)
                annotations.crowd.append(found.difficult)
                annotations.areas.append((found.box[2] - found.box[0]) * (found.box[3] - found.box[1]))
                if classes is not None and found.name not in classes:
                    known = "the list of classes" if training else "the training split"
                    raise DataError(f"{file}: object {number}: {known} has no class {found.name!r}")
    classes = sorted(set(names)) if classes is None else classes
    numbers = {text: number for number, text in enumerate(classes, start=1)}
    annotations.category_ids.extend(numbers[text] for text in names)
    return build_dataset(
        name=name,
        split=split,
        source=lists[0].file,
        categories=[(number, text) for text, number in numbers.items()],
        classes=classes,
        images=images,
        annotations=annotations,
        training=training,
    )


def _read_list(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"no image list {file}; put it there, one picture name a line") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    stems = sorted(line.strip() for line in lines if line.strip())
    for one, other in pairwise(stems):
        if one == other:
            raise DataError(f"{file}: {one!r} is listed twice; each picture must be listed once")
    return stems


def _pictures(folder: Path) -> dict[str, Path]:
    """Picture files by stem; whatever the suffix, because many folders in VOC layout hold PNG."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
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


def _parse(file: Path) -> ET.Element:
    try:
        return ET.fromstring(file.read_bytes(), ET.XMLParser(target=_NoDoctype()))  # noqa: S314  # see _NoDoctype
    except FileNotFoundError as error:
        raise DataError(f"no annotation file {file}; every listed picture needs one") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except (ET.ParseError, ValueError, LookupError) as error:  # malformed, or in an unknown encoding
        raise DataError(f"{file} is not valid XML: {error}; it may be truncated, copy it again") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def _size(file: Path, root: ET.Element, path: Path) -> tuple[int, int]:
    """Width and height as the annotation states them; without them, as the picture's header does."""
    stated = [root.findtext(f"size/{key}", default="0").strip() for key in ("width", "height")]
    try:
        width, height = (int(text or 0) for text in stated)
    except ValueError as error:
        raise DataError(f"{file}: <size> must hold whole numbers, not {stated}") from error
    if width > 0 and height > 0:
        return width, height
    return picture_size(path)


def _object(place: str, element: ET.Element, pixel_origin: int) -> _Object:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{place}: <name> is missing or empty")
    corners = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = element.findtext(f"bndbox/{key}", default="")
        try:
            corners.append(float(text))
        except ValueError as error:
            raise DataError(f"{place}: <{key}> must be a number, not {text!r:.40}") from error
    x0, y0, x1, y1 = corners
    if not all(map(math.isfinite, corners)):
        raise DataError(f"{place}: the box {corners} is not finite; correct or remove it")
    # Corners that coincide or cross are a stray click, not a box one pixel wide: left as they stand, so
    # that the size is zero or negative and the repair step counts them.
    if x1 > x0 and y1 > y0:
        x0, y0 = x0 - pixel_origin, y0 - pixel_origin
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise DataError(f"{place}: <difficult> must be 0 or 1, not {difficult!r:.40}")
    return _Object(name, (x0, y0, x1, y1), difficult == "1")
