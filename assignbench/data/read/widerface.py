"""Reader of WIDER FACE (http://shuoyang1213.me/WIDERFACE/).

``wider_face_*_bbx_gt.txt`` holds, for each picture: its name below ``images/``, the number of faces, and a line for
each face with ``x y width height blur expression illumination invalid occlusion pose``. A picture without faces is
followed by one line of zeros all the same. There are no ids: pictures and faces are numbered from 1 in file order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.data.images import Images
from assignbench.data.pictures import SUFFIXES, picture_size
from assignbench.data.read.annotations import Annotations
from assignbench.data.read.build import build_dataset, refuse_missing_pictures
from assignbench.data.read.plain import number, read_lines, whole_number
from assignbench.errors import DataError

CLASSES = ("face",)

# What each flag may be, in the order of the columns.
FLAGS = {
    "blur": 2,  # 0 clear, 1 normal, 2 heavy
    "expression": 1,  # 0 typical, 1 exaggerated
    "illumination": 1,  # 0 normal, 1 extreme
    "invalid": 1,  # 1: not to be counted, in training or evaluation
    "occlusion": 2,  # 0 none, 1 partial, 2 heavy
    "pose": 1,  # 0 typical, 1 atypical
}

NO_FACE = ["0"] * 10


@dataclass(frozen=True)
class _Face:
    box: tuple[float, float, float, float]
    flags: tuple[int, ...]  # as FLAGS
    row: int  # its place among the faces of the picture, from 0


def read_widerface(file: Path, pictures: Path, *, name: str, split: str, training: bool) -> Dataset:
    """Read one split.

    Invalid faces become crowd regions: neither taught nor required. The flags of every face are in
    `Dataset.flags`, and under ``row`` its place in the picture's list, which the official easy, medium and hard
    lists refer to: boxes of zero size are dropped, so the place cannot be counted afterwards.

    Args:
        file: ``wider_face_train_bbx_gt.txt`` or the like.
        pictures: folder that the names are relative to, ``WIDER_train/images``.
        name: canonical spec of the data set.
        split: name of the split.
        training: repair for training, or keep what an official evaluation counts (see `build`).

    Raises:
        DataError: naming the file and the line, for anything missing, malformed or inconsistent.
    """
    listed = list(_pictures(file))
    paths = [pictures / text for text, _ in listed]
    refuse_missing_pictures(file, Images.of(ImageInfo(0, path, 1, 1) for path in paths))
    faces = [(owner, face) for owner, (_, found) in enumerate(listed, start=1) for face in found]
    flags = {key: [face.flags[column] for _, face in faces] for column, key in enumerate(FLAGS)}
    return build_dataset(
        name=name,
        split=split,
        source=file,
        categories=[(1, CLASSES[0])],
        classes=CLASSES,
        images=[ImageInfo(index, path, *picture_size(path)) for index, path in enumerate(paths, start=1)],
        annotations=Annotations.of(
            range(1, len(faces) + 1),
            [owner for owner, _ in faces],
            [1] * len(faces),
            [face.box for _, face in faces],
            [bool(invalid) for invalid in flags["invalid"]],
            {**flags, "row": [face.row for _, face in faces]},
        ),
        training=training,
    )


def _pictures(file: Path) -> Iterator[tuple[str, list[_Face]]]:
    """Name and faces of each picture."""
    texts = read_lines(file, "annotation file")
    while texts and not texts[-1].strip():
        texts.pop()
    lines = [text.split() for text in texts]
    seen: dict[str, int] = {}
    at = 0
    while at < len(lines):
        place = f"{file}, line {at + 1}"
        name = texts[at].strip()
        if not name.lower().endswith(tuple(SUFFIXES)):
            raise DataError(f"{place}: the name of a picture is expected, not {name!r:.40}")
        if name in seen:
            raise DataError(f"{place}: {name} is listed twice, first in line {seen[name]}")
        seen[name] = at + 1
        count = face_count(f"{file}, line {at + 2}", lines[at + 1] if at + 1 < len(lines) else [])
        first = at + 2
        if first + count > len(lines):
            raise DataError(f"{place}: {name} has {count} faces, but the file ends after {len(lines) - first}")
        yield name, [face_of(f"{file}, line {first + row + 1}", lines[first + row], row) for row in range(count)]
        at = first + count
        if count == 0 and lines[at : at + 1] == [NO_FACE]:
            at += 1


def face_count(place: str, words: list[str]) -> int:
    """The line that says how many faces follow."""
    try:
        count = whole_number(" ".join(words))
    except ValueError:
        count = -1
    if count < 0:
        raise DataError(f"{place}: the number of faces is expected, not {' '.join(words)!r:.40}")
    return count


def face_of(place: str, words: list[str], row: int) -> _Face:
    """One line of a face: box and flags."""
    if len(words) != 4 + len(FLAGS):
        raise DataError(f"{place}: a face has {4 + len(FLAGS)} numbers, not {len(words)}")
    try:
        x, y, width, height = map(number, words[:4])
    except ValueError as error:
        raise DataError(f"{place}: the box {' '.join(words[:4])!r:.40} does not consist of numbers") from error
    flags = []
    for word, (key, largest) in zip(words[4:], FLAGS.items(), strict=True):
        if word not in map(str, range(largest + 1)):
            raise DataError(f"{place}: {key} must be a whole number from 0 to {largest}, not {word!r:.40}")
        flags.append(int(word))
    return _Face((x, y, x + width, y + height), tuple(flags), row)
