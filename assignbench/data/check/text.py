"""VOC's XML, WIDER FACE's and YOLO's text, object by object; the readers' own functions parse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assignbench.data.images import ImageInfo
from assignbench.data.pictures import SUFFIXES, picture_size
from assignbench.data.read import voc, widerface, yolo
from assignbench.data.read.annotations import Annotations
from assignbench.data.read.findings import (
    ENTRY_MALFORMED,
    FILE_UNREADABLE,
    LABELS_MISSING,
    LABELS_ORPHAN,
    LABELS_UNREADABLE,
    LISTED_AGAIN,
    Finding,
    Kind,
)
from assignbench.data.read.plain import read_lines
from assignbench.data.read.raw import RawImages, RawSplit
from assignbench.data.spec.schema import VocSpec, WiderfaceSpec
from assignbench.errors import DataError

_NOWHERE = np.zeros(0, dtype=np.int64)

Box = tuple[float, float, float, float]


class _Rows:
    """Pictures and objects as they are found; both are numbered from 1, as the readers do."""

    def __init__(self, part: str, source: Path) -> None:
        self.part, self.source = part, source
        self.paths: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.objects: list[tuple[int, int, Box, int]] = []  # image, category, box, crowd (−1: not stated)
        self.remarks: dict[Kind, list[tuple[int, str]]] = {}  # place of the picture, or −1, and what there is to say

    def picture(self, path: Path, size: tuple[int, int] = (0, 0)) -> None:
        """Without a size where none is stated and the picture has none to read."""
        self.paths.append(str(path))
        self.sizes.append(size)

    def object(self, category: int, box: Box, crowd: int = 0) -> None:
        """An object of the last picture."""
        self.objects.append((len(self.paths), category, box, crowd))

    def remark(self, kind: Kind, text: str, *, of_picture: bool = False) -> None:
        """About the last picture, or about none."""
        self.remarks.setdefault(kind, []).append((len(self.paths) - 1 if of_picture else -1, text))

    def split(
        self, categories: Sequence[tuple[int, str]], *, folders: Sequence[Path] = (), upright: bool = False,
        strange: dict[int, str] | None = None, readable: bool = True, classes: Sequence[str] | None = None,
    ) -> RawSplit:  # fmt: skip
        findings = []
        for kind, rows in self.remarks.items():
            details = tuple(text for _, text in rows)
            if rows[0][0] < 0:
                findings.append(Finding(kind, self.part, "nothing", _NOWHERE, details))
            else:
                places = np.array([place for place, _ in rows], dtype=np.int64)
                findings.append(Finding(kind, self.part, "images", places, details))
        owners, kinds, boxes, crowd = ([row[column] for row in self.objects] for column in range(4))
        ids = np.arange(1, len(self.paths) + 1)
        return RawSplit(
            part=self.part,
            source=self.source,
            categories=categories,
            images=RawImages(ids, np.array(self.sizes, dtype=np.int64).reshape(-1, 2), self.paths),
            annotations=Annotations.of(range(1, len(owners) + 1), owners, kinds, boxes, crowd),  # type: ignore[arg-type]
            upright=upright,
            classes=classes,
            strange=strange or {},
            folders=folders,
            readable=readable,
            findings=findings,
        )


def voc_split(spec: VocSpec, base: Path, part: str) -> RawSplit:
    """One split of a folder in VOC's layout; see `coco_split`."""
    lists = [
        voc.VocList(base / one.folder, one.list or "")
        for one in (spec.train if part == "train" else spec.evaluation or [])
    ]
    rows = _Rows(part, lists[0].file)
    numbers = {name: place for place, name in enumerate(spec.classes or (), start=1)}
    for one in lists:
        try:
            stems = sorted(line.strip() for line in read_lines(one.file, "image list") if line.strip())
            pictures = voc.pictures_in(one.folder / "JPEGImages")
        except DataError as error:
            rows.remark(FILE_UNREADABLE, str(error))
            return rows.split([], readable=False)
        for before, stem in zip(["", *stems], stems, strict=False):
            if stem == before:
                rows.remark(LISTED_AGAIN, f"{stem} in {one.file}")
            else:
                _voc_picture(rows, one.folder, stem, pictures, spec.pixel_origin, numbers)
    folders = [one.folder / "JPEGImages" for one in lists]
    if spec.classes:
        known = list(enumerate(spec.classes, start=1))
        strange = {number: name for name, number in numbers.items() if number > len(known)}
        return rows.split(known, folders=folders, strange=strange, classes=spec.classes)
    return rows.split([(number, name) for name, number in sorted(numbers.items())], folders=folders)


def _voc_picture(
    rows: _Rows, folder: Path, stem: str, pictures: dict[str, Path], pixel_origin: int, numbers: dict[str, int]
) -> None:
    file = folder / "Annotations" / f"{stem}.xml"
    path = pictures.get(stem, folder / "JPEGImages" / f"{stem}.jpg")
    try:
        root = voc.parse_xml(file)
        if root.tag != "annotation":
            raise DataError(f"{file} is not a VOC annotation: its root is <{root.tag}>, not <annotation>")
        stated = any(voc.text_of(str(file), root, f"size/{key}") for key in ("width", "height"))
        size = voc.size_of(file, root, path) if stated else header_size(path)
    except DataError as error:
        rows.picture(path, header_size(path))
        rows.remark(LABELS_UNREADABLE, str(error), of_picture=True)
        return
    rows.picture(path, size)
    for place, element in enumerate(root.findall("object"), start=1):
        try:
            found = voc.object_of(f"{file}: object {place}", element, pixel_origin)
        except DataError as error:
            rows.remark(ENTRY_MALFORMED, str(error))
            continue
        crowd = -1 if found.difficult is None else int(found.difficult)
        rows.object(numbers.setdefault(found.name, len(numbers) + 1), found.box, crowd)


def widerface_split(spec: WiderfaceSpec, base: Path, part: str) -> RawSplit:
    """One split of WIDER FACE; see `coco_split`. Lines out of place are passed over up to the next picture."""
    split = spec.train if part == "train" else spec.evaluation or spec.train
    file, pictures = base / split.annotations, base / split.images
    rows = _Rows(part, file)
    categories = [(1, widerface.CLASSES[0])]
    try:
        texts = read_lines(file, "annotation file")
    except DataError as error:
        rows.remark(FILE_UNREADABLE, str(error))
        return rows.split(categories, readable=False)
    lines = [text.split() for text in texts]
    seen: set[str] = set()
    at = 0
    while at < len(lines):
        name = texts[at].strip()
        at += 1
        if not name:
            continue
        if not _is_name(name):
            rows.remark(ENTRY_MALFORMED, f"{file}, line {at}: the name of a picture is expected, not {name!r:.40}")
            continue
        try:
            count = widerface.face_count(f"{file}, line {at + 1}", lines[at] if at < len(lines) else [])
        except DataError as error:
            rows.remark(ENTRY_MALFORMED, str(error))
            continue
        at += 1
        faces = range(at, min(at + max(count, lines[at : at + 1] == [widerface.NO_FACE]), len(lines)))
        again = name in seen
        seen.add(name)
        if again:
            rows.remark(LISTED_AGAIN, f"{file}, line {at - 1}: {name}")
        else:
            rows.picture(pictures / name, header_size(pictures / name))
        for at in faces:
            if _is_name(texts[at].strip()):
                rows.remark(ENTRY_MALFORMED, f"{file}, line {at + 1}: {count} faces of {name} were announced")
                break
            if count and not again:
                _face(rows, f"{file}, line {at + 1}", lines[at], at - faces.start)
        else:
            at = faces.stop
    return rows.split(categories, folders=[pictures])


def _face(rows: _Rows, place: str, words: list[str], row: int) -> None:
    try:
        face = widerface.face_of(place, words, row)
    except DataError as error:
        rows.remark(ENTRY_MALFORMED, str(error))
        return
    rows.object(1, face.box, face.flags[list(widerface.FLAGS).index("invalid")])


def _is_name(text: str) -> bool:
    return text.lower().endswith(tuple(SUFFIXES))


def yolo_split(folder: yolo.YoloFolder, part: str) -> RawSplit:
    """One split of a folder in YOLO's layout; see `coco_split`."""
    places = folder.train if part == "train" else folder.val
    rows = _Rows(part, folder.file)
    categories = list(enumerate(folder.classes))
    try:
        paths = sorted(path for place in places for path in yolo.pictures_in(place))
    except DataError as error:
        rows.remark(FILE_UNREADABLE, str(error))
        return rows.split(categories, readable=False)
    wanted: set[Path] = set()
    for before, path in zip([None, *paths], paths, strict=False):
        if path == before:
            rows.remark(LISTED_AGAIN, str(path))
            continue
        file = yolo.label_file(path)
        rows.picture(path, header_size(path))
        if file in wanted:
            rows.remark(LABELS_UNREADABLE, f"{file} belongs to another picture, too", of_picture=True)
        elif not file.is_file():
            rows.remark(LABELS_MISSING, file.name, of_picture=True)
        else:
            _yolo_labels(rows, file, len(folder.classes), ImageInfo(len(rows.paths), path, *rows.sizes[-1]))
        wanted.add(file)
    for file in yolo.orphans(places, wanted):
        rows.remark(LABELS_ORPHAN, str(file))
    return rows.split(categories, upright=True)


def _yolo_labels(rows: _Rows, file: Path, classes: int, image: ImageInfo) -> None:
    try:
        lines = read_lines(file, "label file")
    except DataError as error:
        rows.remark(LABELS_UNREADABLE, str(error), of_picture=True)
        return
    for place, words in enumerate(map(str.split, lines), start=1):
        if words:
            try:
                label, box = yolo.object_of(f"{file}, line {place}", words, classes, image)
            except DataError as error:
                rows.remark(ENTRY_MALFORMED, str(error))
            else:
                rows.object(label, box)


def header_size(path: Path) -> tuple[int, int]:
    """Width and height, or zeros: that a picture is missing or damaged is found when pictures are looked at."""
    try:
        return picture_size(path)
    except DataError:
        return 0, 0
