import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from assignbench.data.check.check import check_dataset
from assignbench.data.check.fix_write import write_fixed
from assignbench.data.dataset import Dataset
from assignbench.data.pictures import read_picture
from assignbench.data.read.findings import BOXES_BEYOND
from assignbench.data.read.rows import Object, Rows
from assignbench.data.read.rules import repairs
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError

LAYOUT = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"]}


class YoloMaker:
    """Small data sets in YOLO's layout; every picture has 100 × 80 pixels."""

    def __init__(self, folder: Path, save_picture: Any) -> None:
        self.folder = folder
        self.save = save_picture

    def write(self, *labels: str | None, yaml_name: str = "data.yaml", **content: Any) -> str:
        """A training picture for each text of labels (None: no file), and one of evaluation. Returns the spec."""
        for split, texts in (("train", labels), ("val", ["0 0.5 0.5 0.5 0.5\n"])):
            for number, text in enumerate(texts):
                self.save(self.folder / "images" / split / f"{number}.jpg", 100, 80)
                if text is not None:
                    file = self.folder / "labels" / split / f"{number}.txt"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")
        stated = {key: value for key, value in {**LAYOUT, **content}.items() if value is not ...}
        (self.folder / yaml_name).write_text(yaml.safe_dump(stated))
        return f"yolo:{self.folder}"


@pytest.fixture
def yolo(tmp_path, save_picture):
    folder = tmp_path / "yolo_set"
    folder.mkdir()
    return YoloMaker(folder, save_picture)


def train_of(spec: str) -> Dataset:
    return open_dataset(spec, Path()).train


def repaired(dataset: Dataset) -> dict[str, int]:
    return {repair.kind: repair.count for repair in dataset.repairs}


def test_boxes_and_polygons(yolo):
    text = "1 0.5 0.5 0.25 0.5\n\n0 0.1 0.2 0.5 0.1 0.3 0.9\r\n"
    train = train_of(yolo.write(text))
    assert train.boxes.tolist() == [[37.5, 20, 62.5, 60], [10, 8, 50, 72]]
    assert train.labels.tolist() == [1, 0]
    assert train.category_ids == (0, 1)
    assert train.area.tolist() == [1000, 2560]
    assert not train.crowd.any()
    assert (train.name, train.split) == ("yolo:yolo_set", "train (train)")
    assert train.repairs == ()


def test_pictures_without_labels_are_kept_and_those_without_a_file_counted(yolo):
    train = train_of(yolo.write("0 0.5 0.5 0.1 0.1", "", "\n \n", None, None))
    assert (len(train), train.images_without_objects) == (5, 4)
    assert repaired(train) == {"picture without a label file, taken as one without objects": 2}
    assert train.repairs[0].examples == ("image 4 (3.jpg): 3.txt", "image 5 (4.jpg): 4.txt")


def test_labels_without_a_picture_are_counted(yolo):
    spec = yolo.write("0 0.5 0.5 0.1 0.1")
    for name in ("lost.txt", "classes.txt", "more/lost.txt", "train.cache"):
        file = yolo.folder / "labels" / "train" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    assert repaired(train_of(spec)) == {"label file without a picture left aside": 2}


def test_labels_of_nothing_at_all_are_refused(yolo):
    with pytest.raises(DataError, match=r"none of 2 pictures has labels; the first belong into .*labels/train/0\.txt"):
        train_of(yolo.write(None, None))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "4 columns, neither a class and a box nor a class and a polygon"),
        ("0 0.5 0.5 0.5 0.5 0.9", "six columns, the last of them probably a score"),
        ("0 .1 .1 .2 .2 .3 .3 .4", "8 columns, neither"),
        ("2 0.5 0.5 0.5 0.5", "there is no class 2; 2 are named, counted from 0"),
        ("-1 0.5 0.5 0.5 0.5", "there is no class -1"),
        ("cat 0.5 0.5 0.5 0.5", "the class 'cat' is not a number"),
        ("0.5 0.5 0.5 0.5 0.5", "the class '0.5' is not a whole number"),
        ("nan 0.5 0.5 0.5 0.5", "the class 'nan' is not a whole number"),
        ("1_0 0.5 0.5 0.5 0.5", "'1_0' is not a number"),
        ("0 0.5 half 0.5 0.5", "'half' is not a number"),
        ("0 0.5 0_5 0.5 0.5", "'0_5' is not a number"),
        ("0 50 40 20 10", "50 is not a fraction of the picture's size, from 0 to 1; are these pixels"),
        ("0 0.5 0.5 1.01 0.5", "1.01 is not a fraction"),
        ("0 0.5 -0.1 0.5 0.5", "-0.1 is not a fraction"),
        ("0 0.5 0.5 -0.5 0.5", "-0.5 is not a fraction"),
        ("0 0.5 nan 0.5 0.5", "nan is not a fraction"),
        ("0 0.5 inf 0.5 0.5", "inf is not a fraction"),
    ],
)
def test_malformed_lines_are_refused_with_their_place(yolo, line, message):
    with pytest.raises(DataError, match=message) as caught:
        train_of(yolo.write(f"0 0.5 0.5 0.1 0.1\n{line}\n"))
    assert str(yolo.folder / "labels" / "train" / "0.txt") in str(caught.value)
    assert "line 2: " in str(caught.value)


def test_boxes_of_no_size_are_dropped_and_boxes_over_the_edge_clipped(yolo):
    train = train_of(yolo.write("0 0.5 0.5 0 0.1\n0 0.1 0.5 0.4 0.5\n0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n"))
    assert repaired(train) == {
        "box of zero or negative size dropped": 1,
        "box clipped to the image": 1,
        "repeated box of the same class dropped": 1,
    }


@pytest.mark.parametrize("names", [{0: "cat", 1: "dog"}, {1: "dog", 0: "cat"}, ["cat", "dog"]])
def test_names_may_be_a_list_or_numbered(yolo, names):
    assert train_of(yolo.write("1 0.5 0.5 0.1 0.1", names=names, nc=2)).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"names": ...}, "'names' must list the classes, not None"),
        ({"names": []}, "'names' must list the classes"),
        ({"names": {0: "cat", 2: "dog"}}, "must number the classes from 0 to 1 without gaps"),
        ({"names": {"a": "cat"}}, "must number the classes from 0 to 0"),
        ({"names": ["cat", 7]}, "class 1 must be text, not 7; put it in quotes"),
        ({"names": ["cat", "cat"]}, "the class 'cat' is named twice"),
        ({"nc": 3}, "'nc' is 3, but 'names' lists 2 classes"),
        ({"train": ...}, "'train' must be a path or a list of paths, not None"),
        ({"train": [1]}, "'train' must be a path or a list of paths"),
        ({"train": []}, "'train' must be a path or a list of paths"),
        ({"val": "images/nowhere"}, "'val' names images/nowhere, but there is no .*images/nowhere"),
        ({"path": 3}, "'path' must be text, not 3"),
    ],
)
def test_a_wrong_data_yaml_is_refused_with_its_key(yolo, content, message):
    with pytest.raises(DataError, match=message) as caught:
        train_of(yolo.write("0 0.5 0.5 0.1 0.1", **content))
    assert "data.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "a: 1\na: 2", "names: &a [x]\nval: *a"])
def test_a_data_yaml_that_is_no_mapping_is_refused(yolo, text):
    spec = yolo.write("")
    (yolo.folder / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data\.yaml"):
        train_of(spec)


@pytest.mark.parametrize(
    ("path", "train"),
    [
        (".", "images/train"),
        ("", "./images/train"),
        ("/where/it/was/written", "images/train"),  # not here any more
        ("..", "yolo_set/images/train"),
        (..., "../images/train"),  # as exported archives have it, one folder too high
        (..., ["images/train"]),
    ],
)
def test_paths_are_found(yolo, path, train):
    spec = yolo.write("0 0.5 0.5 0.1 0.1", path=path, train=train, val="../images/val" if path is ... else ...)
    if path is not ...:
        content = {"path": path, "train": train, "val": train, "names": ["cat", "dog"]}
        (yolo.folder / "data.yaml").write_text(yaml.safe_dump(content))
    assert len(train_of(spec)) == 1


def test_pictures_may_be_listed_in_a_file(yolo):
    spec = yolo.write("0 0.5 0.5 0.1 0.1", "", "", train="train.txt")
    (yolo.folder / "train.txt").write_text("./images/train/2.jpg\n\nimages/train/0.jpg\r\n")
    assert [image.path.name for image in train_of(spec).images] == ["0.jpg", "2.jpg"]
    (yolo.folder / "train.txt").write_text("images/train/0.jpg\n./images/train/0.jpg\n")
    with pytest.raises(DataError, match=r"0\.jpg is listed twice"):
        train_of(spec)
    (yolo.folder / "train.txt").write_text("images/train/0.jpg\nimages/train/9.jpg\n")
    with pytest.raises(DataError, match=r"1 of 2 pictures are missing, first .*9\.jpg"):
        train_of(spec)
    (yolo.folder / "train.txt").write_text("\n")
    with pytest.raises(DataError, match="there is no picture for"):
        train_of(spec)


def test_labels_lie_beside_pictures_that_are_in_no_folder_called_images(yolo, save_picture):
    spec = yolo.write("", train="flat")
    save_picture(yolo.folder / "flat" / "a.png", 100, 80)
    (yolo.folder / "flat" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    assert len(train_of(spec).boxes) == 1


def test_two_pictures_with_one_label_file_are_refused(yolo, save_picture):
    spec = yolo.write("", "")
    save_picture(yolo.folder / "images" / "train" / "0.png", 100, 80)
    with pytest.raises(DataError, match=r"0\.png and 0\.jpg share their labels"):
        train_of(spec)


def test_a_class_may_be_written_as_a_fraction_and_commas_may_stand_between(yolo):
    train = train_of(yolo.write("1.0 0.5 0.5 0.5 0.5\n0, 0.5,0.5, 5.0e-01, .5\n0\t0.5 0.5 0.1 0.1\n"))
    assert train.labels.tolist() == [1, 0, 0]
    assert repaired(train) == {"line with a suffix, a flag, commas or a class like 1.0, read as it is meant": 2}


def test_keypoints_are_read_over(yolo):
    spec = yolo.write("0 .5 .5 .2 .2 .4 .4 .5 .5\n1 .5 .5 .4 .5 .4 .4 .5 .5\n", kpt_shape=[2, 2], val="images/train")
    assert train_of(spec).boxes.tolist() == [[40, 32, 60, 48], [30, 20, 70, 60]]
    yolo.write("0 .5 .5 .2 .2 .4 .4 .5 .5 .5 .5\n", kpt_shape=[2, 2], val="images/train")
    with pytest.raises(DataError, match="line 1: 11 columns; a class, a box and 2 keypoints of 2 numbers are 9"):
        train_of(spec)


@pytest.mark.parametrize("points", [".45 .45 .5 .5 .55 .55", ".45 .45 1 .55 .55 0"])
def test_polygons_that_look_like_keypoints_are_said(yolo, points):
    suspect = f"0 .5 .5 .2 .2 {points}"
    another = f"1{suspect[1:]}"
    polygon = "0 .1 .1 .4 .1 .4 .5 .1 .5"
    kind = "polygon that looks like a box and its keypoints (say kpt_shape), taken as a polygon"
    assert repaired(train_of(yolo.write(f"{suspect}\n{another}\n{polygon}\n"))) == {kind: 1}
    assert repaired(train_of(yolo.write(f"{suspect}\n{polygon}\n"))) == {}  # one of two is not most of them


def test_another_yaml_file_will_do_when_it_is_the_only_data_set(yolo):
    spec = yolo.write("0 0.5 0.5 0.1 0.1", yaml_name="mine.yml")
    assert len(train_of(spec).boxes) == 1
    (yolo.folder / "other.yaml").write_text("lr0: 0.01\n")
    assert len(train_of(spec).boxes) == 1
    (yolo.folder / "other.yaml").write_text((yolo.folder / "mine.yml").read_text().replace("val:", "val: # ", 1))
    with pytest.raises(DataError, match=r"several YAML files describe different data sets: mine\.yml, other\.yaml"):
        train_of(spec)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        train_of(f"yolo:{tmp_path}/nowhere")


def test_a_neighbour_is_not_taken_for_ones_own(yolo, save_picture):
    """Exported archives say ../train/images and mean train/images, whatever lies beside them."""
    spec = yolo.write("0 0.5 0.5 0.1 0.1", train="../images/train", val="../images/val")
    for name in ("7.jpg", "8.jpg"):
        save_picture(yolo.folder.parent / "images" / "train" / name, 100, 80)
    assert [image.path.name for image in train_of(spec).images] == ["0.jpg"]


def test_hidden_and_unreadable_pictures_are_left_aside(yolo, save_picture):
    spec = yolo.write("0 0.5 0.5 0.1 0.1")
    folder = yolo.folder / "images" / "train"
    for name in ("._0.jpg", ".ipynb_checkpoints/0-checkpoint.jpg", "@eaDir/0.jpg/SYNOPHOTO.jpg"):
        save_picture(folder / name, 100, 80)
    (folder / "1.heic").write_bytes(b"x")
    train = train_of(spec)
    assert len(train) == 1
    (aside,) = (repair for repair in train.repairs if repair.how == "left aside")
    assert aside.count == 4


def test_pictures_are_read_as_they_are_shown(yolo):
    spec = yolo.write("0 0.25 0.5 0.5 1")
    path = yolo.folder / "images" / "train" / "0.jpg"
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(path, exif=exif)
    train = train_of(spec)
    assert train.sizes.tolist() == [[80, 100]]
    assert train.boxes.tolist() == [[0, 0, 40, 100]]
    assert read_picture(train.images[0]).shape == (100, 80, 3)


def test_a_pipe_is_no_picture(yolo):
    spec = yolo.write("0 0.5 0.5 0.1 0.1")
    os.mkfifo(yolo.folder / "images" / "train" / "5.jpg")
    train = train_of(spec)
    assert len(train) == 1
    assert train.repairs[0].count == 1


def test_labels_may_end_in_capitals(yolo):
    spec = yolo.write("0 0.5 0.5 0.1 0.1")
    file = yolo.folder / "labels" / "train" / "0.txt"
    file.rename(file.with_suffix(".TXT"))
    assert len(train_of(spec).boxes) == 1


def test_decimal_commas_are_explained(yolo):
    with pytest.raises(DataError, match="line 1: the numbers have a comma where a point belongs"):
        train_of(yolo.write("0 0,5 0,5 0,1 0,1"))


def test_one_list_is_divided_and_frames_of_a_video_are_said(yolo):
    spec = yolo.write(*(["0 0.5 0.5 0.1 0.1"] * 10), val=...)
    for path in list(yolo.folder.rglob("train/*.*")):
        path.rename(path.with_name(f"frame_{int(path.stem):06}{path.suffix}"))
    splits = open_dataset(spec, Path())
    assert (len(splits.train), len(splits.evaluation)) == (8, 2)
    assert splits.spec.endswith("?split=0.8")
    for dataset in (splits.train, splits.evaluation):
        (said,) = (repair for repair in dataset.repairs if repair.how == "noted")
        assert said.count == len(dataset)
        assert "neighbours are taught and scored" in said.kind
        assert dataset.annotation_ids.tolist() == list(range(1, len(dataset) + 1))


# Corners x0 y0 x1 y1 of boxes as they lie in pictures.
CORNERS = [(0.1, 0.2, 0.3, 0.4), (0.6, 0.5, 0.9, 0.8), (0.7, 0.1, 0.8, 0.3), (0.2, 0.7, 0.6, 0.9)]


def lines_of(boxes, more: str = "") -> str:
    return "".join(f"0 {' '.join(f'{value:.6f}' for value in box)}{more}\n" for box in boxes)


def test_corners_in_place_of_centre_and_size_are_refused(yolo):
    with pytest.raises(DataError, match=r"all 4 boxes are in order as corners .* size 4 of them leave the picture"):
        train_of(yolo.write(lines_of(CORNERS[:2]), lines_of(CORNERS[2:])))
    fixed = yolo.folder.parent / "fixed"
    with pytest.raises(DataError, match="nothing can be repaired while labels mean something else: all 4 boxes"):
        write_fixed(check_dataset(f"yolo:{yolo.folder}", yolo.folder), fixed)
    assert not fixed.exists()


def test_centre_and_size_are_no_corners(yolo):
    right = [((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0) for x0, y0, x1, y1 in CORNERS]
    assert repaired(train_of(yolo.write(lines_of(right)))) == {}
    # Objects that fill their pictures are in order as corners, too, but lie inside.
    assert repaired(train_of(yolo.write(lines_of((0.5, 0.4, size, 0.7) for size in (0.6, 0.7, 0.8, 0.9))))) == {}
    # One box in which the size is less than the centre, and they are no corners.
    assert len(train_of(yolo.write(lines_of([*CORNERS, (0.9, 0.9, 0.1, 0.1)]))).boxes) == 5


@pytest.mark.parametrize("shift", [(-60, 0), (60, 0), (0, -60), (0, 60)])
def test_boxes_beyond_any_side_are_said(shift):
    boxes = np.array([[30.0, 30, 70, 70]] * 5) + shift * 2
    rows = Rows("train", Path("labels"))
    rows.picture(Path("0.jpg"), (100, 100))
    for number, box in enumerate(boxes.tolist()):
        rows.object(Object("cat", (*box,) if number else (30.0, 30.0, 70.0, 70.0)))
    (beyond,) = [one for one in repairs(rows.split([(0, "cat")])) if one.kind is BOXES_BEYOND]
    assert beyond.places.tolist() == [1, 2, 3, 4]


def test_boxes_at_the_sides_are_not_beyond():
    rows = Rows("train", Path("labels"))
    rows.picture(Path("0.jpg"), (100, 100))
    for _ in range(4):
        rows.object(Object("cat", (-1.0, -1.0, 101.0, 101.0)))
    (beyond,) = [one for one in repairs(rows.split([(0, "cat")])) if one.kind is BOXES_BEYOND]
    assert not beyond.count


TRIANGLES = [(0.1, 0.2, 0.5, 0.1, 0.3, top) for top in (0.6, 0.7, 0.8, 0.9)]


def test_polygons_that_are_all_triangles_are_said(yolo):
    kind = "lines of a class and six numbers, all of a split, taken as triangles: are they a box and two other columns?"
    assert repaired(train_of(yolo.write(lines_of(TRIANGLES)))) == {kind: 1}
    assert repaired(train_of(yolo.write(lines_of(TRIANGLES) + "0 0.5 0.5 0.1 0.1\n"))) == {}


def test_a_box_a_score_and_a_track_are_no_triangle(yolo):
    boxes = [(0.3, 0.3, 0.1, 0.1), (0.5, 0.5, 0.2, 0.2), (0.7, 0.7, 0.1, 0.1), (0.2, 0.8, 0.1, 0.1)]
    with pytest.raises(DataError, match="all 4 lines have a class and six numbers, the last of them whole"):
        train_of(yolo.write(lines_of(boxes[:2], " 0.9 0"), lines_of(boxes[2:], " 0.8 1")))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\r\n"])
def test_lines_may_end_as_any_system_ends_them(yolo, end):
    lines = ["0 0.5 0.5 0.1 0.1", "1 0.3 0.3 0.1 0.1", "0 0.7 0.7 0.1 0.1"]
    spec = yolo.write()
    yolo.save(yolo.folder / "images" / "train" / "0.jpg", 100, 80)
    file = yolo.folder / "labels" / "train" / "0.txt"
    file.parent.mkdir()
    file.write_bytes("".join(line + end for line in lines).encode())
    (yolo.folder / "train.txt").write_bytes(f"images/train/0.jpg{end}images/val/0.jpg".encode())
    assert train_of(spec).labels.tolist() == [0, 1, 0]
    (yolo.folder / "data.yaml").write_text(yaml.safe_dump(LAYOUT | {"train": "train.txt"}))
    assert len(train_of(spec)) == 2


@pytest.mark.parametrize("sign", "\x01\x0b\x0c\x1a\x1c\x1d\x1e\x1f\x7f\x85\u2028\u2029")
def test_control_characters_are_refused(yolo, sign):
    line = "0 0.5 0.5 0.1 0.1"
    with pytest.raises(DataError, match=rf"0\.txt, line 2: {re.escape(ascii(sign))} is a control character; remove it"):
        train_of(yolo.write(f"{line}\n{line}{sign}1 0.3 0.3 0.1 0.1\n"))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_several_objects_on_a_line_are_refused(yolo, count):
    line = " ".join(["0 0.5 0.5 0.1 0.1", "1 0.3 0.3 0.1 0.1"] * 3).split()[: 5 * count]
    with pytest.raises(DataError, match=f"line 1: {count} objects stand on one line; write each on a line of its own"):
        train_of(yolo.write(" ".join(line)))


@pytest.mark.parametrize(
    "polygon",
    [
        "0 0.5 0.5 0.1 0.1 2 0.3 0.3 0.1 0.1 0 0.7 0.7 0.1 0.1",  # there is no class 2
        "0 0.5 0.5 0.1 0.1 1.0 0.3 0.3 0.1 0.1 0 0.7 0.7 0.1 0.1",  # a class is not written so
        "0 0 0 0.5 0 1 0 1 0.5 1 1 0.5 1 0 0.5",  # around the picture
    ],
)
def test_fifteen_columns_may_be_a_polygon(yolo, polygon):
    if " 2 " in polygon:
        with pytest.raises(DataError, match="2 is not a fraction"):
            train_of(yolo.write(polygon))
    else:
        assert len(train_of(yolo.write(polygon)).boxes) == 1


SEPARATORS = [",", ", ", ";", " ", "\t", "|", "", "./", "../"]  # without one: the end of a line was lost


@pytest.mark.parametrize("between", SEPARATORS)
def test_several_pictures_on_a_line_of_a_list_are_refused(yolo, between):
    spec = yolo.write("0 0.5 0.5 0.1 0.1", "", train="train.txt")
    (yolo.folder / "train.txt").write_text(f"images/train/0.jpg{between}images/train/1.jpg\n")
    with pytest.raises(DataError, match=r"train\.txt, line 1: several pictures stand on one line, 'images/"):
        train_of(spec)


@pytest.mark.parametrize("between", ["_", "-", ".rf."])
def test_a_folder_may_be_called_like_a_picture(yolo, between):
    spec = yolo.write("0 0.5 0.5 0.1 0.1", train="train.txt")
    (yolo.folder / "train.txt").write_text(f"/elsewhere/scans.jpg{between}small/images/train/0.jpg\n")
    assert repaired(train_of(spec)) == {"picture found under another spelling of its name": 1}
    there = yolo.folder / "images" / "a.jpg b" / "0.jpg"
    yolo.save(there, 100, 80)
    (yolo.folder / "train.txt").write_text("images/a.jpg b/0.jpg\nimages/train/0.jpg\n")
    assert len(train_of(spec)) == 2
