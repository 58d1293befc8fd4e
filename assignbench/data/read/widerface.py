"""Reader of WIDER FACE (http://shuoyang1213.me/WIDERFACE/).

``wider_face_*_bbx_gt.txt`` holds, for each picture: its name below ``images/``, the number of faces, and a line for
each face with ``x y width height blur expression illumination invalid occlusion pose``. A picture without faces is
followed by one line of zeros all the same. There are no ids: pictures and faces are numbered from 1 in file order.
"""

from __future__ import annotations

from pathlib import Path

from assignbench.data.folders import SUFFIXES, leaves, led_out
from assignbench.data.pictures import header_size
from assignbench.data.read.findings import ENTRY_MALFORMED, LISTED_AGAIN
from assignbench.data.read.plain import number, read_lines, whole_number
from assignbench.data.read.raw import RawSplit, unreadable
from assignbench.data.read.rows import Object, Rows
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

_NO_FACE = ["0"] * 10


def read_widerface(file: Path, pictures: Path, part: str) -> RawSplit:
    """Read one split.

    Invalid faces become crowd regions: neither taught nor required. The flags of every face are in
    `Dataset.flags`, and under ``row`` its place in the picture's list, which the official easy, medium and hard
    lists refer to: boxes of zero size are dropped, so the place cannot be counted afterwards.
    Lines out of place are set aside up to the next picture.

    Args:
        file: ``wider_face_train_bbx_gt.txt`` or the like.
        pictures: folder that the names are relative to, ``WIDER_train/images``.
        part: "train" or "evaluation".
    """
    rows = Rows(part, file)
    try:
        texts = read_lines(file, "annotation file")
    except DataError as error:
        return unreadable(part, file, str(error))
    while texts and not texts[-1].strip():
        texts.pop()
    seen: dict[str, int] = {}
    at = 0
    while at < len(texts):
        name = texts[at].strip()
        at += 1
        if not name:
            continue
        try:
            at = _read_picture(rows, file, pictures, texts, at, seen)
        except DataError as error:
            rows.say(ENTRY_MALFORMED, str(error))
    return rows.split([(1, CLASSES[0])], (*FLAGS, "row"), folders=(pictures,))


def _read_picture(rows: Rows, file: Path, pictures: Path, texts: list[str], at: int, seen: dict[str, int]) -> int:
    """The picture whose name stands in line ``at``, counted from 1, and its faces; the place of the line after them."""
    name = texts[at - 1].strip()
    if not _is_name(name):
        raise DataError(f"{file}, line {at}: the name of a picture is expected, not {name!r:.40}")
    count = _face_count(f"{file}, line {at + 1}", texts[at : at + 1])
    first = at + 1
    again = seen.setdefault(name, at)
    out = leaves(pictures, name)
    if out:
        rows.say(ENTRY_MALFORMED, f"{file}, line {at}: {led_out(name, pictures)}")
    elif again != at:
        rows.say(LISTED_AGAIN, f"{file}, line {at}: {name} is listed twice, first in line {again}")
    else:
        rows.picture(pictures / name, header_size(pictures / name))
    for row in range(count):
        place = f"{file}, line {first + row + 1}"
        if first + row >= len(texts) or _is_name(texts[first + row].strip()):
            found = "the file ends" if first + row >= len(texts) else "the next picture follows"
            (rows.say if out else rows.say_of_picture)(
                ENTRY_MALFORMED, f"{file}, line {at}: {name} has {count} faces, but {found} after {row}"
            )
            return first + row
        if out or again != at:
            continue
        try:
            rows.object(_face_of(place, texts[first + row].split(), row))
        except DataError as error:
            rows.say_of_picture(ENTRY_MALFORMED, str(error))
    at = first + count
    return at + (count == 0 and [text.split() for text in texts[at : at + 1]] == [_NO_FACE])


def _is_name(text: str) -> bool:
    return text.lower().endswith(tuple(SUFFIXES))


def _face_count(place: str, line: list[str]) -> int:
    """The line that says how many faces follow."""
    text = " ".join("".join(line).split())
    try:
        count = whole_number(text)
    except ValueError:
        count = -1
    if count < 0:
        raise DataError(f"{place}: the number of faces is expected, not {text!r:.40}")
    return count


def _face_of(place: str, words: list[str], row: int) -> Object:
    """One line of a face: box and flags."""
    if len(words) != 4 + len(FLAGS):
        raise DataError(f"{place}: a face has {4 + len(FLAGS)} numbers, not {len(words)}")
    try:
        x, y, width, height = map(number, words[:4])
    except ValueError as error:
        raise DataError(f"{place}: the box {' '.join(words[:4])!r:.40} does not consist of numbers") from error
    flags: dict[str, int] = {}
    for word, (key, largest) in zip(words[4:], FLAGS.items(), strict=True):
        if word not in map(str, range(largest + 1)):
            raise DataError(f"{place}: {key} must be a whole number from 0 to {largest}, not {word!r:.40}")
        flags[key] = int(word)
    return Object(CLASSES[0], (x, y, x + width, y + height), bool(flags["invalid"]), (*flags.values(), row))
