"""Folders as tools write them, and what each is."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.spec.recognise.answer import Recognised, Unrecognised
from assignbench.data.spec.recognise.recognise import recognise
from assignbench.data.spec.schema import CocoSpec, VocSpec, YoloSpec

YAML = "names: [cat]\ntrain: images/train\n"


def short(spec):
    """The splits of a specification in few words: annotations or list, then pictures."""

    def coco(split):
        return f"{split.annotations} {split.images}"

    def voc(splits):
        return " + ".join(f"{one.folder} {one.list or '-'} {one.annotations} {one.images}" for one in splits)

    def yolo(places):
        return " + ".join(map(str, places))

    one = coco if isinstance(spec, CocoSpec) else voc if isinstance(spec, VocSpec) else yolo
    return (spec.format, one(spec.train), spec.split if spec.evaluation is None else one(spec.evaluation))


def known(folder):
    answer = recognise(folder)
    assert isinstance(answer, Recognised), answer
    return answer


def unknown(folder, *formats):
    answer = recognise(folder, formats) if formats else recognise(folder)
    assert isinstance(answer, Unrecognised), answer
    return answer


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(
            "annotations/instances_train2017.json train2017/a.jpg annotations/instances_val2017.json val2017/a.jpg",
            (
                "annotations/instances_train2017.json train2017",
                "annotations/instances_val2017.json val2017",
            ),
            id="as published",
        ),
        pytest.param(
            "annotations/instances_train2017.json images/train2017/a.jpg "
            "annotations/instances_val2017.json images/val2017/a.jpg",
            (
                "annotations/instances_train2017.json images/train2017",
                "annotations/instances_val2017.json images/val2017",
            ),
            id="below images",
        ),
        pytest.param(
            "annotations/instances_train2017.json images/train/a.jpg "
            "annotations/instances_val2017.json images/val/a.jpg",
            (
                "annotations/instances_train2017.json images/train",
                "annotations/instances_val2017.json images/val",
            ),
            id="folders without a year",
        ),
        pytest.param(
            "train/_annotations.coco.json train/a.jpg valid/_annotations.coco.json valid/a.jpg "
            "test/_annotations.coco.json test/a.jpg",
            ("train/_annotations.coco.json train", "valid/_annotations.coco.json valid"),
            id="Roboflow",
        ),
        pytest.param(
            "train/_annotations.coco.json train/a.jpg",
            ("train/_annotations.coco.json train", 0.8),
            id="Roboflow, train",
        ),
        pytest.param(
            "annotations/instances_default.json images/a.jpg",
            ("annotations/instances_default.json images", 0.8),
            id="CVAT",
        ),
        pytest.param(
            "annotations/instances_default.json images/default/a.jpg",
            ("annotations/instances_default.json images/default", 0.8),
            id="CVAT, folder of the subset",
        ),
        pytest.param(
            "annotations/instances_Train.json images/Train/a.jpg "
            "annotations/instances_Validation.json images/Validation/a.jpg",
            (
                "annotations/instances_Train.json images/Train",
                "annotations/instances_Validation.json images/Validation",
            ),
            id="CVAT, subsets",
        ),
        pytest.param("labels.json data/a.jpg", ("labels.json data", 0.8), id="FiftyOne"),
        pytest.param("train.json val.json images/a.jpg", ("train.json images", "val.json images"), id="one folder"),
        pytest.param("anno.json a.jpg", ("anno.json .", 0.8), id="all in one folder"),
        pytest.param(
            "train/annotations.json train/images/a.jpg dev/annotations.json dev/images/a.jpg",
            ("train/annotations.json train/images", "dev/annotations.json dev/images"),
            id="a folder for each split",
        ),
        pytest.param(
            "annotations/train/instances.json annotations/val/instances.json images/train/a.jpg images/val/a.jpg",
            ("annotations/train/instances.json images/train", "annotations/val/instances.json images/val"),
            id="splits below annotations",
        ),
        pytest.param(
            "annotations/instances_train.json annotations/person_keypoints_train.json train/a.jpg "
            "annotations/instances_test.json test/a.jpg",
            ("annotations/instances_train.json train", "annotations/instances_test.json test"),
            id="keypoints beside",
        ),
    ],
)
def test_coco(lay_out, paths, expected):
    assert short(known(lay_out(*paths.split())).spec) == ("coco", *expected)


@pytest.mark.parametrize(
    ("stated", "pictures", "images", "folders"),
    [
        ("images/a.jpg", "images/a.jpg", ".", None),
        ("images\\a.jpg", "images/a.jpg", ".", None),
        ("a b.jpg", "images/a b.jpg", "images", None),
        ("a%20b.jpg", "images/a b.jpg", "images", None),
        ("/data/upload/1/a.jpg", "images/a.jpg", "images", 0),
        ("../../media/upload/1/a.jpg", "images/a.jpg", "images", 0),
        ("C:\\x\\cam\\a.jpg", "images/cam/a.jpg", "images", 1),
        ("a.jpg", "photos/a.jpg", "photos", None),
        ("a.jpg", "whatever/a.jpg", "whatever", None),
    ],
)
def test_the_pictures_of_coco_are_looked_up_by_their_names(lay_out, coco_json, stated, pictures, images, folders):
    folder = lay_out(f"{pictures} = ", "result.json = doc", doc=coco_json(stated))
    spec = known(folder).spec
    assert (spec.train.images, spec.folders) == (Path(images), folders)


@pytest.mark.parametrize(
    ("one", "other"),
    [("depth", "rgb"), ("augmented", "original"), ("images_masks", "images_rgb"), ("images", "data"), (".", "images")],
)
def test_two_folders_with_the_same_names_are_refused_with_what_to_write(lay_out, one, other):
    (problem,) = [
        one for one in unknown(lay_out("a.json", f"{one}/a.jpg = one", f"{other}/a.jpg = other")).tried if one.wrong
    ]
    assert f"{one.replace('.', 'the folder itself')} and {other} hold different pictures" in problem.why
    spec = yaml.safe_load(problem.why.partition("\n")[2])
    assert spec == {"format": "coco", "train": {"annotations": "a.json", "images": one}, "split": 0.8}


@pytest.mark.parametrize(
    ("paths", "images"),
    [
        pytest.param("depth/a.jpg = 1 | rgb/a.jpg = 1", "depth", id="copies"),
        pytest.param("augmented/a.jpg = 1 | images/a.jpg = 2", "images", id="the usual name"),
        pytest.param("original/b.jpg = 1 | images_rgb/a.jpg = 2", "images_rgb", id="other names"),
        pytest.param("images/a.jpg = 1 | train/a.jpg = 2", "train", id="the split's name"),
    ],
)
def test_of_two_folders_with_the_same_names_the_one_that_stands_for_the_split_counts(lay_out, paths, images):
    folder = lay_out("instances_train.json", *paths.split(" | "))
    assert short(known(folder).spec) == ("coco", f"instances_train.json {images}", 0.8)


def test_a_file_of_evaluation_may_be_the_ambiguous_one(lay_out):
    folder = lay_out("train.json", "val.json", "train/a.jpg = 1", "rgb/val/a.jpg = 2", "depth/val/a.jpg = 3")
    assert short(known(folder).spec)[2] == "val.json val"  # which is not there, and the reader says so
    lay_out("depth/a.jpg = 4", "rgb/a.jpg = 5")
    (problem,) = [one for one in unknown(folder).tried if one.wrong]
    assert yaml.safe_load(problem.why.partition("\n")[2])["evaluation"] == {
        "annotations": "val.json",
        "images": "depth",
    }


def test_pictures_of_another_split_are_never_taken_for_those_that_are_missing(lay_out):
    annotations = ("annotations/instances_train.json", "annotations/instances_val.json")
    folder = lay_out(*annotations, "train/a.jpg")  # both files name a.jpg
    assert short(known(folder).spec) == ("coco", f"{annotations[0]} train", f"{annotations[1]} val")
    lay_out("train/b.jpg", "val/a.jpg")
    (folder / "train/a.jpg").unlink()
    assert short(known(folder).spec) == ("coco", f"{annotations[0]} train", f"{annotations[1]} val")


def test_a_lost_file_of_annotations_is_no_reason_to_divide_the_other(lay_out):
    (problem, *_) = unknown(lay_out("annotations/instances_train.json", "train/a.jpg", "val/a.jpg")).tried
    assert problem.why.startswith("val holds pictures for evaluation, but no file states their objects")


def test_of_a_large_file_both_ends_are_looked_at(lay_out, coco_json):
    doc = json.loads(coco_json("a.jpg"))
    doc["annotations"] *= 20_000
    annotations_first = {"annotations": doc["annotations"], "images": doc["images"], "categories": doc["categories"]}
    folder = lay_out("x/a.jpg", "some.json = doc", doc=json.dumps(annotations_first))
    assert (folder / "some.json").stat().st_size > 1 << 20
    assert short(known(folder).spec) == ("coco", "some.json x", 0.8)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (
            "ImageSets/Main/train.txt ImageSets/Main/val.txt",
            (". train Annotations JPEGImages", ". val Annotations JPEGImages"),
        ),
        (
            "ImageSets/Main/train.txt ImageSets/Main/test.txt",
            (". train Annotations JPEGImages", ". test Annotations JPEGImages"),
        ),
        ("ImageSets/Main/default.txt", (". default Annotations JPEGImages", 0.8)),
        ("ImageSets/Main/trainval.txt", (". trainval Annotations JPEGImages", 0.8)),
        (
            "ImageSets/Main/trainval.txt ImageSets/Main/train.txt ImageSets/Main/val.txt ImageSets/Main/test.txt",
            (". trainval Annotations JPEGImages", ". test Annotations JPEGImages"),
        ),
        (
            "ImageSets/Main/trainval.txt ImageSets/Main/train.txt ImageSets/Main/val.txt ImageSets/Main/cat_train.txt",
            (". train Annotations JPEGImages", ". val Annotations JPEGImages"),
        ),
    ],
)
def test_voc_with_lists(lay_out, paths, expected):
    folder = lay_out("Annotations/a.xml", "JPEGImages/a.jpg", *paths.split())
    assert short(known(folder).spec) == ("voc", *expected)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("train/a.jpg train/a.xml valid/b.jpg valid/b.xml", ("train - . .", "valid - . .")),
        ("images/a.jpg annotations/a.xml", (". - annotations images", 0.8)),
        ("images/a.jpg annots/a.xml", (". - annots images", 0.8)),
        ("Images/a.png xmls/a.xml", (". - xmls Images", 0.8)),
        ("a.jpg a.xml", (". - . .", 0.8)),
        ("photos_of_may/a.jpg boxes/a.xml", (". - boxes photos_of_may", 0.8)),
        (
            "train/images/a.jpg train/annotations/a.xml test/images/a.jpg test/annotations/a.xml",
            ("train - annotations images", "test - annotations images"),
        ),
        (
            "images/train/a.jpg annotations/train/a.xml images/val/a.jpg annotations/val/a.xml",
            (". - annotations/train images/train", ". - annotations/val images/val"),
        ),
        (
            "images/cats/a.jpg annotations/cats/a.xml images/dogs/a.jpg annotations/dogs/a.xml",
            (". - annotations/cats images/cats + . - annotations/dogs images/dogs", 0.8),
        ),
        ("Train/a.jpg Train/a.xml", ("Train - . .", 0.8)),
    ],
)
def test_voc_without_lists(lay_out, paths, expected):
    assert short(known(lay_out(*paths.split())).spec) == ("voc", *expected)


def test_lists_that_voc_keeps_elsewhere_are_said_to_be_unread(lay_out):
    answer = known(lay_out("images/a.jpg", "annotations/a.xml", "train.txt = a", "val.txt = a"))
    assert answer.remarks == ("not read: train.txt, val.txt; lists belong into ImageSets/Main",)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("images/train/a.jpg labels/train/a.txt images/val/a.jpg labels/val/a.txt", ("images/train", "images/val")),
        (
            "train/images/a.jpg train/labels/a.txt valid/images/a.jpg valid/labels/a.txt",
            ("train/images", "valid/images"),
        ),
        ("images/a.jpg labels/a.txt", ("images", 0.8)),
        ("a.jpg a.txt", (".", 0.8)),
        ("train/a.jpg train/a.txt test/a.jpg test/a.txt", ("train", "test")),
        ("obj_train_data/a.jpg obj_train_data/a.txt", ("obj_train_data", 0.8)),
    ],
)
@pytest.mark.parametrize("classes", ["classes.txt", "obj.names", "labels.txt", "my.names"])
def test_yolo_without_a_yaml_file(lay_out, paths, classes, expected):
    answer = known(lay_out(*paths.split(), f"{classes} = names", names="cat\ntoy car\n"))
    assert short(answer.spec) == ("yolo", *expected)
    assert answer.spec.classes == ["cat", "toy car"]


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_names_of_classes_end_as_lines_of_any_system(lay_out, end):
    folder = lay_out("images/a.jpg", "labels/a.txt", "classes.txt = names")
    (folder / "classes.txt").write_bytes(f"cat{end}toy car{end}".encode())
    assert known(folder).spec.classes == ["cat", "toy car"]


def test_classes_may_lie_beside_the_labels(lay_out):
    folder = lay_out("images/a.jpg", "labels/a.txt", "labels/classes.txt = cat")
    assert known(folder).spec.classes == ["cat"]


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (["images/a.jpg", "labels/a.txt"], "nothing that names the classes: write them into classes.txt"),
        (["images/a.jpg", "labels/a.txt", "classes.txt = a", "my.names = b"], "name different classes"),
        (["images/a.jpg", "labels/a.txt", "classes.txt = hole"], r"classes\.txt, line 2: a class has no name"),
        (
            ["images/a.jpg", "labels/a.txt", "classes.txt = a\nb\na"],
            r"classes\.txt, line 3: the class 'a' is named twice",
        ),
        (["images/a.jpg", "labels/a.txt", "classes.txt = a\x0bb"], r"classes\.txt, line 1: '\\x0b' is a control"),
        (["data.yaml = names: [cat]"], "'train' must be a path or a list of paths, not None"),
        (["data.yaml = names: ["], r"data\.yaml.*line|data\.yaml:"),
        (["obj.data = train = data/x.txt"], "no YAML file"),
    ],
)
def test_why_it_is_not_yolo(lay_out, paths, why):
    (tried,) = unknown(lay_out(*paths, hole="a\n\nb\n"), "yolo").tried
    assert re.search(why, tried.why), tried.why


def test_darknet_s_lists_are_found_whatever_stands_before_them(lay_out):
    data = "classes = 2\ntrain = data/train.txt\nvalid = build/x64/data/test.txt\nnames = data/obj.names\n"
    folder = lay_out("obj.data = data", "obj.names = names", "train.txt", "test.txt", data=data, names="cat\ndog\n")
    answer = known(folder)
    assert short(answer.spec) == ("yolo", "train.txt", "test.txt")
    assert answer.spec.classes == ["cat", "dog"]
    assert (len(answer.chosen), answer.remarks) == (2, ())
    (folder / "obj.data").write_text(data.replace("data/train", "/home/anna/other/train"))
    said = "obj.data names /home/anna/other/train.txt, which is not there; train.txt is taken instead"
    assert known(folder).remarks == (said,)
    (folder / "obj.names").write_text("cat\n")
    assert "says classes = 2, but obj.names names 1" in unknown(folder).tried[0].why
    (folder / "test.txt").unlink()
    assert "valid = build/x64/data/test.txt, but there is no such file" in unknown(folder).tried[0].why


def test_of_several_yaml_files_the_data_sets_count(lay_out):
    paths = ["images/train/a.jpg", "mine.yaml = yaml", "hyp.yaml = lr0: 0.1", "ours.yaml = format: coco"]
    folder = lay_out(*paths, yaml=YAML)
    answer = known(folder)
    assert short(answer.spec) == ("yolo", "images/train", 0.8)
    assert answer.remarks == ("mine.yaml states no 'val'",)
    assert answer.alternatives == (f"ours.yaml describes a data set, too: {folder / 'ours.yaml'}",)
    (folder / "same.yaml").write_text(YAML)
    assert known(folder).remarks[0] == "not read: same.yaml"
    (folder / "same.yaml").write_text(YAML.replace("cat", "dog"))
    assert "describe different data sets: mine.yaml, same.yaml" in unknown(folder).tried[0].why
    (folder / "data.yaml").write_text(YAML.replace("cat", "emu"))
    assert known(folder).spec.classes == ["emu"]


@pytest.mark.parametrize("yaml", [True, False])
def test_a_folder_around_it_is_looked_through(lay_out, yaml):
    paths = ["export/train/_annotations.coco.json", "export/train/a.jpg", "__MACOSX/export/train/._a.jpg", "read.me"]
    if yaml:
        paths = ["export/images/train/a.jpg", "export/data.yaml = yaml", "__MACOSX/export/._data.yaml"]
    answer = known(lay_out(*paths, yaml=YAML))
    assert answer.remarks[0] == "the data set lies in export"
    where = "export/images/train" if yaml else "export/train/_annotations.coco.json export/train"
    assert short(answer.spec)[1:] == (where, 0.8)


def test_several_data_sets_in_one_folder_are_all_named(lay_out):
    folder = lay_out("a/train.json", "a/images/a.jpg", "b/data.yaml = yaml", "b/images/train/a.jpg", yaml=YAML)
    assert unknown(folder).fits == (f"coco:{folder}/a", f"yolo:{folder}/b")


def test_two_formats_are_ambiguous_unless_one_is_asked_for(lay_out):
    folder = lay_out("a.jpg", "a.xml", "a.txt", "classes.txt = cat")
    assert unknown(folder).fits == (f"voc:{folder}", f"yolo:{folder}")
    assert isinstance(recognise(folder, ("voc",)).spec, VocSpec)
    assert isinstance(recognise(folder, ("yolo",)).spec, YoloSpec)


def test_what_is_wrong_in_a_format_comes_first_and_nothing_else_is_looked_for(lay_out):
    folder = lay_out("data.yaml = names: [cat]", "x.csv", "inner/a.jpg", "inner/a.xml")
    answer = unknown(folder)
    assert [(one.format, one.wrong) for one in answer.tried] == [("yolo", True), ("coco", False), ("voc", False)]
    assert answer.strangers == ()


def test_a_split_alone_is_no_training(lay_out):
    folder = lay_out("annotations/instances_val2017.json", "val2017/a.jpg")
    assert "to evaluate on, and nothing to train on" in unknown(folder).tried[0].why


CREATE_ML = '[{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}]'
KITTI = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"


@pytest.mark.parametrize(
    ("path", "content", "title", "tool"),
    [
        ("a.json", '{"shapes": [], "imagePath": "a.jpg"}', "LabelMe", "labelme2coco"),
        ("via.json", '{"a.jpg12": {"filename": "a.jpg", "regions": []}}', "VGG Image Annotator", "VIA"),
        ("out.json", CREATE_ML, "CreateML", "Roboflow"),
        ("ds/ann/a.jpg.json", '{"objects": [{"classTitle": "cat"}]}', "Supervisely", "Supervisely"),
        ("x.json", '[{"from_name": "l", "to_name": "i"}]', "Label Studio", "label-studio-converter"),
        ("labels.csv", "filename,class,xmin\n", "a table", "pandas"),
        ("t.tsv", "filename\tclass\n", "a table", "pandas"),
        ("train.csv", "ImageID,Source,LabelName\n", "Open Images", "FiftyOne"),
        ("train.tfrecord", "", "TFRecord", "Datumaro"),
        ("training/label_2/a.txt", KITTI, "KITTI", "Datumaro"),
        ("labels/a.txt", KITTI, "KITTI", "FiftyOne"),
        ("annotations.xml", "<annotations><version>1.1</version>", "CVAT", "COCO"),
        ("seq/gt/gt.txt", "1,1,10,10,5,5,1,1,1", "MOT", "Datumaro"),
        ("labelTxt/a.txt", "1 1 2 1 2 2 1 2 plane 0", "DOTA", "COCO"),
        ("results.json", '[{"image_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}]', "detections", "images, annotations"),
    ],
)
def test_formats_that_are_known_and_not_read_are_named_with_a_tool(lay_out, path, content, title, tool):
    answer = unknown(lay_out("images/a.jpg", f"{path} = content", content=content))
    assert any(title in one and tool in one for one in answer.strangers), answer


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ([], "is empty"),
        (["export.zip"], "export.zip is an archive; unpack it"),
        (["a.jpg", "b.png"], "2 pictures lie here, and no annotations of them"),
        (["cat/a.jpg", "dog/a.jpg", "emu/a.jpg"], "pictures are sorted into cat, dog, emu"),
    ],
)
def test_without_annotations_it_is_said(lay_out, paths, said):
    (stranger,) = unknown(lay_out(*paths)).strangers
    assert said in stranger


def test_what_cannot_be_read_is_not_there(lay_out, tmp_path):
    folder = lay_out("images/train/a.jpg", "labels/train/a.txt")
    (folder / "annotations").symlink_to(tmp_path / "nowhere")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "data.yaml")
    os.mkfifo(folder / "instances_train.json")
    assert len(unknown(folder).tried) >= 1
    assert len(unknown(folder / "nowhere").tried) == 3


def test_names_that_are_no_text_are_left_aside(lay_out):
    folder = lay_out("images/a.jpg", "annotations/a.xml")
    for name in (b"train\xff", b"labels\xff.json", b"\xff.txt", b"\xe9.jpg", b"two\nlines.json"):
        place = os.fsencode(folder) + b"/" + name
        os.mkdir(place) if b"." not in name else os.mknod(place)  # noqa: PTH102
    assert short(known(folder).spec) == ("voc", ". - annotations images", 0.8)


def test_many_files_are_listed_once(lay_out, monkeypatch):
    folder = lay_out("train/_annotations.coco.json", *(f"train/{n}.jpg" for n in range(300)), "train/a.jpg")
    listed = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: listed.append(str(place)) or scan(place))
    assert short(known(folder).spec) == ("coco", "train/_annotations.coco.json train", 0.8)
    assert len(listed) == len(set(listed))


WORDS = """train val test images labels annotations Annotations JPEGImages ImageSets Main data.yaml obj.data obj.names
    classes.txt a.jpg a.txt a.xml a.json instances_train.json _annotations.coco.json result.json train.txt val.txt
    label_2 x.csv gt.txt m.yml export"""
names = st.sampled_from(WORDS.split())
contents = st.one_of(
    st.sampled_from(
        [
            "",
            "0 .5 .5 .1 .1\n",
            "<annotation>",
            '{"images": [{"file_name": "a.jpg"}], "annotations": [{"bbox": []}]}',
            '{"images": [{"file_name": "\\ud800\\u0000"}], "annotations": [], "bbox": 1}',
            "names: [a]\ntrain: .\nval: x\n",
            "names: {0: a, 1: 7}\ntrain: [1]\nkpt_shape: 3\npath: 7\n",
            "train = a\nnames = .\nvalid = \x00\n",
            "format: coco\n",
            "\ufeff\n\n",
        ]
    ),
    st.text(max_size=40),
    st.binary(max_size=40),
)
trees = st.dictionaries(
    st.lists(st.one_of(names, st.text("aé/.\\ ", min_size=1, max_size=4)), min_size=1, max_size=3).map("/".join),
    contents,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(trees)
def test_no_folder_is_a_traceback(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("tree", numbered=True)
    for name, content in tree.items():
        file = root / name.lstrip("/")
        if not file.resolve().is_relative_to(root):
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        except OSError:  # a file where a folder is meant
            continue
    answer = recognise(root)
    if isinstance(answer, Recognised):
        train = answer.spec.train
        assert train
        assert (answer.spec.split is None) != (answer.spec.evaluation is None)
    else:
        assert answer.fits or all(one.why for one in answer.tried)
