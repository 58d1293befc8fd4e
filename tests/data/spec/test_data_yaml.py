import re
from pathlib import Path

import pytest

from assignbench.data.spec.data_yaml import read_data_yaml
from assignbench.errors import DataError

NAMES = "names: [cat, toy car]\n"
PLACES = ("images/train/a.jpg", "images/val/a.jpg", "images/test/a.jpg", "train.txt", "splits/val.txt")


@pytest.mark.parametrize(
    ("text", "train", "evaluation"),
    [
        ("train: images/train\nval: images/val", ["images/train"], ["images/val"]),
        ("train: images/train\nvalid: images/val", ["images/train"], ["images/val"]),
        ("train: images/train\nvalidation: images/val", ["images/train"], ["images/val"]),
        ("train: images/train\nval: images/val\ntest: images/test", ["images/train"], ["images/val"]),
        ("train: images/train\nval:\ntest: images/test", ["images/train"], ["images/test"]),
        ("train: [images/train, images/val]\nval: images/test", ["images/train", "images/val"], ["images/test"]),
        ("train: train.txt\nval: splits/val.txt", ["train.txt"], ["splits/val.txt"]),
        ("path: .\ntrain: ./images/train\nval: images/val/", ["images/train"], ["images/val"]),
        ("path: images\ntrain: train\nval: val", ["images/train"], ["images/val"]),
        ("path: images\ntrain: images/train\nval: val", ["images/train"], ["images/val"]),
        ("path: ../datasets/nowhere\ntrain: images/train\nval: images/val", ["images/train"], ["images/val"]),
        ("path: /home/me/set\ntrain: images/train\nval: images/val", ["images/train"], ["images/val"]),
        ("train: /home/me/set/images/train\nval: /home/me/set/images/val", ["images/train"], ["images/val"]),
        ("train: C:\\sets\\s\\images\\train\nval: images\\val", ["images/train"], ["images/val"]),
        ("train: ../images/train\nval: ../images/val", ["images/train"], ["images/val"]),
        ("train: images/train", ["images/train"], None),
        ("train: images/train\nval:", ["images/train"], None),
        ("train: images/train\nval: []", ["images/train"], None),
        ("train: images/train\nval: ''", ["images/train"], None),
    ],
)
def test_splits(lay_out, text, train, evaluation):
    spec = read_data_yaml(lay_out(*PLACES, "data.yaml = yaml", yaml=NAMES + text) / "data.yaml").spec
    assert spec.train == [Path(place) for place in train]
    assert spec.evaluation == (evaluation and [Path(place) for place in evaluation])
    assert spec.split == (0.8 if evaluation is None else None)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("path: .\ntrain: ./images/train\nval: images\\val", []),
        ("train: ../images/train\nval: ../images/val", []),  # as Roboflow means it
        (
            "train: /home/anna/other/images/train\nval: images/val",
            ["/home/anna/other/images/train, which is not there; images/train"],
        ),
        (
            "train: C:\\sets\\images\\train\nval: images/val",
            [r"C:\sets\images\train, which is not there; images/train"],
        ),
        ("train: data/set/images/train\nval: images/val", ["data/set/images/train, which is not there; images/train"]),
        (
            "path: ../old/cells-v1\ntrain: images/images/train\nval: images/val",
            [
                "../old/cells-v1, which is not there; the folder of the file",
                "images/images/train, which is not there; images/train",
            ],
        ),
        (
            "path: /content/drive/set\ntrain: images/train",
            ["/content/drive/set, which is not there; the folder of the file"],
        ),
        ("path: images\ntrain: images/train\nval: val", ["images/images/train, which is not there; images/train"]),
        ("train: ../beside/train\nval: images/val", ["../beside/train, which is not used; beside/train"]),
    ],
)
def test_what_is_taken_for_a_path_that_is_not_there_is_said(lay_out, text, instead):
    lay_out("train/a.jpg", folder="beside")
    folder = lay_out(*PLACES, "beside/train/a.jpg", "data.yaml = yaml", yaml=NAMES + text)
    found = read_data_yaml(folder / "data.yaml").instead
    assert list(found) == [f"data.yaml names {one} is taken instead" for one in instead]


def test_places_outside_of_the_folder_are_absolute(lay_out):
    other = lay_out("images/train/a.jpg", folder="other")
    text = f"{NAMES}path: ../other\ntrain: images/train\nval: {other}/images/train\n"
    spec = read_data_yaml(lay_out("data.yaml = yaml", yaml=text) / "data.yaml").spec
    assert spec.train == spec.evaluation == [other / "images/train"]


@pytest.mark.parametrize(
    "names", ["[a, 'no']", "{0: a, 1: no}", "{'0': a, '1': no}", '{1: no, "0": a}', "\n- a\n- no", "\n  1: no\n  0: a"]
)
def test_classes(lay_out, names):
    folder = lay_out(*PLACES, "data.yaml = yaml", yaml=f"train: images/train\nnames: {names}")
    assert read_data_yaml(folder / "data.yaml").spec.classes == ["a", "no"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold 'names', 'train' and 'val'"),
        ("[1]", "must hold 'names'"),
        ("names: [a", "a list is not closed"),
        ("train: images/train", "'names' must list the classes, not None"),
        ("names: []\ntrain: images/train", "'names' must list the classes"),
        ("names: {1: a}\ntrain: images/train", "must number the classes from 0 to 0 without gaps"),
        ("names: {0: a, '0': b}\ntrain: images/train", "without gaps|twice"),
        ("names: [a, 7]\ntrain: images/train", "class 1 must be text, not 7; put it in quotes"),
        ("names: [a, true]\ntrain: images/train", "class 1 must be text, not True; put it in quotes"),
        ("names: [a]\nnc: 2\ntrain: images/train", "'nc' is 2, but 'names' lists 1 classes"),
        ("names: [a]", "'train' must be a path or a list of paths, not None"),
        ("names: [a]\ntrain: 7", "'train' must be a path or a list of paths, not 7"),
        ("names: [a]\ntrain: [images/train, 7]", "'train' must be a path"),
        ("names: [a]\ntrain: images/train\nval: images/vol", "'val' names images/vol, but there is no .*/images/vol"),
        ("names: [a]\ntrain: images/train\npath: 7", "'path' must be text, not 7"),
        ("names: [a]\ntrain: images/train\nkpt_shape: 17", "'kpt_shape' must be"),
        ("names: [a]\ntrain: images/train\nkpt_shape: [0, 3]", "'kpt_shape' must be"),
        ("names: [a]\ntrain: images/train\nkpt_shape: [5, 4]", "'kpt_shape' must be"),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(lay_out, text, message):
    folder = lay_out(*PLACES)
    (folder / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_data_yaml(folder / "data.yaml")
    assert str(caught.value).startswith(str(folder / "data.yaml"))


@pytest.mark.parametrize(("shape", "keypoints"), [("[17, 3]", (17, 3)), ("[1, 2]", (1, 2))])
def test_keypoints(lay_out, shape, keypoints):
    text = f"{NAMES}train: images/train\nkpt_shape: {shape}"
    assert read_data_yaml(lay_out(*PLACES, "d.yaml = yaml", yaml=text) / "d.yaml").spec.keypoints == keypoints


@pytest.mark.parametrize("text", ['train: "\\0"', 'train: images/train\nval: "\\0x"', 'path: "\\0"\ntrain: x'])
def test_no_message_is_python_s_own(lay_out, text):
    folder = lay_out(*PLACES, "data.yaml = yaml", yaml=NAMES + text)
    with pytest.raises(DataError) as caught:
        read_data_yaml(folder / "data.yaml")
    assert not re.search("null byte|Error", str(caught.value))
