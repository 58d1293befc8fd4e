import json
from pathlib import Path

import pytest
import yaml

from assignbench.data.spec.locate import data_root, known_datasets, open_dataset, open_evaluation, open_test, states_ids
from assignbench.data.spec.schema import load_spec
from assignbench.errors import DataError, UsageError
from assignbench.paths import configs_folder


def test_the_data_root_is_the_option_then_the_environment_then_a_folder_here(monkeypatch):
    monkeypatch.setenv("ASSIGNBENCH_DATA", "/from/environment")
    assert data_root(Path("/from/option")) == Path("/from/option")
    assert data_root(None) == Path("/from/environment")
    monkeypatch.delenv("ASSIGNBENCH_DATA")
    assert data_root(None) == Path.cwd() / "datasets"  # absolute: it is joined to what lies below it


def test_every_built_in_file_is_listed_described_and_commented():
    known = known_datasets()
    assert [info.name for info in known] == ["coco", "objects365", "objects365v1", "shapes", "voc", "widerface"]
    for info in known:
        assert info.description
        lines = [line for line in info.origin.read_text().splitlines() if not line.startswith("description")]
        keys = [line for line in lines if not line.startswith("#") and not line.endswith(":")]
        assert all("#" in line for line in keys if not line.startswith("format")), info.origin


def test_voc_has_its_twenty_classes():
    classes = yaml.safe_load((configs_folder() / "datasets" / "voc.yaml").read_text())["classes"]
    assert len(classes) == 20
    assert classes == sorted(classes)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("shape", "unknown data set 'shape'; did you mean shapes.*\nknown: .*, widerface, coco:DIR, voc:DIR, yolo:DIR"),
        ("", "unknown data set ''"),
        ("coco:", "unknown data set 'coco:'"),
        ("zolo:here", "unknown data set 'zolo:here'"),
        ("../datasets/shapes", "unknown data set"),
        ("missing.yaml", r"missing\.yaml: cannot be read"),
    ],
)
def test_unknown_names_are_refused_with_what_is_known(spec, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        open_dataset(spec, tmp_path)


def test_a_bare_folder_is_refused_with_the_ways_to_say_it(tmp_path):
    with pytest.raises(UsageError, match="say in which layout: coco:"):
        open_dataset(str(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("coco", "coco/annotations/instances_train2017.json"),
        ("voc", "VOCdevkit/VOC2012/ImageSets/Main/trainval.txt"),
        ("objects365", "objects365/annotations/zhiyuan_objv2_train.json"),
        ("objects365v1", "objects365v1/val"),
        ("widerface", "widerface/WIDER_val/images"),
    ],
)
def test_missing_data_is_named_file_by_file(name, file, tmp_path):
    with pytest.raises(DataError, match="is not complete") as caught:
        open_dataset(name, tmp_path)
    assert str(tmp_path / file) in str(caught.value)


@pytest.mark.parametrize(("name", "count"), [("coco", 80), ("objects365", 365), ("objects365v1", 365)])
def test_class_lists_are_whole(name, count):
    classes = load_spec(configs_folder() / "datasets" / f"{name}.yaml").classes
    assert len(classes) == len(set(classes)) == count


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        open_dataset(f"coco:{tmp_path}/nowhere", tmp_path)
    with pytest.raises(DataError, match=r"exactly one instances_train\*\.json, not none"):
        open_dataset(f"coco:{tmp_path}", tmp_path)
    with pytest.raises(DataError, match=r"neither trainval\.txt with test\.txt nor train\.txt with val\.txt"):
        open_dataset(f"voc:{tmp_path}", tmp_path)


def test_two_training_files_are_refused(coco):
    spec = coco.write()
    (coco.folder / "annotations" / "instances_train2014.json").write_text("{}")
    with pytest.raises(DataError, match=r"not instances_train2014\.json, instances_train2017\.json"):
        open_dataset(spec, Path())


def test_a_list_of_classes_orders_them_and_is_all_there_is(coco, tmp_path):
    coco.write()
    file = tmp_path / "mine.yaml"
    part = "{annotations: coco_set/annotations/instances_%s.json, images: coco_set/%s}"
    train, val = (part % (split, split) for split in ("train2017", "val2017"))
    file.write_text(f"format: coco\ntrain: {train}\nevaluation: {val}\nclasses: [dog, emu, cat]\n")
    for dataset in (open_dataset(str(file), Path()).train, open_evaluation(str(file), Path())):
        assert dataset.classes == ("dog", "emu", "cat")
        assert dataset.category_ids == (9, 10, 2)  # of emus there are none, so any free id will do
    file.write_text(f"format: coco\ntrain: {train}\nevaluation: {val}\nclasses: [dog]\n")
    with pytest.raises(DataError, match="the list of classes does not know the class 'cat'"):
        open_dataset(str(file), Path())


def test_pictures_and_classes_have_ids_in_coco_s_files_alone(coco, miniatures, tmp_path):
    coco.write()
    assert states_ids(f"coco:{coco.folder}", Path())
    assert not states_ids(miniatures.write_voc(tmp_path / "voc").spec, Path())
    assert not states_ids(miniatures.write_yolo(tmp_path / "yolo").spec, Path())


def test_a_test_split_has_pictures_and_no_objects(coco, tmp_path):
    coco.folder = tmp_path / "coco"
    coco.write()
    info = {key: value for key, value in coco.content().items() if key != "annotations"}
    (tmp_path / "coco" / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(info))
    (tmp_path / "coco" / "train2017").rename(tmp_path / "coco" / "test2017")
    test, name = open_test("coco", tmp_path, ("dog", "cat"))
    assert name == "test-dev2017"
    assert (test.split, len(test), len(test.boxes)) == ("test (test2017)", 2, 0)
    assert test.category_ids == (9, 2)
    info["annotations"] = coco.content()["annotations"]
    (tmp_path / "coco" / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="it holds annotations"):
        open_test("coco", tmp_path, ("dog", "cat"))


@pytest.mark.parametrize("name", ["voc", "widerface", "objects365"])
def test_other_data_sets_have_no_test_split(name, tmp_path):
    with pytest.raises(UsageError, match="no test split"):
        open_test(name, tmp_path, ())


def test_folders_of_a_file_name_may_be_dropped(coco, tmp_path):
    content = coco.content()
    for entry in content["images"]:
        entry["file_name"] = f"images/v1/train2017/{entry['file_name']}"
    coco.write(content, content)
    file = tmp_path / "mine.yaml"
    part = "{annotations: coco_set/annotations/instances_%s.json, images: coco_set}"
    train, val = (part % split for split in ("train2017", "val2017"))
    file.write_text(
        f"format: coco\ntrain: {train}\nevaluation: {val}\nfolders: 1\nleft_out: [train2017/b.png, c.png]\n"
    )
    train = open_dataset(str(file), Path()).train
    assert [image.path for image in train.images] == [tmp_path / "coco_set" / "train2017" / "a.png"]
    assert train.annotation_ids.tolist() == [11, 12]
    assert "1 × picture left out with its objects" in str(train.repairs[0])
    assert "train2017/b.png" in str(train.repairs[0])


def test_names_are_canonical(coco, tmp_path, monkeypatch):
    coco.write()
    monkeypatch.chdir(tmp_path)
    assert open_dataset("coco:./coco_set/../coco_set", Path()).spec == f"coco:{coco.folder}"


def test_built_in_coco_is_read_below_the_data_root(coco, tmp_path):
    coco.folder = tmp_path / "coco"
    coco.write()
    splits = open_dataset("coco", tmp_path)
    assert (splits.train.name, splits.train.split) == ("coco", "train (train2017)")
    assert splits.evaluation.split == "evaluation (val2017)"


def test_paths_of_a_yaml_file_are_relative_to_it(coco, tmp_path, monkeypatch):
    coco.write()
    file = tmp_path / "mine.yml"
    part = "{annotations: coco_set/annotations/instances_%s.json, images: coco_set/%s}"
    train, val = (part % (split, split) for split in ("train2017", "val2017"))
    file.write_text(f"format: coco\ntrain: {train}\nevaluation: {val}\n")
    monkeypatch.chdir("/")
    assert open_dataset(str(file), Path()).spec == str(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'format' must be one of coco, voc, widerface, shapes"),
        ("[1]", "'format' must be one of"),
        ("train: images/train\nnames: [cat]", "it looks like YOLO's: write yolo:"),
        ("format: [coco]", "'format' must be one of"),
        ("format: cocoo", "not cocoo; did you mean coco"),
        ("format: coco\ntrian: 1", "unknown key 'trian'; did you mean train"),
        (
            "format: coco\ntrain: {annotation: a, images: b}\nevaluation: {annotations: a, images: b}",
            "unknown key 'train.annotation'; did you mean annotations",
        ),
        (
            "format: voc\ntrain: []\nevaluation: [{folder: a, list: b}]",
            r"train = \[\] must be a non-empty list, each a mapping with some of folder, list",
        ),
        (
            "format: voc\ntrain: [{folder: a}]\nevaluation: [{folder: a, list: b}]",
            r"train\.1\.list is missing",
        ),
        ("SHAPES seed: -1", "seed = -1 must be a whole number ≥ 0"),
        ("SHAPES long_side: 100", "long_side must not be less than short_side"),
        ("SHAPES smallest: 190", "smallest must be less than largest"),
    ],
)
def test_wrong_files_are_refused_with_their_key(text, message, tmp_path):
    file = tmp_path / "mine.yaml"
    kind, _, change = text.partition(" ")
    if kind == "SHAPES":
        content = yaml.safe_load((configs_folder() / "datasets" / "shapes.yaml").read_text())
        text = yaml.safe_dump(content | yaml.safe_load(change))
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_spec(file)
    assert str(file) in str(caught.value)
