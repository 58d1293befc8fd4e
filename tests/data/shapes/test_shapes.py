import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assignbench.data.pictures import read_picture
from assignbench.data.shapes import shapes
from assignbench.data.shapes.shapes import ShapesParameters, prepare_shapes
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import SystemProblem

SMALL = ShapesParameters(seed=0, train=12, evaluation=6, short_side=96, long_side=128, smallest=12, largest=80)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return prepare_shapes(SMALL, tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def copy(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / pristine.name))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_opens_like_any_coco_data_set(pristine):
    splits = open_dataset(f"coco:{pristine}", Path())
    assert (len(splits.train), len(splits.evaluation)) == (12, 6)
    assert splits.train.repairs == splits.evaluation.repairs == ()
    assert splits.train.classes == ("disc", "star", "ring", "lollipop", "crescent", "corner", "stick")
    assert set(splits.train.offsets) <= set(splits.train.classes)
    assert splits.train.offsets["lollipop"] == pytest.approx((0, -0.17), abs=0.05)
    for image in splits.train.images:
        assert read_picture(image).shape == (image.height, image.width, 3)
        assert min(image.width, image.height) == 96
        assert max(image.width, image.height) <= 128


def test_equal_parameters_give_equal_bytes(pristine, tmp_path):
    assert contents(prepare_shapes(SMALL, tmp_path)) == contents(pristine)


def test_another_seed_is_another_folder(pristine, tmp_path):
    other = prepare_shapes(replace(SMALL, seed=1), tmp_path)
    assert other.name != pristine.name
    assert contents(other)["train/000001.jpg"] != contents(pristine)["train/000001.jpg"]


def test_a_turned_class_has_no_offset(pristine, tmp_path):
    folder = prepare_shapes(replace(SMALL, train=40, turned=True), tmp_path)
    assert folder.name != pristine.name
    offsets = open_dataset(f"coco:{folder}", Path()).train.offsets
    assert max(map(abs, offsets["lollipop"])) < 0.06


def test_more_pictures_keep_the_first_ones(pristine, tmp_path):
    longer = contents(prepare_shapes(replace(SMALL, train=13), tmp_path))
    assert all(longer[name] == data for name, data in contents(pristine).items() if name.startswith("train/"))


def test_an_intact_copy_is_left_alone(copy, monkeypatch):
    monkeypatch.setattr(shapes, "_write", None)  # would fail if it were called
    assert prepare_shapes(SMALL, copy.parent) == copy


def damage_picture(folder: Path) -> None:
    path = folder / "train" / "000003.jpg"
    path.write_bytes(path.read_bytes()[:-1])


def damage_bit(folder: Path) -> None:
    path = folder / "val" / "000001.jpg"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose_annotations(folder: Path) -> None:
    (folder / "annotations" / "instances_val.json").unlink()


def truncate_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:20])


def age_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 0}))


@pytest.mark.parametrize("damage", [damage_picture, damage_bit, lose_annotations, truncate_manifest, age_manifest])
def test_a_damaged_copy_is_drawn_again(damage, copy, pristine):
    damage(copy)
    assert contents(prepare_shapes(SMALL, copy.parent)) == contents(pristine)


def test_leftovers_of_killed_processes_are_cleared(pristine, tmp_path):
    leftover = tmp_path / f".{pristine.name}-99999"
    leftover.mkdir()
    (leftover / "half").write_text("a picture")
    prepare_shapes(SMALL, tmp_path)
    assert not leftover.exists()


def test_a_failure_leaves_nothing_behind_that_looks_whole(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shapes, "_coco", fail)
    with pytest.raises(SystemProblem, match=r"cannot be written below .*: No space left on device"):
        prepare_shapes(SMALL, tmp_path)
    assert not list(tmp_path.glob("shapes-*"))


def test_many_may_ask_at_once(tmp_path, pristine):
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: prepare_shapes(SMALL, tmp_path), range(4)))
    assert len(set(folders)) == 1
    assert contents(folders[0]) == contents(pristine)


def test_annotations_agree_with_the_picture(pristine):
    """Inside every box, pixels differ from the picture's border more than noise does."""
    train = open_dataset(f"coco:{pristine}", Path()).train
    assert len(train.boxes) > 20
    for index, image in enumerate(train.images):
        pixels = read_picture(image).astype(float)
        for x0, y0, x1, y1 in train.boxes[train.objects_of(index)]:
            inside = pixels[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
            assert np.ptp(inside.reshape(-1, 3), axis=0).max() > 40
