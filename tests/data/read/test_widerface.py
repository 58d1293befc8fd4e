import pytest

from assignbench.data.dataset import Dataset, describe
from assignbench.data.read.build import build_dataset
from assignbench.data.read.raw import RawSplit
from assignbench.data.read.widerface import FLAGS, read_widerface
from assignbench.errors import DataError

FACE = "10 10 20 20 0 0 0 0 0 0"


@pytest.fixture
def read(tmp_path, save_picture):
    """Reads a text; the pictures a.jpg and b.jpg of an event are there."""
    for name in ("a.jpg", "b.jpg"):
        save_picture(tmp_path / "images" / "0--Parade" / name, 100, 80)

    def reading(text: str, training: bool = True) -> Dataset:
        file = tmp_path / "gt.txt"
        file.write_text(text.replace("NAME", "0--Parade/a.jpg"), encoding="utf-8")
        raw = read_widerface(file, tmp_path / "images", "train" if training else "evaluation")
        return build_dataset(raw, name="wider", split="s", classes=None, training=training)

    return reading


def test_boxes_flags_and_invalid_faces(read):
    faces = ["1 2 30 40 2 1 0 0 1 1 ", "5 6 7 8 0 0 1 1 2 0 ", "50 20 10 10 1 0 0 0 0 0"]
    dataset = read("\n".join(["NAME", "3", *faces, "0--Parade/b.jpg", "1", FACE]))
    assert [image.path.parts[-2:] for image in dataset.images] == [("0--Parade", "a.jpg"), ("0--Parade", "b.jpg")]
    assert (dataset.images[0].width, dataset.images[0].height) == (100, 80)
    assert dataset.classes == ("face",)
    assert dataset.boxes.tolist() == [[1, 2, 31, 42], [5, 6, 12, 14], [50, 20, 60, 30], [10, 10, 30, 30]]
    assert dataset.crowd.tolist() == [False, True, False, False]
    assert list(dataset.flags) == [*FLAGS, "row"]
    assert {key: values.tolist() for key, values in dataset.flags.items()} == {
        "blur": [2, 0, 1, 0],
        "expression": [1, 0, 0, 0],
        "illumination": [0, 1, 0, 0],
        "invalid": [0, 1, 0, 0],
        "occlusion": [1, 2, 0, 0],
        "pose": [1, 0, 0, 0],
        "row": [0, 1, 2, 0],
    }


def test_faces_of_no_size_are_dropped_and_the_places_of_the_others_stay(read):
    text = "\n".join(["NAME", "3", "1 1 0 5 0 0 0 0 0 0", FACE, "1 1 5 -2 0 0 0 0 0 0"])
    for training in (True, False):
        dataset = read(text, training)
        assert dataset.annotation_ids.tolist() == [2]
        assert dataset.flags["row"].tolist() == [1]
        assert "2 × box of zero or negative size dropped (annotation 1 of image 1 (a.jpg)" in describe(dataset)[1]


@pytest.mark.parametrize("line", ["0 0 0 0 0 0 0 0 0 0 \n", "0 0 0 0 0 0 0 0 0 0\r\n", ""])
def test_a_picture_without_faces_may_be_followed_by_zeros(read, line):
    dataset = read(f"NAME\n0\n{line}0--Parade/b.jpg\n1\n{FACE}\n\n")
    assert dataset.images_without_objects == 1
    assert len(dataset.boxes) == 1
    assert dataset.repairs == ()


def test_a_byte_order_mark_and_windows_lines_are_read(read):
    assert len(read(f"\ufeffNAME\r\n1\r\n{FACE}\r\n").boxes) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no picture for"),
        ("NAME", "line 2: the number of faces is expected, not ''"),
        ("NAME\nmany\n", "line 2: the number of faces is expected, not 'many'"),
        ("NAME\n-1\n", "line 2: the number of faces is expected, not '-1'"),
        ("NAME\n1_0\n", "line 2: the number of faces is expected, not '1_0'"),
        (f"NAME\n2\n{FACE}\n", r"line 1: .*a\.jpg has 2 faces, but the file ends after 1"),
        ("NAME\n1\n1 2 3 4 0 0\n", "line 3: a face has 10 numbers, not 6"),
        ("NAME\n1\n1 2 x 4 0 0 0 0 0 0\n", "line 3: the box '1 2 x 4' does not consist of numbers"),
        ("NAME\n1\n1 2 ٣ 4 0 0 0 0 0 0\n", "line 3: the box '1 2 ٣ 4' does not consist of numbers"),
        ("NAME\n1\n1 2 nan 4 0 0 0 0 0 0\n", "annotation 1 of image 1 .*: the box .* not finite"),
        ("NAME\n1\n1 2 1e999 4 0 0 0 0 0 0\n", "annotation 1 of image 1 .*: the box .* not finite"),
        ("NAME\n1\n1 2 3 4 3 0 0 0 0 0\n", "line 3: blur must be a whole number from 0 to 2, not '3'"),
        ("NAME\n1\n1 2 3 4 0 0 0 yes 0 0\n", "line 3: invalid must be a whole number from 0 to 1, not 'yes'"),
        (f"NAME\n1\n{FACE}\nNAME\n0\n", r"line 4: .*a\.jpg is listed twice, first in line 1"),
        (f"NAME\n1\n{FACE}\n{FACE}\n", "line 4: the name of a picture is expected, not '10 10"),
        (f"NAME\n0\n{FACE}\n", "line 3: the name of a picture is expected"),
        ("0--Parade/c.jpg\n0\n", r"1 of 1 pictures are missing, first .*0--Parade/c\.jpg"),
    ],
)
def test_malformed_files_are_refused_with_file_and_line(read, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(text)
    assert "gt.txt" in str(caught.value)


def refuse(raw: RawSplit) -> None:
    build_dataset(raw, name="w", split="s", classes=None, training=True)


def test_a_file_that_is_not_there_or_not_a_text_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no annotation file .*gt\.txt"):
        refuse(read_widerface(tmp_path / "gt.txt", tmp_path, "train"))
    (tmp_path / "gt.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text in UTF-8"):
        refuse(read_widerface(tmp_path / "gt.txt", tmp_path, "train"))
