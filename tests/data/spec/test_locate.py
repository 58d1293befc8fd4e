import json
import shutil
from pathlib import Path

import pytest
import yaml

from assignbench.data.spec.locate import (
    data_root,
    known_datasets,
    locate,
    open_dataset,
    open_evaluation,
    open_test,
    states_ids,
)
from assignbench.data.spec.schema import load_spec
from assignbench.errors import DataError, UsageError
from assignbench.paths import configs_folder


def test_the_data_root_is_the_option_then_the_environment_then_a_folder_here(monkeypatch):
    monkeypatch.setenv("ASSIGNBENCH_DATA", "/environment")
    assert data_root(Path("/option")) == Path("/option")
    assert data_root(None) == Path("/environment")
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
        (
            "shape",
            "no such name and no such folder; did you mean shapes.*\nknown: .*, widerface, a folder, coco:DIR, voc:DIR",
        ),
        ("", "unknown data set ''"),
        ("coco:", "unknown data set 'coco:'"),
        ("zolo:here", "unknown data set 'zolo:here'"),
        ("../datasets/shapes", "there is no such folder"),
        ("missing.yaml", r"missing\.yaml: cannot be read"),
    ],
)
def test_unknown_names_are_refused_with_what_is_known(spec, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        open_dataset(spec, tmp_path)


def test_a_folder_alone_is_recognised(coco, voc, miniatures, tmp_path):
    coco.write()
    assert open_dataset(str(coco.folder), Path()).spec == f"coco:{coco.folder}"
    for write in (miniatures.write_voc, miniatures.write_yolo):
        folder = tmp_path / write.__name__
        spec = write(folder).spec
        assert open_dataset(str(folder), Path()).spec == spec


def test_a_folder_without_a_data_set_is_refused_with_every_format_and_a_way_out(tmp_path):
    with pytest.raises(
        DataError, match=f"{tmp_path} cannot be opened as a data set\n  COCO: no JSON file .*\n"
    ) as caught:
        open_dataset(str(tmp_path), tmp_path)
    for word in ("VOC: no XML file", "YOLO: no YAML file", f"{tmp_path} is empty", "in a YAML file, for example"):
        assert word in str(caught.value)


def test_a_folder_in_two_formats_is_refused_with_both_ways_to_say_it(coco, tmp_path):
    coco.write()
    (coco.folder / "data.yaml").write_text("train: train2017\nval: val2017\nnames: [cat]\n")
    with pytest.raises(UsageError, match=f"say which: coco:{coco.folder} or yolo:{coco.folder}"):
        locate(str(coco.folder), Path())
    assert locate(f"yolo:{coco.folder}", Path()).spec.classes == ["cat"]


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
    for kind, why in (("coco", "no JSON file"), ("voc", "no XML file"), ("yolo", "no YAML file")):
        with pytest.raises(DataError, match=f"as a data set: {kind.upper()}: {why}") as caught:
            open_dataset(f"{kind}:{tmp_path}", tmp_path)
        assert "in a YAML file, for example" in str(caught.value)
        assert "--data-root" not in str(caught.value)


def test_missing_pictures_of_a_folder_do_not_advise_the_data_root(coco, tmp_path):
    coco.write()
    shutil.rmtree(coco.folder / "train2017")
    shutil.rmtree(coco.folder / "val2017")
    with pytest.raises(DataError, match=r"is not complete, it needs .*/train2017") as caught:
        open_dataset(f"coco:{coco.folder}", tmp_path)
    assert "--data-root" not in str(caught.value)


def one_list(lay_out, coco_json, save_picture):
    folder = lay_out("result.json = doc", doc=coco_json(*(f"images/{n}.png" for n in range(10))))
    for number in range(10):
        save_picture(folder / "images" / f"{number}.png", 9, 9)
    return folder


def test_one_list_is_divided_and_the_name_says_how(lay_out, coco_json, save_picture):
    folder = one_list(lay_out, coco_json, save_picture)
    found = locate(f"{folder}", Path())
    assert (found.canonical, found.name) == (f"coco:{folder}?split=0.8", "coco:set?split=0.8")
    assert "80 % of them are taught" in found.remarks[-1]
    other = locate(f"coco:{folder}?split=0.25", Path())
    assert (other.canonical, other.spec.split) == (f"coco:{folder}?split=0.25", 0.25)
    assert "25 % of them" in other.remarks[-1]
    for one in (found, other):
        assert locate(one.canonical, Path()) == one  # what is recorded opens the same again


def test_a_share_in_a_yaml_file_may_be_overruled(lay_out):
    part = "{annotations: a.json, images: .}"
    folder = lay_out("a.json", "a.jpg", "mine.yaml = yaml", yaml=f"format: coco\ntrain: {part}\nsplit: 0.6\n")
    file = folder / "mine.yaml"
    assert (locate(str(file), Path()).canonical, locate(str(file), Path()).spec.split) == (str(file), 0.6)
    other = locate(f"{file}?split=0.7", Path())
    assert (other.canonical, other.name, other.spec.split) == (f"{file}?split=0.7", "mine.yaml?split=0.7", 0.7)


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "nan", "inf", "x", "", "80%"])
def test_a_share_that_is_none_is_refused(share, tmp_path):
    with pytest.raises(UsageError, match=r"split=.* must be a number between 0 and 1"):
        locate(f"coco:{tmp_path}?split={share}", Path())


def test_two_lists_are_not_divided(coco):
    coco.write()
    with pytest.raises(UsageError, match="states what is for evaluation; leave the split away"):
        locate(f"coco:{coco.folder}?split=0.8", Path())
    with pytest.raises(UsageError, match="states what is for evaluation"):
        locate("voc?split=0.8", Path())


def test_yolo_s_own_file_opens_by_its_name(lay_out):
    yaml = "names: [cat]\ntrain: images/train\nval: images/val\n"
    folder = lay_out("images/train/a.jpg", "images/val/a.jpg", "data.yaml = yaml", "b.yml = yaml", yaml=yaml)
    for spec in (f"{folder}/data.yaml", f"yolo:{folder}/data.yaml", f"yolo:{folder}", str(folder)):
        found = locate(spec, Path())
        assert (found.canonical, found.name, found.base) == (f"yolo:{folder}", "yolo:set", folder)
    found = locate(f"{folder}/b.yml", Path())
    assert (found.canonical, found.name) == (f"yolo:{folder}/b.yml", "yolo:set/b.yml")
    assert locate(found.canonical, Path()) == found


def test_another_format_than_the_one_asked_for_is_named(coco):
    coco.write()
    with pytest.raises(DataError, match=f"it is in COCO's format: coco:{coco.folder}"):
        locate(f"voc:{coco.folder}", Path())


def test_two_training_files_are_refused(coco):
    spec = coco.write()
    (coco.folder / "annotations" / "instances_train2014.json").write_text("{}")
    with pytest.raises(DataError, match=r"several .* train split: .*train2014\.json, .*train2017\.json"):
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
    file.write_text(f"format: coco\ntrain: {train}\nevaluation: {val}\nfolders: 1\nleft_out: [train2017/b.png]\n")
    train = open_dataset(str(file), Path()).train
    assert [image.path for image in train.images] == [tmp_path / "coco_set" / "train2017" / "a.png"]
    assert train.annotation_ids.tolist() == [11, 12]
    assert "1 × picture left out with its objects" in str(train.repairs[0])
    assert "train2017/b.png" in str(train.repairs[0])


@pytest.mark.parametrize(
    ("left_out", "folders", "refused"),
    [
        ("only.png, b.png", "", ""),  # of one split alone
        ("train2017/b.png", "", "left_out names train2017/b.png, and no split"),
        ("b.png, nope.png, nope.png", "", "left_out names nope.png, and no split"),
        ("x/b.png", "folders: 0\n", "left_out names x/b.png, and no split .* spells it without its folders"),
    ],
)
def test_what_is_to_be_left_out_is_in_a_split(coco, tmp_path, left_out, folders, refused):
    content = coco.content()
    extra = {"id": 99, "file_name": "only.png", "width": 5, "height": 5}
    coco.write(content, content | {"images": [*content["images"], extra]})
    part = "{annotations: coco_set/annotations/instances_%s2017.json, images: coco_set/train2017}"
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"format: coco\ntrain: {part % 'train'}\nevaluation: {part % 'val'}\n{folders}left_out: [{left_out}]\n"
    )
    (coco.folder / "train2017" / "only.png").write_bytes((coco.folder / "train2017" / "b.png").read_bytes())
    for _ in range(2):  # as read, and as remembered
        if refused:
            with pytest.raises(DataError, match=refused):
                open_dataset(str(file), Path())
        else:
            assert len(open_dataset(str(file), Path()).evaluation.images) == 1


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
        ("", "'format' must be one of coco, voc, yolo, widerface, shapes"),
        ("[1]", "'format' must be one of"),
        ("train: images/train\nval: images/val", "'format' must be one of"),
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
            "format: voc\ntrain: [{list: a}]\nevaluation: [{folder: a, list: b}]",
            r"train\.1\.folder is missing",
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


@pytest.mark.parametrize(
    "line", ["split: true", 'split: "0.5"', "bits: true", 'bits: "12"', "pixel_origin: true", "pixel_origin: false"]
)
def test_in_the_file_of_a_data_set_a_number_is_a_number(tmp_path, line):
    form = "voc\ntrain: [{folder: a}]" if line.startswith("pixel") else "coco\ntrain: {annotations: a, images: b}"
    divided = "" if line.startswith("split") else "split: 0.5\n"
    (tmp_path / "d.yaml").write_text(f"format: {form}\n{divided}{line}\n")
    with pytest.raises(UsageError, match=rf"{line.partition(':')[0]} = .* must be"):
        load_spec(tmp_path / "d.yaml")


@pytest.mark.parametrize(
    ("spec", "error"),
    [("cell-ls", UsageError), ("./cell-ls", UsageError), ("coco:cell-ls", DataError), ("voc:./cell-ls", DataError)],
)
def test_a_folder_that_is_called_alike_is_asked_for(tmp_path, monkeypatch, spec, error):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells-ls").mkdir()
    with pytest.raises(error, match=r"there is no .*folder.*; did you mean cells-ls\?"):
        locate(spec, tmp_path)
    (tmp_path / "cells-ls").rmdir()
    with pytest.raises(error, match=r"there is no .*folder") as caught:
        locate(spec, tmp_path)
    assert "did you mean" not in str(caught.value)
