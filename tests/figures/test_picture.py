"""Which picture and object are shown."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.errors import UsageError
from assignbench.figures.picture import (
    choose_object,
    choose_pictures,
    find_picture,
    open_object,
    open_picture,
    open_pictures,
    standouts,
)

OBJECTS = [  # picture, box, crowd
    (0, (10, 10, 50, 50), False),
    (0, (40, 40, 60, 60), False),  # meets the first
    (1, (0, 10, 90, 90), False),  # touches the border
    (2, (10, 10, 30, 30), False),
    (2, (5, 5, 95, 95), True),
    (2, (60, 60, 90, 90), False),
    (4, (20, 20, 24, 24), False),  # small
]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    images = []
    for index in range(5):
        path = tmp_path / ("a.png" if index != 4 else "b/a.png")
        path = path if index in (0, 4) else tmp_path / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (100, 100)).save(path)
        images.append(ImageInfo(10 + index, path, 100, 100))
    count = len(OBJECTS)
    return Dataset(
        name="five", split="evaluation (val)", classes=("cat", "dog"), category_ids=(1, 2), images=tuple(images),
        boxes=np.array([box for _, box, _ in OBJECTS], dtype=np.float64), labels=np.arange(count) % 2,
        image=np.array([image for image, _, _ in OBJECTS]), area=np.ones(count),
        crowd=np.array([crowd for _, _, crowd in OBJECTS]), annotation_ids=np.arange(count), repairs=(),
        fingerprint="0" * 64, offsets={},
    )  # fmt: skip


def test_by_id_or_name(dataset):
    assert find_picture(dataset, "12") == 2
    assert find_picture(dataset, "2.png") == 2
    with pytest.raises(UsageError, match=r"2 pictures of five have this name; write an id: 10, 14"):
        find_picture(dataset, "a.png")
    with pytest.raises(UsageError, match=r"--picture 7: five, evaluation \(val\), has no such picture"):
        find_picture(dataset, "7")
    with pytest.raises(UsageError, match="named twice"):
        open_pictures(dataset, ("12", "2.png"), 1)


def test_clear_pictures_first(dataset):
    """Two that stand alone, then one that touches the border, a small one, then two that meet."""
    assert choose_pictures(dataset, 4) == [2, 1, 4, 0]
    with pytest.raises(UsageError, match="fewer than 5 of the first 5 pictures hold an object"):
        choose_pictures(dataset, 5)


def test_objects_that_stand_out_first(dataset):
    assert standouts(dataset) == [(2, 1), (2, 0), (4, 0), (0, 0), (0, 1), (1, 0)]
    picture, number = open_object(dataset, None, None)
    assert (picture.info.id, number) == (12, 1)


def test_crowds_are_no_objects(dataset):
    picture = open_picture(dataset, 2)
    assert picture.boxes.tolist() == [[10, 10, 30, 30], [60, 60, 90, 90]]
    assert [picture.name(number) for number in range(2)] == ["dog", "dog"]
    assert picture.ignored_boxes.tolist() == [[5, 5, 95, 95]]


def test_an_object_by_number(dataset):
    picture = open_picture(dataset, 0)
    assert choose_object(picture, None) == 0
    assert choose_object(picture, 2) == 1
    for wanted in (0, 3):
        with pytest.raises(UsageError, match=rf"--object {wanted}: picture 10 \(a.png\) holds 2: 1 cat, 2 dog"):
            choose_object(picture, wanted)
    assert open_object(dataset, "10", None)[1] == 0
    assert open_object(dataset, None, 2)[0].info.id == 12
    with pytest.raises(UsageError, match="holds no object to be learned"):
        open_object(dataset, "13", None)
