import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data.dataset import describe
from assignbench.data.spec.locate import locate, open_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set as Roboflow exports it for YOLO."""
    for split in ("train", "valid"):
        for kind in ("images", "labels"):
            (tmp_path / "set" / split / kind).mkdir(parents=True)
        for name in "ab":
            pixels = np.zeros((30, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / split / "images" / f"{name}.jpg")
            (tmp_path / "set" / split / "labels" / f"{name}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [cat, toy car]\n"
    (tmp_path / "set" / "data.yaml").write_text(text)
    return tmp_path / "set"


def test_a_folder_is_said_counted_and_written_down(call, folder):
    code, out, err = call("data", "open", str(folder))
    assert (code, err) == (0, "")
    for line in (
        f"yolo:{folder}",
        "YOLO's format, as data.yaml says: train/images for training, valid/images for evaluation",
        "note: not used: test",
        "classes: cat, toy car",
        "evaluation: [valid/images]",
        f"  assignbench data check {folder}",
        f"  assignbench run --dataset {folder}",
    ):
        assert line in out.splitlines()
    assert "2 images (0 without objects), 2 objects of 2 classes" in out


@pytest.mark.parametrize("place", ["set/mine.yaml", "mine.yaml", "else/where/mine.yaml"])
def test_the_written_file_opens_the_same(call, folder, place):
    file = folder.parent / place
    file.parent.mkdir(parents=True, exist_ok=True)
    code, out, _ = call("data", "open", str(folder), "--output", str(file))
    assert code == 0
    assert f"written: {file}" in out
    code, out, _ = call("data", "open", str(file), "--json")
    content = json.loads(out)
    assert {part: one["objects"] for part, one in content["splits"].items()} == {"train": 2, "evaluation": 2}
    code, _, err = call("data", "open", str(folder), "--output", str(file))
    assert code == 2
    assert "it exists; name a new file" in err


def test_a_file_is_written_or_it_is_said_why_not(call, folder, tmp_path):
    code, _, _ = call("data", "open", str(folder), "--share", "0.5", "--output", str(folder / "dataset.yaml"))
    assert code == 2  # data.yaml says what is for evaluation
    code, _, _ = call("data", "open", str(folder), "--output", str(folder / "dataset.yaml"))
    assert code == 0
    (folder / "other.yaml").write_text((folder / "dataset.yaml").read_text())
    for spec, reason in (
        (folder, f"{folder / 'dataset.yaml'} describes this data set already; change that file"),
        (folder / "other.yaml", f"{folder / 'other.yaml'} describes this data set already; change that file"),
        ("shapes", "shapes is a data set that goes by its name and needs no file"),
    ):
        for form in ((), ("--json",)):
            file = tmp_path / "new.yaml"
            code, out, err = call(
                "data", "open", str(spec), *form, "--output", str(file), "--data-root", str(tmp_path / "root")
            )
            assert (code, out) == (2, "")
            assert err.startswith(f"error: --output {file}: {reason}")
            assert not file.exists()
    code, out, _ = call("data", "open", f"yolo:{folder}", "--output", str(tmp_path / "new.yaml"))
    assert (code, f"written: {tmp_path / 'new.yaml'}" in out) == (0, True)


def test_json_says_everything(call, folder):
    code, out, _ = call("data", "open", str(folder), "--json")
    content = json.loads(out)
    assert code == 0
    assert (content["spec"], content["format"], content["classes"]) == (f"yolo:{folder}", "yolo", ["cat", "toy car"])
    assert content["remarks"] == ["not used: test"]
    assert content["splits"]["train"] == {"images": 2, "objects": 2, "crowd": 0, "repairs": []}
    assert content["yaml"].startswith("format: yolo\n")


@pytest.mark.parametrize("spec", ["{}", "yolo:{}", "{}/data.yaml", "yolo:{}/data.yaml", "{}/mine.yaml", "{}/.."])
def test_what_is_taken_instead_is_said_by_every_command(call, folder, spec):
    text = "path: /content/drive/set\ntrain: /home/anna/other/train/images\nval: valid/images\nnames: [cat, toy car]\n"
    (folder / ("mine.yaml" if "mine" in spec else "data.yaml")).write_text(text)
    if "mine" in spec:
        (folder / "data.yaml").unlink()
    spec, name = spec.format(folder), "mine.yaml" if "mine" in spec else "data.yaml"
    notes = [
        f"{name} names /content/drive/set, which is not there; the folder of the file is taken instead",
        f"{name} names /home/anna/other/train/images, which is not there; train/images is taken instead",
    ]
    for words in (("data", "open"), ("data", "check", "--quick")):
        code, out, err = call(*words, spec)
        assert (code, err) == (0, "")
        assert [f"note: {note}" for note in notes] == [line for line in out.splitlines() if "is taken instead" in line]
        assert f"as {name} says" not in out
        code, out, _ = call(*words, spec, "--json")
        assert [one for one in json.loads(out)["remarks"] if "instead" in one] == notes
    assert describe(open_dataset(spec, folder).train)[-2:] == tuple(f"note: {note}" for note in notes)  # as run says


def test_nothing_that_fits_ends_with_three_and_every_format(call, tmp_path):
    (tmp_path / "a.json").write_text('{"shapes": [], "imagePath": "a.jpg"}')
    code, out, err = call("data", "open", str(tmp_path))
    assert (code, out) == (3, "")
    for words in ("COCO: a.json", "VOC: no XML", "YOLO: no YAML", "LabelMe's format (a.json)", "with labelme2coco"):
        assert words in err


def test_what_is_chosen_is_said_before_what_is_wrong(call, folder):
    (folder / "train" / "labels" / "a.txt").write_text("7 0.5 0.5 0.2 0.2\n")
    code, out, err = call("data", "open", str(folder))
    assert code == 3
    assert "as data.yaml says" in out
    assert "there is no class 7" in err


def test_a_share_goes_where_the_commands_say_it(call, folder):
    (folder / "data.yaml").write_text("train: train/images\nnames: [cat, toy car]\n")
    assert locate(str(folder), Path()).canonical == f"yolo:{folder}?split=0.8"
    code, _, err = call("data", "open", str(folder), "--share", "2")
    assert code == 2
    assert "--share 2 must lie between 0 and 1" in err
