"""Whatever stands in a file, it is refused with an explanation, or read as it is written.

Each reader is held against the plainest possible reading of the same bytes, written here a second time: an object
that is accepted has the box that the file states, and one that is not there is counted.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.dataset import Dataset
from assignbench.data.read import cache
from assignbench.data.spec.locate import open_evaluation
from assignbench.errors import AssignbenchError

FUZZ = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# What real files go wrong with, and what readers trip over.
SCRAPS = [b"", b"0", b"-1", b"1e999", b"nan", b"NaN", b"null", b"true", b'"12"', b"1_0", "٣".encode(), b"\xff", b"\0"]
SCRAPS += [b",", b"{", b"}", b"[", b"]", b"<", b">", b"&x;", b"\n", b" ", b'"', b"\\", b"\xef\xbb\xbf", b"9" * 30, b"."]

Row = tuple[float, float, float, float]


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[float, int, bytes]]:
    """Where (as a fraction of the file), how many bytes go, and what comes."""
    one = st.tuples(st.floats(0, 1), st.integers(0, 8), st.sampled_from(SCRAPS) | st.binary(max_size=4))
    return draw(st.lists(one, min_size=1, max_size=3))


def mutated(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for at, gone, new in changes:
        place = int(at * len(data))
        data = data[:place] + new + data[place + gone :]
    return data


def replaced_number(data: bytes, which: int, new: bytes) -> bytes:
    """The same with one of its numbers replaced."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    one = found[which % len(found)]
    return data[: one.start()] + new + data[one.end() :]


def accounted(dataset: Dataset, stated: list[Row]) -> None:
    """Every box of an evaluation split is one that the file states, and the rest is counted."""
    dropped = sum(repair.count for repair in dataset.repairs if "dropped" in repair.kind)
    assert len(dataset.boxes) + dropped == len(stated)
    known = {tuple(row) for row in stated}
    assert all(tuple(row) in known for row in dataset.boxes.tolist())
    assert np.isfinite(dataset.boxes).all()
    assert np.isfinite(dataset.area).all()


@pytest.fixture(scope="module")
def place(tmp_path_factory, miniatures) -> Path:
    """All miniatures in one folder each."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name, write in miniatures.WRITERS.items():
        write(folder / name)
    lists = {key: [{"folder": "voc", "list": name}] for key, name in (("train", "trainval"), ("evaluation", "test"))}
    (folder / "voc.yaml").write_text(yaml.safe_dump({"format": "voc", **lists}))  # pixels count from 1, come what may
    return folder


def test_every_miniature_is_accounted_for(place):
    """The plain readings below are right where nothing is wrong."""
    for name, file, read, plain in cases(place):
        accounted(read(), list(plain(file.read_bytes())))
        assert len(list(plain(file.read_bytes()))) > 1, name


def cases(place: Path) -> list[tuple[str, Path, Any, Any]]:
    """Format, a file, how it is read, and the plain reading of its bytes."""
    return [
        ("coco", place / "coco/annotations/instances_val2017.json", lambda: opened(f"coco:{place}/coco"), plain_coco),
        (
            "voc",
            place / "voc/Annotations/second.xml",
            lambda: only_picture(opened(str(place / "voc.yaml")), "second"),
            plain_voc,
        ),
        (
            "widerface",
            place / "widerface/widerface/wider_face_split/wider_face_val_bbx_gt.txt",
            lambda: opened("widerface", place / "widerface"),
            plain_wider,
        ),
        (
            "yolo",
            place / "yolo/labels/val/second.txt",
            lambda: only_picture(opened(f"yolo:{place}/yolo"), "second"),
            plain_yolo,
        ),
    ]


def opened(spec: str, data_root: Path = Path()) -> Dataset:
    """The evaluation split, which keeps boxes as they are."""
    return open_evaluation(spec, data_root)


def only_picture(dataset: Dataset, stem: str) -> Dataset:
    """What `accounted` asks of a data set, for one picture; the others have no repairs."""
    index = next(index for index, image in enumerate(dataset.images) if image.path.stem == stem)
    own = dataset.objects_of(index)
    return replace(dataset, boxes=dataset.boxes[own], area=dataset.area[own])


def plain_coco(data: bytes) -> Iterator[Row]:
    for entry in json.loads(data)["annotations"]:
        x, y, width, height = map(float, entry["bbox"])  # a number in text is one
        yield x, y, x + width, y + height


def plain_voc(data: bytes) -> Iterator[Row]:
    for element in ET.fromstring(data).findall("object"):  # noqa: S314  # the reader has accepted it
        x0, y0, x1, y1 = (float(str(element.findtext(f"bndbox/{key}"))) for key in ("xmin", "ymin", "xmax", "ymax"))
        if x1 < x0 and y1 < y0:  # drawn from the other corner
            x0, y0, x1, y1 = x1, y1, x0, y0
        yield x0 - 1, y0 - 1, x1, y1


def plain_wider(data: bytes) -> Iterator[Row]:
    for line in data.decode("utf-8-sig").split("\n"):
        words = line.split()
        if len(words) == 10 and words != ["0"] * 10:
            x, y, width, height = map(float, words[:4])
            yield x, y, x + width, y + height


def plain_yolo(data: bytes) -> Iterator[Row]:
    for line in data.decode("utf-8-sig").split("\n"):
        if line.split():
            numbers = [float(word) for word in line.replace(",", " ").split()[1:]]
            if len(numbers) == 4:
                x, y, width, height = numbers
                corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            else:
                corners = (min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))
            x0, y0, x1, y1 = corners
            yield x0 * 96, y0 * 128, x1 * 96, y1 * 128  # the size of the picture


def held_to_account(case: tuple[str, Path, Any, Any], data: bytes) -> bool:
    """Read these bytes; whether they were accepted."""
    _, file, read, plain = case
    sound = file.read_bytes()
    try:
        file.write_bytes(data)
        dataset = read()
    except AssignbenchError as error:
        message = str(error)
        assert message.encode()  # can be printed
        assert len(message) < 2_000
        return False
    finally:
        file.write_bytes(sound)
    accounted(dataset, list(plain(data)))
    return True


FORMATS = ["coco", "voc", "widerface", "yolo"]


@pytest.mark.parametrize("number", range(4), ids=FORMATS)
@FUZZ
@given(changes=mutations())
def test_changed_bytes(place, number, changes):
    case = cases(place)[number]
    held_to_account(case, mutated(case[1].read_bytes(), changes))


@pytest.mark.parametrize("number", range(4), ids=FORMATS)
@FUZZ
@given(which=st.integers(0, 60), new=st.sampled_from(SCRAPS) | st.integers().map(lambda value: b"%d" % value))
def test_changed_numbers(place, number, which, new):
    case = cases(place)[number]
    held_to_account(case, replaced_number(case[1].read_bytes(), which, new))


@pytest.mark.parametrize("number", range(4), ids=FORMATS)
@settings(FUZZ, max_examples=60)
@given(data=st.binary(max_size=60))
def test_random_bytes(place, number, data):
    held_to_account(cases(place)[number], data)


@pytest.mark.parametrize("number", range(4), ids=FORMATS)
def test_every_cut(place, number):
    """A file that ends too early: wherever, it is refused, or it is whole without its end."""
    case = cases(place)[number]
    data = case[1].read_bytes()
    accepted = sum(held_to_account(case, data[:end]) for end in range(0, len(data), max(1, len(data) // 150)))
    assert accepted < 40  # of 150: text formats cannot tell every end


@settings(FUZZ, max_examples=60)
@given(changes=mutations())
def test_changed_data_yaml(place, changes):
    file = place / "yolo" / "data.yaml"
    sound = file.read_bytes()
    try:
        file.write_bytes(mutated(sound, changes))
        opened(f"yolo:{place}/yolo")
    except AssignbenchError:
        pass
    finally:
        file.write_bytes(sound)


@settings(FUZZ, max_examples=60)
@given(changes=mutations())
def test_a_changed_cache_is_the_same_or_none(place, monkeypatch, changes):
    monkeypatch.setattr(cache, "SMALLEST", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "xdg"))
    _, _, read, _ = cases(place)[0]
    first = read()
    for file in (place / "xdg").rglob("*.arrays"):
        data = mutated(file.read_bytes(), changes)
        file.unlink()
        file.write_bytes(data)
    again = read()
    assert np.array_equal(again.boxes, first.boxes)
    assert again.fingerprint == first.fingerprint


# What an editor, a script or a tool does to whole entries: one is dropped, repeated, moved, given another type.
OPERATIONS = ("drop", "repeat", "reverse", "empty", "text", "fraction", "negative", "nested")
ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "gbk", "shift-jis")


def changed_value(operation: str, value: Any) -> Any:
    """A value of JSON or a text of XML, as another type."""
    wrong = {"empty": "", "text": f"{value}", "fraction": 1.5, "negative": -7, "nested": [value]}
    return wrong[operation]


def changed_json(data: bytes, key: str, which: int, operation: str) -> bytes:
    """One of COCO's lists or one key of its entries, changed."""
    content = json.loads(data)
    name, _, part = key.partition(".")
    rows = content[name]
    at = which % len(rows)
    if operation == "reverse":
        content[name] = rows[::-1]
    elif operation == "drop":
        rows[at].pop(part) if part else rows.pop(at)
    elif operation == "repeat":
        rows.append(rows[at])
    elif part:
        rows[at][part] = changed_value(operation, rows[at][part])
    else:
        rows[at] = changed_value(operation, 3)
    return json.dumps(content).encode()


def changed_xml(data: bytes, which: int, operation: str) -> bytes:
    """One element of an annotation, changed."""
    root = ET.fromstring(data)  # noqa: S314  # our own
    pairs = [(parent, at) for parent in root.iter() for at in range(len(parent))]
    parent, at = pairs[which % len(pairs)]
    element = parent[at]
    if operation == "drop":
        parent.remove(element)
    elif operation == "repeat":
        parent.append(element)
    elif operation == "reverse":
        parent[:] = parent[::-1]
    elif operation == "nested":
        element.append(ET.Element(element.tag))
    else:
        element.text = str(changed_value(operation, element.text))
    return ET.tostring(root)


def changed_lines(data: bytes, which: int, operation: str) -> bytes:
    """One line of a text, or its first word, changed."""
    lines = data.decode().split("\n")
    at = which % len(lines)
    if operation == "drop":
        del lines[at]
    elif operation == "repeat":
        lines.insert(at, lines[at])
    elif operation == "reverse":
        lines = lines[::-1]
    elif operation == "nested":
        lines[at] = f"  {lines[at]}  "
    else:
        words = lines[at].split()
        lines[at] = " ".join([str(changed_value(operation, words[0])), *words[1:]]) if words else "x"
    return "\n".join(lines).encode()


KEYS = ["images", "annotations", "categories"]
KEYS += [f"images.{key}" for key in ("id", "file_name", "width", "height")]
KEYS += [f"annotations.{key}" for key in ("id", "image_id", "category_id", "bbox", "area", "iscrowd")]
KEYS += ["categories.id", "categories.name"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("number", range(4), ids=FORMATS)
def test_changed_entries(place, number, operation):
    case = cases(place)[number]
    data = case[1].read_bytes()
    for which in range(12):
        if case[0] == "coco":
            for key in KEYS:
                held_to_account(case, changed_json(data, key, which % 3, operation))
        else:
            change = changed_xml if case[0] == "voc" else changed_lines
            held_to_account(case, change(data, which, operation))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("number", range(4), ids=FORMATS)
def test_changed_encodings(place, number, encoding):
    """Another encoding is read to the same boxes, or refused."""
    case = cases(place)[number]
    _, file, read, _ = case
    sound = file.read_bytes()
    expected = read().boxes.tolist()
    try:
        file.write_bytes(sound.decode().encode(encoding))
        boxes, message = expected, str(file)
        try:
            boxes = read().boxes.tolist()
        except AssignbenchError as error:
            message = str(error)
        assert boxes == expected
        assert str(file) in message
    finally:
        file.write_bytes(sound)
