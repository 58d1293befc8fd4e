"""The table of repairs, row by row; through the COCO reader, which adds nothing to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.dataset import Dataset, describe
from assignbench.data.images import Images
from assignbench.data.read.build import _pictures_as_json
from assignbench.data.read.raw import positions
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError


def splits_with(coco: Any, *boxes: Any, **fields: Any) -> tuple[Dataset, Dataset]:
    """Both splits, holding the boxes as objects 1, 2, … of the picture of 100 × 80."""
    annotations = [coco.annotation(number, box, **fields) for number, box in enumerate(boxes, start=1)]
    content = coco.content(annotations=annotations)
    splits = open_dataset(coco.write(content, content), Path())
    return splits.train, splits.evaluation


def repaired(dataset: Dataset) -> dict[str, int]:
    return {repair.kind: repair.count for repair in dataset.repairs}


def test_a_clean_split_is_sorted_and_unchanged(coco):
    train = open_dataset(coco.write(), Path()).train
    assert [image.id for image in train.images] == [3, 7]
    assert train.classes == ("cat", "dog")
    assert train.category_ids == (2, 9)
    assert train.annotation_ids.tolist() == [5, 11, 12]
    assert train.boxes.tolist() == [[0, 0, 60, 45], [50, 5, 70, 15], [10, 20, 40, 60]]
    assert train.labels.tolist() == [1, 0, 1]
    assert train.crowd.tolist() == [True, False, False]
    assert train.repairs == ()
    assert train.objects_of(0) == slice(0, 1)
    assert train.objects_of(1) == slice(1, 3)
    assert not train.boxes.flags.writeable


@pytest.mark.parametrize("box", [[10, 10, 0, 5], [10, 10, 5, -3]])
def test_boxes_without_area_are_dropped_and_counted(coco, box):
    for split in splits_with(coco, box, [1, 1, 5, 5]):
        assert split.annotation_ids.tolist() == [2]
        assert repaired(split) == {"box of zero or negative size dropped": 1}
        assert "annotation 1 of image 7 (a.png)" in describe(split)[1]


@pytest.mark.parametrize("box", [[100, 0, 5, 5], [0, 80, 5, 5], [-5, 0, 5, 5], [200, 300, 5, 5]])
def test_boxes_outside_the_picture_are_dropped_and_counted(coco, box):
    for split in splits_with(coco, box, [1, 1, 5, 5]):
        assert split.annotation_ids.tolist() == [2]
        assert repaired(split) == {"box wholly outside the image dropped": 1}


def test_boxes_partly_outside_are_clipped_for_training_only(coco):
    train, evaluation = splits_with(coco, [-10, 70, 30, 40])
    assert train.boxes.tolist() == [[0, 70, 20, 80]]
    assert repaired(train) == {"box clipped to the image": 1}
    assert evaluation.boxes.tolist() == [[-10, 70, 20, 110]]
    assert evaluation.repairs == ()


def test_what_clipping_leaves_too_thin_to_teach_is_dropped(coco):
    train, evaluation = splits_with(coco, [99.999, 0, 50, 10])
    assert len(train.boxes) == 0
    assert repaired(train) == {"box thinner than 0.005 pixels dropped": 1}
    assert len(evaluation.boxes) == 1


def test_repeated_objects_are_dropped_for_training_only(coco):
    same, other = [10, 10, 5, 5], [10, 10, 5, 6]
    train, evaluation = splits_with(coco, same, other, same, same)
    assert train.annotation_ids.tolist() == [1, 2]
    assert repaired(train) == {"repeated box of the same class dropped": 2}
    assert len(evaluation.boxes) == 4


def test_minus_zero_is_zero(coco):
    train, _ = splits_with(coco, [0.0, 5, 20, 30], [-0.0, 5, 20, 30])
    assert repaired(train) == {"repeated box of the same class dropped": 1}


def test_a_repeat_must_agree_in_class_and_crowd(coco):
    box = [10, 10, 5, 5]
    content = coco.content(
        annotations=[
            coco.annotation(1, box),
            coco.annotation(2, box, category_id=2),
            coco.annotation(3, box, iscrowd=1),
            coco.annotation(4, box, image_id=3),
        ]
    )
    assert len(open_dataset(coco.write(content), Path()).train.boxes) == 4


def test_missing_area_and_iscrowd_are_filled_in(coco):
    for split in splits_with(coco, [10, 20, 30, 40], area=None, iscrowd=None):
        assert split.area.tolist() == [1200]
        assert split.crowd.tolist() == [False]
        assert repaired(split) == {"iscrowd or difficult missing, taken as 0": 1, "area missing, taken from the box": 1}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, 1e200])
def test_boxes_that_are_not_finite_are_refused_by_name(coco, number):
    with pytest.raises(DataError, match=r"annotation 1 of image 7 \(a.png\): the box .* not finite"):
        splits_with(coco, [10, number, 30, 40])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_id": 8}, "annotation 1 of image 8: there is no such image"),
        ({"category_id": 1}, r"annotation 1 of image 7 \(a.png\): there is no category 1"),
        ({"category_id": "cat"}, r"annotation 1 of image 7 \(a.png\): there is no category 'cat'"),
        ({"image_id": "b"}, "annotation 1 of image 1: there is no image 'b'"),
    ],
)
def test_orphans_are_refused(coco, fields, message):
    with pytest.raises(DataError, match=message):
        splits_with(coco, [1, 1, 5, 5], **fields)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    known=st.lists(st.integers(-50, 50) | st.integers(-(2**63), 2**63 - 1), max_size=8),  # in any order, perhaps twice
    values=st.lists(st.integers(-60, 60) | st.integers(-(2**63), 2**63 - 1), max_size=8),
)
def test_ids_are_found_be_they_dense_or_far_apart(known, values):
    values = [*values, *known]
    places = positions(np.array(values, dtype=np.int64), np.array(known, dtype=np.int64)).tolist()
    assert places == [known.index(value) if value in known else -1 for value in values]


@pytest.mark.parametrize(
    ("key", "position", "fields", "message"),
    [
        ("images", 1, {"id": 7}, r"image 7 \(a.png\): several image entries with one id \(and 1 more"),
        ("annotations", 1, {"id": 12}, "annotation 12 of image 7 .*: several annotations with one id"),
        ("categories", 1, {"id": 9}, "category 9: dog: several categories with one id"),
        ("categories", 1, {"name": "dog"}, "category 2: dog: several categories with one name"),
    ],
)
def test_repeated_ids_are_refused(coco, key, position, fields, message):
    content = coco.content()
    content[key][position].update(fields)
    with pytest.raises(DataError, match=message):
        open_dataset(coco.write(content), Path())


def test_missing_pictures_are_refused_with_count_and_example(coco):
    spec = coco.write()
    (coco.folder / "train2017" / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 pictures are missing, first .*train2017/b\.png"):
        open_dataset(spec, Path())


def test_a_picture_that_is_there_several_times_is_not_called_missing_without_a_word(coco):
    spec = coco.write()
    place = coco.folder / "train2017" / "b.png"
    for name in ("left", "right"):
        (coco.folder / "train2017" / name).mkdir()
        (coco.folder / "train2017" / name / "b.png").write_bytes(place.read_bytes() + name.encode())
    place.unlink()
    with pytest.raises(DataError, match=r"train2017 holds b\.png 2 times \(left/b\.png, right/b\.png\): say in a YAML"):
        open_dataset(spec, Path())


def test_images_without_objects_are_kept_and_counted(coco):
    train = open_dataset(coco.write(coco.content(annotations=[])), Path()).train
    assert len(train) == 2
    assert train.images_without_objects == 2
    assert train.boxes.shape == (0, 4)
    assert "2 images (2 without objects), 0 objects of 2 classes" in describe(train)[0]


def test_splits_are_matched_by_name_not_by_id(coco):
    swapped = coco.content(categories=[{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}])
    splits = open_dataset(coco.write(val=swapped), Path())
    assert splits.evaluation.classes == splits.train.classes == ("cat", "dog")
    assert splits.train.category_ids == (2, 9)
    assert splits.evaluation.category_ids == (9, 2)
    assert splits.evaluation.labels.tolist() == [0, 1, 0]


def test_a_class_that_only_evaluation_knows_is_refused(coco):
    more = coco.content(categories=[*coco.content()["categories"], {"id": 1, "name": "cow"}])
    with pytest.raises(DataError, match="training split does not know the class 'cow'"):
        open_dataset(coco.write(val=more), Path())


def test_a_class_that_evaluation_lacks_gets_a_free_id(coco):
    more = coco.content(categories=[*coco.content()["categories"], {"id": 1, "name": "cow"}])
    splits = open_dataset(coco.write(train=more), Path())
    assert splits.evaluation.classes == ("cow", "cat", "dog")
    assert splits.evaluation.category_ids == (10, 2, 9)


def test_the_fingerprint_follows_content_not_order_or_place(coco, tmp_path):
    content = coco.content()
    first = open_dataset(coco.write(content), Path()).train.fingerprint
    turned = {key: values[::-1] for key, values in content.items()}
    coco.folder = tmp_path / "elsewhere"
    assert open_dataset(coco.write(turned), Path()).train.fingerprint == first
    content["annotations"][0]["bbox"][0] += 0.01
    assert open_dataset(coco.write(content), Path()).train.fingerprint != first


def test_the_fingerprint_sees_pictures_as_json_writes_them():
    names = ['a "b"\\.png', "é/ü.png", "x/y/\udc80\n.png"]
    images = Images.named(Path(), np.array([3, 1, 2]), np.array([[4, 5], [6, 7], [8, 9]]), names)
    rows = [[3, names[0], 4, 5], [1, "ü.png", 6, 7], [2, "\udc80\n.png", 8, 9]]
    for block in (1, 2, 9):
        assert f"[{', '.join(_pictures_as_json(images, block))}]" == json.dumps(rows)


def test_boxes_in_fractions_are_refused(coco):
    with pytest.raises(DataError, match="no box is larger than a pixel: are these fractions"):
        splits_with(coco, [0.1, 0.2, 0.5, 0.5], [0.2, 0.2, 0.1, 0.3])


@pytest.mark.parametrize(
    ("below", "whole", "said"),
    [(23, 1, True), (8, 16, True), (4, 76, True), (4, 77, False), (3, 1, False), (0, 9, False)],
)
@pytest.mark.parametrize("place", [0.2, 40])
def test_boxes_below_a_pixel_are_said_if_one_in_twenty_is_so(coco, below, whole, said, place):
    small = ([place, place + n / 100, 0.3, 0.4] for n in range(below))
    for split in splits_with(coco, *small, *([1 + n, 1, 1, 5] for n in range(whole))):
        noted = [repair.count for repair in split.repairs if repair.kind.startswith("box with both sides below")]
        assert noted == [below] * said


def test_corners_in_place_of_sizes_are_said_in_both_splits(coco):
    for split in splits_with(coco, *([60, 50, 90 + n, 75] for n in range(5)), [1, 1, 5, 5]):
        (said,) = (repair for repair in split.repairs if repair.how == "noted")
        assert said.count == 5
        assert "are these corners" in said.kind


def test_a_picture_under_two_ids_and_names_alike_are_said(coco):
    content = coco.content(categories=[{"id": 9, "name": "dog"}, {"id": 2, "name": "Dog"}])
    content["images"][1]["file_name"] = "a.png"
    content["images"][1].update(width=100, height=80)
    train = open_dataset(coco.write(content, content), Path()).train
    assert {repair.kind.split(":")[0]: repair.count for repair in train.repairs} == {
        "file that other image ids have, too": 1,
        "class that is called as another one but for case, spaces or hyphens, kept apart": 1,
    }
