"""A name in an annotation file leads to no file outside of the data set, in any format and by any command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assignbench.data import pictures as picture_files
from assignbench.data.check.check import check_dataset
from assignbench.data.check.fix_write import write_fixed
from assignbench.data.folders import leaves
from assignbench.data.read.findings import ENTRY_MALFORMED
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError

WAYS = ("../../secret/x", "{outside}/x", "sub/../../../secret/x")


def coco(folder: Path, name: str) -> Path:
    file = folder / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = f"{name}.png"
    file.write_text(json.dumps(content))
    return file


def voc(folder: Path, name: str) -> Path:
    file = folder / "ImageSets" / "Main" / "trainval.txt"
    file.write_text(file.read_text().replace("lying", name))
    return file


def widerface(folder: Path, name: str) -> Path:
    name = name.replace("../../", "../../../../")
    file = folder / "widerface" / "wider_face_split" / "wider_face_train_bbx_gt.txt"
    file.write_text(file.read_text().replace("0--Event/lying.jpg", f"{name}.jpg"))
    return file


def yolo(folder: Path, name: str) -> Path:
    listed = [f"images/train/{path.name}" for path in sorted((folder / "images" / "train").iterdir())]
    file = folder / "train.txt"
    file.write_text("\n".join([f"{name.replace('../../', '../')}.jpg", *listed[1:]]))
    data = folder / "data.yaml"
    data.write_text(data.read_text().replace("train: images/train", "train: train.txt"))
    return file


EDITS: dict[str, Callable[[Path, str], Path]] = {"coco": coco, "voc": voc, "widerface": widerface, "yolo": yolo}


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Every picture that is opened."""
    seen: list[str] = []
    real = picture_files.Image.open

    def opening(file, *arguments, **more):
        seen.append(str(getattr(file, "name", file)))
        return real(file, *arguments, **more)

    monkeypatch.setattr(picture_files.Image, "open", opening)
    return seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", EDITS)
def test_a_name_that_leads_outside_is_refused_with_file_and_entry(tmp_path, miniatures, opened, kind, way):
    if kind == "yolo" and way.startswith("{"):
        pytest.skip("a list of YOLO may hold absolute paths")
    folder, secret = tmp_path / "set", tmp_path / "secret"
    secret.mkdir()
    one = miniatures.WRITERS[kind](folder)
    for name in ("x.png", "x.jpg"):
        shutil.copy(next(folder.rglob(f"lying{Path(name).suffix}"), next(folder.rglob("lying.*g"))), secret / name)
    if kind == "voc":
        (secret / "x.xml").write_text((folder / "Annotations" / "lying.xml").read_text())
    name = way.format(outside=secret)
    file = EDITS[kind](folder, name)
    with pytest.raises(DataError, match=r"secret/x.* leads out of .*; write a path below") as refused:
        open_dataset(one.spec, folder)
    assert str(file) in str(refused.value)
    found = check_dataset(one.spec, folder)
    (told,) = [finding for finding in found.findings if finding.kind is ENTRY_MALFORMED]
    assert told.count == 1
    if kind != "widerface":
        fixed = write_fixed(found, tmp_path / "fixed", copy_pictures=True)
        assert len(open_dataset(str(fixed.spec), tmp_path).train) == len(one.train) - 1
    assert not [path for path in opened if str(secret) in path]


def test_a_link_in_the_folder_is_followed(tmp_path, miniatures):
    one = miniatures.write_coco(tmp_path / "set")
    (tmp_path / "store").mkdir()
    picture = tmp_path / "set" / "train2017" / "lying.png"
    picture.rename(tmp_path / "store" / "lying.png")
    picture.symlink_to(tmp_path / "store" / "lying.png")
    assert len(open_dataset(one.spec, tmp_path).train) == len(one.train)


def test_lists_of_yolo_may_name_places_anywhere_and_folders_beside(tmp_path, miniatures):
    folder = tmp_path / "set"
    one = miniatures.write_yolo(folder)
    names = sorted(path.name for path in (folder / "images" / "train").iterdir())
    (folder / "lists").mkdir()
    (folder / "data.yaml").write_text("train: lists/train.txt\nval: images/val\nnames: {0: cat, 1: dog}\n")
    for start in (f"{folder}/images/train", "../images/train", "images/train", "./images/train"):
        (folder / "lists" / "train.txt").write_text("\n".join(f"{start}/{name}" for name in names))
        assert len(open_dataset(one.spec, folder).train) == len(one.train)
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.yaml").write_text("path: ../set\ntrain: lists/train.txt\nval: images/val\nnames: {0: cat, 1: dog}\n")
    (folder / "lists" / "train.txt").write_text("\n".join(f"../images/train/{name}" for name in names))
    assert len(open_dataset(f"yolo:{other}", other).train) == len(one.train)


@pytest.mark.parametrize(
    ("name", "out"),
    [
        *((name, False) for name in ("a.jpg", "a/b..jpg", "..a/b", "/set/a")),
        *((name, True) for name in ("..", "../a", "a/../../b", "/settle/a", "/")),
    ],
)
def test_what_leads_out(name, out):
    assert leaves(Path("/set"), name) is out
