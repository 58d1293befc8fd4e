import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.dataset import Dataset
from assignbench.data.specs import open_dataset
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
        (["annotations"], {}, "'annotations' is missing or not a list"),
        (["categories"], [], "no category"),
        (["images"], [], "the split has no images"),
        (["images", 1], 5, r"images\[1\] must be an object, not 5"),
        (["images", 0, "width"], "100", r"images\[0\]\.width must be a whole number, not '100'"),
        (["images", 0, "height"], 0, r"images\[0\] \(image 7\) has the size 100×0"),
        (["images", 0, "file_name"], ..., r"images\[0\]\.file_name must be text, not missing"),
        (["images", 0, "id"], "x", r"images\[0\]\.id must be a whole number"),
        (["annotations", 0, "id"], ..., r"annotations\[0\]\.id must be a whole number, not missing"),
        (["annotations", 0, "id"], True, r"annotations\[0\]\.id must be a whole number, not True"),
        (["annotations", 0, "id"], 2**70, r"annotations\[0\]\.id must be a whole number"),
        (["annotations", 0, "bbox"], [1, 2, 3], r"annotation 12 of image 7\): 'bbox' must be"),
        (
            ["annotations", 0, "bbox", 2],
            "3",
            r"annotation 12 of image 7\): 'bbox' must hold numbers, not '3'",
        ),
        (["annotations", 0, "bbox", 2], None, r"'bbox' must hold numbers, not None"),
        (["annotations", 0, "area"], -1, "'area' must be finite and not negative"),
        (["annotations", 0, "area"], math.nan, "'area' must be finite and not negative"),
        (["annotations", 0, "iscrowd"], 2, "'iscrowd' must be 0 or 1, not 2"),
        (["categories", 0, "name"], "", r"categories\[0\]\.name must be text"),
        (["categories", 0, "assignbench_offset"], [1], r"assignbench_offset must be two numbers"),
    ],
)
def test_malformed_content_is_refused_with_its_place(coco, place, value, message):
    spec = coco.write(replaced(coco.content(), place, value))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(spec, Path())
    assert str(coco.folder / "annotations" / "instances_train2017.json") in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "[]", "7", "[" * 100_000])
def test_text_that_is_not_a_data_set_is_refused(coco, text):
    with pytest.raises(DataError, match=r"instances_train2017\.json"):
        open_dataset(coco.write(text), Path())


def test_text_in_another_encoding_is_refused(coco):
    spec = coco.write()
    (coco.folder / "annotations" / "instances_train2017.json").write_bytes(b'{"caf\xe9": 1}')
    with pytest.raises(DataError, match="not valid JSON"):
        open_dataset(spec, Path())


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
