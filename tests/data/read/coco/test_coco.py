import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.dataset import Dataset
from assignbench.data.read.coco import file as reading
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError


def replaced(content: Any, place: list[Any], value: Any) -> Any:
    """The content with one value replaced, or removed when the value is Ellipsis."""
    *outer, last = place
    target = content
    for key in outer:
        target = target[key]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return content


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["images"], ..., "'images' is missing or not a list"),
        (["images"], ..., "this one has 'annotations', 'categories'$"),
        (["annotations"], {}, "'annotations' is missing or not a list"),
        (["categories"], [], "no category"),
        (["images"], [], "there is no picture for"),
        (["images", 1], 5, r"images\[1\] must be an object, not 5"),
        (["images", 0, "file_name"], ..., r"images\[0\] \(image 7\): 'file_name' must be text, not missing"),
        (["images", 0, "file_name"], "", r"images\[0\] \(image 7\): 'file_name' must be text, not ''"),
        (["images", 0, "file_name"], "\ud800.png", r"images\[0\] \(image 7\): 'file_name' must be text"),
        (["images", 0, "file_name"], "a\0.png", r"images\[0\] \(image 7\): 'file_name' must be text"),
        (["images", 0, "id"], "", r"images\[0\] \(image ''\): 'id' must be a whole number, not ''"),
        (["annotations", 0, "id"], ..., r"annotations\[0\]: 'id' must be a whole number, not missing"),
        (["annotations", 0, "id"], True, r"'id' must be a whole number, not True"),
        (["annotations", 0, "id"], 2**70, r"'id' is 1180591620717411303424, which has more digits than can be kept"),
        (["annotations", 0, "id"], -(2**63), r"'id' is -9223372036854775808, which has more digits"),
        (["annotations", 0, "id"], 1e300, r"'id' must be a whole number, not 1e\+300"),
        (["annotations", 0, "category_id"], 9.5, r"'category_id' must be a whole number, not 9\.5"),
        (["annotations", 0, "category_id"], 2.0**53, r"'category_id' must be a whole number, not 9007199254740992\.0"),
        (["annotations", 0, "bbox"], [1, 2, 3], r"annotations\[0\] \(annotation 12 of image 7\): 'bbox' must be"),
        (["annotations", 0, "bbox"], None, r"'bbox' must be \[x, y, width, height\], not None; there is no outline"),
        (["annotations", 0, "bbox"], ..., r"'bbox' must be \[x, y, width, height\], not missing"),
        (["annotations", 0, "bbox", 2], None, r"'bbox' must hold numbers, not None"),
        (["annotations", 0, "bbox", 0], "1,5", r"annotation 12 of image 7\): 'bbox' must hold numbers, not '1,5'"),
        (["annotations", 0, "bbox", 0], True, r"'bbox' must hold numbers, not True"),
        (["annotations", 0, "bbox", 0], math.nan, r"annotation 12 of image 7.* finite"),
        (["annotations", 0, "bbox", 0], "Infinity", r"annotation 12 of image 7.* finite"),
        (["annotations", 0, "area"], -1, "'area' must be finite and not negative"),
        (["annotations", 0, "area"], math.nan, "'area' must be finite and not negative"),
        (["annotations", 0, "area"], "large", r"'area' must hold numbers, not 'large'"),
        (["annotations", 0, "iscrowd"], 2, "'iscrowd' must be 0 or 1, not 2"),
        (["annotations", 0, "iscrowd"], -1, "'iscrowd' must be 0 or 1, not -1"),
        (["annotations", 0, "iscrowd"], "yes", "'iscrowd' must be 0 or 1, not 'yes'"),
        (["annotations", 0, "iscrowd"], [], r"'iscrowd' must be 0 or 1, not \[\]"),
        (["annotations", 0], [], r"annotations\[0\] must be an object, not \[\]"),
        (["categories", 0, "name"], "", r"categories\[0\] \(category 9\): 'name' must be text"),
        (["categories", 0, "name"], "  ", r"categories\[0\] \(category 9\): 'name' must be text"),
        (["categories", 0, "name"], "\udc00", r"categories\[0\] \(category 9\): 'name' must be text"),
        (
            ["categories", 0, "name"],
            "cat ",
            "category 2: cat: several categories with one name",
        ),  # like another, but for blanks
        (["categories", 0, "assignbench_offset"], [1], r"'assignbench_offset' must be two numbers"),
    ],
)
def test_malformed_content_is_refused_with_its_place(coco, place, value, message):
    spec = coco.write(replaced(coco.content(), place, value))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(spec, Path())
    assert str(coco.folder / "annotations" / "instances_train2017.json") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; copy it again"),
        ("  \n", "is empty"),
        ("{", "a key in double quotes expected at character 1, but the file ends: it was cut off"),
        ('{"images": [', "a value expected at character 12, but the file ends"),
        ("[]", "the top level must be an object .*, not a list"),
        ("7", "the top level must be an object"),
        ("[" * 100_000, "its brackets are nested too deeply"),
        ("<!DOCTYPE html><html>", "is an HTML page"),
        ("\n<HTML>", "is an HTML page"),
        ("<annotation>", "is XML or HTML"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1", "is the pointer of Git LFS"),
        ("\x1f\x08", r"a value expected at character 0, in '\\x1f"),
    ],
)
def test_text_that_is_not_a_data_set_is_refused(coco, text, message):
    with pytest.raises(DataError, match=rf"instances_train2017\.json(?: is not valid JSON)?:? {message}"):
        open_dataset(coco.write(text), Path())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"caf\xe9": 1}', r"no text in UTF-8 \(at byte 5\); save it in UTF-8"),
        (b'{"images": "' + b" " * 100 + b"\xe9" + b'"}', r"\(at byte 112\)"),
        (b"\x1f\x8b\x08", r"is compressed \(gzip\); unpack it"),
        (b"PK\x03\x04", r"is compressed \(ZIP\); unpack it"),
    ],
)
def test_what_is_no_text_is_refused(coco, data, message):
    spec = coco.write()
    (coco.folder / "annotations" / "instances_train2017.json").write_bytes(data)
    with pytest.raises(DataError, match=message):
        open_dataset(spec, Path())


@pytest.mark.parametrize("key", ["id", "image_id", "category_id", "bbox", "area", "iscrowd"])
def test_a_key_given_twice_is_refused(coco, key):
    """JSON readers keep the last value and say nothing."""
    content = coco.content()
    twice = json.dumps(content).replace(f'"{key}": ', f'"{key}": 5, "{key}": ')
    with pytest.raises(DataError, match=rf"\[\d\]: the key '{key}' is given twice"):
        open_dataset(coco.write(twice), Path())


def test_keys_that_nobody_reads_may_be_there_twice(coco):
    text = json.dumps(coco.content()).replace('"area": ', '"note": {"id": 1, "id": 2}, "note": 3, "area": ')
    assert len(open_dataset(coco.write(text), Path()).train.boxes) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read(coco, encoding):
    spec = coco.write()
    file = coco.folder / "annotations" / "instances_train2017.json"
    file.write_bytes(json.dumps(coco.content()).encode(encoding))
    assert len(open_dataset(spec, Path()).train.boxes) == 3


@pytest.mark.parametrize("garbage", ["x", "{}", "]", "\0", '{"images": []}'])
def test_trailing_garbage_is_refused(coco, garbage):
    with pytest.raises(DataError, match="the end of the file expected at character"):
        open_dataset(coco.write(json.dumps(coco.content()) + "\n" + garbage), Path())


def test_ids_may_be_zero_negative_and_far_apart(coco):
    content = coco.content(
        images=[
            {"id": 0, "file_name": "a.png", "width": 100, "height": 80},
            {"id": -(2**62), "file_name": "b.png", "width": 60, "height": 90},
        ],
        annotations=[
            coco.annotation(0, [1, 1, 5, 5], image_id=0, category_id=0),
            coco.annotation(2**62, [2, 2, 5, 5], image_id=-(2**62), category_id=7),
        ],
        categories=[{"id": 7, "name": "dog"}, {"id": 0, "name": "cat"}],
    )
    train = open_dataset(coco.write(content, content), Path()).train
    assert [image.id for image in train.images] == [-(2**62), 0]
    assert train.annotation_ids.tolist() == [2**62, 0]
    assert train.labels.tolist() == [1, 0]
    assert train.category_ids == (0, 7)


def test_entry_by_entry_gives_the_same_as_column_by_column(coco, monkeypatch):
    spec = coco.write()
    columns = open_dataset(spec, Path()).train
    monkeypatch.setattr(reading, "_usual_annotations", lambda piece: None)
    monkeypatch.setattr(reading, "_usual_images", lambda piece: None)
    assert open_dataset(spec, Path()).train.fingerprint == columns.fingerprint


def test_offsets_are_read(coco):
    content = replaced(coco.content(), ["categories", 0, "assignbench_offset"], [0.25, -0.5])
    assert open_dataset(coco.write(content), Path()).train.offsets == {"dog": (0.25, -0.5)}


def opened(spec: str) -> Dataset | None:
    """The training split, or None when it is refused as it should be."""
    try:
        return open_dataset(spec, Path()).train
    except DataError:
        return None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "bbox"]), inner, max_size=2),
    max_leaves=4,
)
PLACES = st.sampled_from(
    [["images"], ["annotations"], ["categories"], ["images", 0], ["annotations", 0], ["categories", 0]]
    + [["images", 0, key] for key in ("id", "file_name", "width", "height")]
    + [["annotations", 0, key] for key in ("id", "image_id", "category_id", "bbox", "area", "iscrowd")]
    + [["annotations", 0, "bbox", 3], ["categories", 0, "id"], ["categories", 0, "name"]]
)


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=PLACES, value=VALUES)
def test_whatever_stands_in_a_file_ends_in_a_data_set_or_a_data_error(coco, place, value):
    spec = coco.write(json.dumps(replaced(coco.content(), place, value)))
    train = opened(spec)
    assert train is None or (train.boxes[:, 2:] > train.boxes[:, :2]).all()
    assert train is None or (train.boxes >= 0).all()
