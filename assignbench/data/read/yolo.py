"""Reader of YOLO's labels: pictures below ``images``, a text file of labels for each below ``labels``.

A label file holds a line for each object: class and ``x y width height`` of the box, counted from its centre, or
class and the corners of a polygon, or, where the data set has keypoints, class, box and keypoints. All numbers are
fractions of the picture's width and height, as viewers show it (EXIF rotation applied).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from assignbench.data.folders import aside_in, led_out, pictures_below
from assignbench.data.images import Stored
from assignbench.data.pictures import header_size
from assignbench.data.read.findings import (
    ENTRY_MALFORMED,
    FILE_UNREADABLE,
    LABELS_MISSING,
    LABELS_ORPHAN,
    LABELS_UNREADABLE,
    LINE_RESPELT,
    LISTED_AGAIN,
    PICTURE_ASIDE,
    PICTURE_RESPELT,
)
from assignbench.data.read.picture_names import on_one_line, respell, several
from assignbench.data.read.plain import number, read_lines, whole_number
from assignbench.data.read.raw import RawSplit, unreadable
from assignbench.data.read.rows import Box, Object, Rows
from assignbench.data.read.yolo_habits import BEYOND, Habits
from assignbench.errors import DataError

NOT_LABELS = {"classes.txt", "notes.txt"}  # what labelling tools leave among the labels
SHOWN = Stored(upright=True)  # labels refer to the picture as viewers show it
_DECIMAL_COMMA = re.compile(r"\d,\d+\s+\d+,\d")


def read_yolo(
    places: Sequence[Path],
    part: str,
    *,
    source: Path,
    classes: Sequence[str],
    keypoints: tuple[int, int] | None = None,
) -> RawSplit:
    """Read one split.

    Args:
        places: folders with pictures, or text files that list pictures.
        part: "train" or "evaluation".
        source: folder of the data set, which messages name.
        classes: in the order of the labels.
        keypoints: how many follow each box, and the numbers of each (2 or 3); None: there are none.
    """
    rows = Rows(part, source)
    try:
        paths = [path for place in places for path in _pictures_of(rows, place, source)]
    except DataError as error:
        return unreadable(part, source, str(error))
    labels = _Labels(source)
    taken: dict[Path, Path] = {}
    without = 0
    habits = Habits()
    for path in sorted(paths):
        file = labels.of(path)
        if file in taken:
            other = taken[file]
            if other == path:
                rows.say(LISTED_AGAIN, f"{path} is listed twice")
            else:
                rows.say(ENTRY_MALFORMED, f"{path} and {other.name} share their labels; keep one")
            continue
        taken[file] = path
        rows.picture(path, header_size(path, SHOWN))
        if not file.is_file():
            without += 1
            rows.say_of_picture(LABELS_MISSING, file.name)
            continue
        read_labels(rows, file, classes, keypoints, habits)
    if any(image.width for image in rows.images) and without == len(rows.images):
        missing = next(iter(taken))
        rows.say(FILE_UNREADABLE, f"{source}: none of {without} pictures has labels; the first belong into {missing}")
    for kind, text in habits.findings():
        rows.say(kind, text)
    rows.say(LABELS_ORPHAN, *map(str, labels.orphans(places, taken)))
    return rows.split(list(enumerate(classes)))


def _pictures_of(rows: Rows, place: Path, folder: Path) -> Sequence[Path]:
    """Every picture of a folder and its folders, or of a list.

    A list's paths are absolute, or relative to the list; what is not there is looked for below the data set's folder.
    Relative ones stay in that folder or, of a list that lies elsewhere, in the folder above the list's.
    """
    if place.is_dir():
        found = pictures_below(place)
        rows.say(PICTURE_ASIDE, *aside_in(found))
        return found.paths
    roots = (folder,) if place.is_relative_to(folder) else (folder, place.parent.parent)
    stated, paths = [], []
    for at, line in enumerate(read_lines(place, "list of pictures"), start=1):
        if not line.strip():
            continue
        path = _path((place.parent, folder), roots, line.strip())
        if path is None:
            rows.say(ENTRY_MALFORMED, f"{place}, line {at}: {led_out(line.strip(), folder)}")
        elif several(line) and not path.is_file():
            rows.say(ENTRY_MALFORMED, f"{place}, line {at}: {on_one_line(line.strip())}")
        else:
            stated.append(line.strip())
            paths.append(path)
    absent = [at for at, path in enumerate(paths) if not path.is_file()]
    again = respell(folder, [stated[at] for at in absent])
    for at, way in zip(again.places, again.ways, strict=True):
        paths[absent[at]] = folder / again.names[at]
        rows.say(PICTURE_RESPELT, f"{stated[absent[at]]} ({way})")
    return paths


def _path(bases: Sequence[Path], roots: Sequence[Path], line: str) -> Path | None:
    """A line of a list: relative to the first base that has such a file; None: it leads out of all roots."""
    paths = [Path(os.path.normpath(base / line)) for base in bases]
    if not Path(line).is_absolute():
        paths = [path for path in paths if any(path.is_relative_to(os.path.normpath(root)) for root in roots)]
    return next((path for path in paths if path.is_file()), paths[0] if paths else None)


class _Labels:
    """Where the labels of pictures are: ``…/images/a/b.jpg`` → ``…/labels/a/b.txt``, whatever the case of ``.txt``.

    They lie beside the picture where no folder of the data set is called images. Each folder is listed once.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.listed: dict[Path, Mapping[str, Path]] = {}

    def of(self, picture: Path) -> Path:
        """The label file of a picture; it need not be there."""
        parts = list(picture.with_suffix(".txt").parts)
        above = len(self.source.parts) if picture.is_relative_to(self.source) else 0
        for at in reversed(range(above, len(parts) - 1)):
            if parts[at] == "images":
                parts[at] = "labels"
                break
        file = Path(*parts)
        return self._in(file.parent).get(file.stem, file)

    def _in(self, folder: Path) -> Mapping[str, Path]:
        """Label files of a folder by their stems."""
        if folder not in self.listed:
            found = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []  # .txt comes last, and counts
            self.listed[folder] = {path.stem: path for path in found if path.suffix.lower() == ".txt"}
        return self.listed[folder]

    def orphans(self, places: Sequence[Path], wanted: Mapping[Path, Path]) -> list[Path]:
        """Label files of whole folders that belong to no picture."""
        folders = dict.fromkeys(self.of(place / "a").parent for place in places if place.is_dir())
        every = (Path(below, name) for folder in folders for below, _, names in os.walk(folder) for name in names)
        return sorted(
            path
            for path in every
            if path.suffix.lower() == ".txt" and path.name not in NOT_LABELS and path not in wanted
        )


def read_labels(
    rows: Rows, file: Path, classes: Sequence[str], keypoints: tuple[int, int] | None, habits: Habits
) -> None:
    """The objects of the last picture."""
    try:
        lines = read_lines(file, "label file")
    except DataError as error:
        rows.say_of_picture(LABELS_UNREADABLE, str(error))
        return
    for at, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        place = f"{file}, line {at}"
        try:
            if _DECIMAL_COMMA.search(line) and "." not in line:
                raise DataError(f"{place}: the numbers have a comma where a point belongs: {line.strip()!r:.40}")
            label, fractions = _numbers(place, words)
            if keypoints is None and (count := _objects_in(words, len(classes))) > 1:
                raise DataError(f"{place}: {count} objects stand on one line; write each on a line of its own")
            box = _box(place, fractions, keypoints)
            if not 0 <= label < len(classes):
                raise DataError(f"{place}: there is no class {label}; {len(classes)} are named, counted from 0")
        except DataError as error:
            rows.say_of_picture(ENTRY_MALFORMED, str(error))
            continue
        size = (rows.images[-1].width, rows.images[-1].height) * 2
        x0, y0, x1, y1 = (fraction * side for fraction, side in zip(box, size, strict=True))
        rows.object(Object(classes[label], (x0, y0, x1, y1)))
        if "," in line or not words[0].isdigit():
            rows.say_of_object(LINE_RESPELT, f"line {at} of {file.name}")
        habits.see(fractions, keypoints is not None)


def _numbers(place: str, words: Sequence[str]) -> tuple[int, list[float]]:
    """Class and the numbers behind it; a class may be written as 1.0."""
    try:
        label = number(words[0])
        if not label.is_integer():
            label = whole_number(words[0])
    except ValueError as error:
        raise DataError(f"{place}: the class {error}") from error
    try:
        return int(label), [number(word) for word in words[1:]]
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error


def _objects_in(words: Sequence[str], classes: int) -> int:
    """How many objects of a class and a box follow each other; polygons, whose numbers seldom look so, are 1."""
    if len(words) < 10 or len(words) % 5:
        return 1
    for at in range(0, len(words), 5):
        if not words[at].isdecimal() or int(words[at]) >= classes:
            return 1
        x, y, width, height = map(float, words[at + 1 : at + 5])
        if not (width <= 2 * min(x, 1 - x) + BEYOND and height <= 2 * min(y, 1 - y) + BEYOND):
            return 1
    return len(words) // 5


def _box(place: str, fractions: Sequence[float], keypoints: tuple[int, int] | None) -> Box:
    """Corners as fractions."""
    columns = 1 + len(fractions)
    if keypoints is not None:
        wanted = 5 + keypoints[0] * keypoints[1]
        if columns != wanted:
            raise DataError(
                f"{place}: {columns} columns; a class, a box and {keypoints[0]} keypoints of {keypoints[1]} numbers "
                f"are {wanted}"
            )
        points = fractions[4:]
        fractions = fractions[:4]
        inside = [value for at, value in enumerate(points) if at % keypoints[1] < 2]
    elif columns == 6:
        raise DataError(f"{place}: six columns, the last of them probably a score; labels have five")
    elif columns < 5 or columns % 2 == 0:
        raise DataError(f"{place}: {columns} columns, neither a class and a box nor a class and a polygon")
    else:
        inside = []
    for fraction in (*fractions, *inside):
        if not -BEYOND <= fraction <= 1 + BEYOND:  # NaN compares false
            raise DataError(
                f"{place}: {fraction:g} is not a fraction of the picture's size, from 0 to 1; are these pixels?"
            )
    if len(fractions) == 4:
        x, y, width, height = fractions
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return min(fractions[::2]), min(fractions[1::2]), max(fractions[::2]), max(fractions[1::2])
