"""Every format says the same of the same pictures, through the readers."""

import numpy as np
import pytest

from assignbench.data.dataset import Dataset, describe
from assignbench.data.pictures import read_picture
from assignbench.data.spec.locate import open_dataset

FORMATS = ["coco", "voc", "objects365", "widerface", "yolo"]


def said(dataset: Dataset, index: int) -> list[tuple[str, tuple[float, ...], bool]]:
    own = dataset.objects_of(index)
    columns = (dataset.labels[own].tolist(), dataset.boxes[own].tolist(), dataset.crowd[own].tolist())
    return [(dataset.classes[label].lower(), tuple(box), crowd) for label, box, crowd in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_is_true(name, miniatures, tmp_path):
    mini = miniatures.WRITERS[name](tmp_path)
    splits = open_dataset(mini.spec, tmp_path)
    for dataset, pictures in ((splits.train, mini.train), (splits.evaluation, mini.evaluation)):
        assert dataset.classes == mini.classes
        assert len(dataset) == len(pictures)
        for index, (info, picture) in enumerate(zip(dataset.images, pictures, strict=True)):
            assert info.path.stem == picture.name
            assert (info.width, info.height) == (picture.width, picture.height)
            assert read_picture(info).shape == (picture.height, picture.width, 3)
            truth = [(one.name, one.box, one.ignored) for one in picture.objects]
            assert said(dataset, index) == truth
        assert np.array_equal(dataset.area, (dataset.boxes[:, 2:] - dataset.boxes[:, :2]).prod(axis=1))
    assert splits.evaluation.repairs == ()


@pytest.mark.parametrize(("name", "root"), [("objects365", True), ("widerface", True)])
def test_the_built_in_layouts_are_those_of_the_miniatures(name, root, miniatures, tmp_path):
    mini = miniatures.WRITERS[name](tmp_path)
    named, filed = open_dataset(name, tmp_path), open_dataset(mini.spec, tmp_path)
    assert [image.path for image in named.train.images] == [image.path for image in filed.train.images]
    assert len(named.train.classes) == (365 if name == "objects365" else 1)
    for one, other in ((named.train, filed.train), (named.evaluation, filed.evaluation)):
        assert np.array_equal(one.boxes, other.boxes)
        classes = [[each.classes[label] for label in each.labels] for each in (one, other)]
        assert classes[0] == classes[1]


def test_what_objects365_lacks_is_left_out_counted_and_named(miniatures, tmp_path):
    train = open_dataset(miniatures.write_objects365(tmp_path).spec, tmp_path).train
    assert "left aside: 1 × picture left out" in describe(train)[1]
    assert "patch6/objects365_v1_00320532.jpg" in describe(train)[1]
    assert 999 not in train.annotation_ids
