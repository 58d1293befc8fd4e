from pathlib import Path

import pytest
import yaml

from assignbench.data.schema import load_spec
from assignbench.data.specs import data_root, known_datasets, open_dataset
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
    assert [info.name for info in known] == ["coco", "shapes", "voc"]
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
        ("shape", "unknown data set 'shape'; did you mean shapes.*\nknown: coco, shapes, voc, coco:DIR"),
        ("", "unknown data set ''"),
        ("coco:", "unknown data set 'coco:'"),
        ("yolo:here", "unknown data set 'yolo:here'"),
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
    ],
)
def test_missing_data_is_named_file_by_file(name, file, tmp_path):
    with pytest.raises(DataError, match="is not complete") as caught:
        open_dataset(name, tmp_path)
    assert str(tmp_path / file) in str(caught.value)


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
        ("", "'format' must be one of coco, voc, shapes"),
        ("[1]", "'format' must be one of"),
        ("format: [coco]", "'format' must be one of"),
        ("format: cocoo", "not cocoo; did you mean coco"),
        ("format: coco\ntrian: 1", "unknown key 'trian'; did you mean train"),
        (
            "format: coco\ntrain: {annotation: a, images: b}\nevaluation: {annotations: a, images: b}",
            "unknown key 'train.annotation'; did you mean annotations",
        ),
        ("format: voc\ntrain: []\nevaluation: [{folder: a, list: b}]", "train: List should have at least 1"),
        (
            "format: voc\ntrain: [{folder: a}]\nevaluation: [{folder: a, list: b}]",
            r"train\.0\.list: Field required",
        ),
        ("SHAPES seed: -1", "seed: Input should be greater than or equal to 0"),
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
