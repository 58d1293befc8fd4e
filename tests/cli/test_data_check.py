import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_set(folder: Path, **change: object) -> str:
    """Two pictures a split; ``change`` goes into the first training annotation."""
    for first, split in ((1, "train"), (11, "val")):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number in (first, first + 1):
            pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 40, "height": 30})
            box = [5, 6, 20, 15]
            annotation = {"id": number, "image_id": number, "category_id": 1, "bbox": box, "area": 300, "iscrowd": 0}
            annotations.append(annotation)
        if split == "train":
            annotations[0].update(change)
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return f"coco:{folder}"


def test_sound(call, tmp_path):
    code, out, err = call("data", "check", write_set(tmp_path / "set"))
    assert (code, err) == (0, "")
    assert "coco:set: nothing odd" in out
    assert "train: 2 images, 2 annotations, 1 categories" in out


def test_errors_end_with_three_and_warnings_with_zero(call, tmp_path):
    code, out, _ = call("data", "check", write_set(tmp_path / "a", image_id=99))
    assert code == 3
    assert "annotation-orphan" in out
    assert "annotation 1 of image 99" in out
    assert "--fix DIR" in out
    code, out, _ = call("data", "check", write_set(tmp_path / "b", bbox=[5, 6, 0, 15]))
    assert code == 0
    assert "1 warning" in out


def test_strict_ends_with_three_for_warnings_and_with_zero_for_notes(call, tmp_path):
    code, out, _ = call("data", "check", write_set(tmp_path / "a", bbox=[5, 6, 0, 15]), "--strict")
    assert (code, "1 warning" in out) == (3, True)
    assert call("data", "check", write_set(tmp_path / "b", image_id=99), "--strict")[0] == 3
    assert call("data", "check", write_set(tmp_path / "c"), "--strict")[0] == 0
    code, out, _ = call("data", "check", write_set(tmp_path / "d", iscrowd=1), "--strict", "--json")
    content = json.loads(out)
    assert (code, content["warnings"], content["notes"] > 0) == (0, 0, True)


def test_json_says_everything(call, tmp_path):
    code, out, _ = call("data", "check", write_set(tmp_path / "set", image_id=99), "--json", "--quick")
    content = json.loads(out)
    assert code == 3
    assert content["quick"]
    assert (content["errors"], content["warnings"]) == (1, 0)
    (finding,) = [one for one in content["findings"] if one["severity"] == "error"]
    assert finding["finding"] == "annotation-orphan"
    assert finding["items"] == [{"image": 99, "annotation": 1, "detail": "there is no such image"}]


@pytest.mark.parametrize("copy", [(), ("--copy-pictures",)])
def test_the_repaired_copy_is_sound(call, tmp_path, copy):
    spec = write_set(tmp_path / "set", image_id=99)
    code, out, _ = call("data", "check", spec, "--fix", str(tmp_path / "new"), *copy)
    assert code == 3  # the set itself is as it was
    assert "repaired copy" in out
    code, out, _ = call("data", "check", str(tmp_path / "new" / "dataset.yaml"))
    assert code == 0
    assert "1 note" in out  # an image without objects
    report = json.loads((tmp_path / "new" / "fix_report.json").read_text())
    assert [change["finding"] for change in report["changes"]] == ["annotation-orphan"]


def test_wrong_use(call, tmp_path):
    spec = write_set(tmp_path / "set")
    assert call("data", "check", spec, "--copy-pictures")[0] == 2
    code, _, err = call("data", "check", spec, "--fix", str(tmp_path / "set"))
    assert code == 2
    assert "not empty" in err
    assert call("data", "check", "nonsense")[0] == 2
    code, _, err = call("data", "check", f"coco:{tmp_path / 'nowhere'}")
    assert code == 3
    assert "no folder" in err


def test_a_file_that_cannot_be_read_is_reported_before_the_refusal_to_repair(call, tmp_path):
    spec = write_set(tmp_path / "set")
    (tmp_path / "set" / "annotations" / "instances_train.json").write_text("{")
    code, out, err = call("data", "check", spec, "--fix", str(tmp_path / "new"))
    assert code == 3
    assert "file-unreadable" in out
    assert "nothing can be repaired" in err
    assert not (tmp_path / "new").exists()


def test_stats(call, tmp_path):
    spec = write_set(tmp_path / "set")
    code, out, _ = call("data", "stats", spec, "--short-side", "60", "--long-side", "100")
    assert code == 0
    assert "short side 60, long side at most 100" in out
    code, out, _ = call("data", "stats", spec, "--recipe", "tiny", "--json")
    content = json.loads(out)
    assert (content["short_side"], content["long_side"]) == (192, 256)
    # 20 × 15 of 40 × 30, shown as 256 × 192
    assert content["splits"]["train"]["median_side"] == pytest.approx((128 * 96) ** 0.5)


def test_stats_refuses_sides_that_do_not_fit(call, tmp_path):
    code, _, err = call("data", "stats", write_set(tmp_path / "set"), "--short-side", "600", "--long-side", "500")
    assert code == 2
    assert "600" in err
    assert call("data", "stats", f"coco:{tmp_path / 'set'}", "--short-side", "4000")[0] == 0


def test_show(call, tmp_path):
    spec = write_set(tmp_path / "set", bbox=[30, 20, 30, 30])
    code, out, _ = call("data", "show", spec, "--output", str(tmp_path / "out"), "--count", "1")
    assert code == 0
    assert "2 pictures" in out
    assert len(list((tmp_path / "out").iterdir())) == 2
    few = ("--split", "evaluation", "--images", "12,11", "--recipe", "tiny")
    code, out, _ = call("data", "show", spec, "--output", str(tmp_path / "few"), *few)
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "few").iterdir()) == [
        "evaluation_11_11.png",
        "evaluation_12_12.png",
    ]
    code, _, err = call("data", "show", spec, "--output", str(tmp_path / "none"), "--images", "99")
    assert code == 3
    assert "no image 99" in err


def test_show_goes_on_past_a_picture_that_cannot_be_read(call, tmp_path):
    spec = write_set(tmp_path / "set")
    (tmp_path / "set" / "train" / "1.png").write_text("no picture")
    code, out, err = call("data", "show", spec, "--output", str(tmp_path / "out"))
    assert code == 3
    assert "3 pictures" in out
    assert "1.png" in err


def test_a_copy_says_which_errors_it_still_has(call, tmp_path):
    spec = write_set(tmp_path / "set", image_id=99)
    code, out, _ = call("data", "check", spec, "--fix", str(tmp_path / "whole"))
    assert (code, "left in the copy" in out) == (3, False)
    for split in ("train", "val"):
        for file in (tmp_path / "set" / split).iterdir():
            values = np.random.default_rng(int(file.stem)).integers(0, 3999, (30, 40), np.uint16, endpoint=True)
            values[0, 0] = 3999
            Image.fromarray(values).save(file)
    code, out, _ = call("data", "check", spec, "--fix", str(tmp_path / "copy"))
    (line,) = [line for line in out.splitlines() if "left in the copy" in line]
    assert code == 3
    assert "pictures-dim in train and evaluation (no value of its 16-bit pictures is above 3999" in line
    assert "bits: 12" in line
    assert "annotation-orphan" not in line
    assert line.endswith(f"correct them yourself, and check {tmp_path / 'copy' / 'dataset.yaml'} again")
    report = json.loads((tmp_path / "copy" / "fix_report.json").read_text())
    errors = [(one["finding"], one["split"]) for one in report["errors_left"]]
    assert errors == [("pictures-dim", "train"), ("pictures-dim", "evaluation")]
    again = json.loads(call("data", "check", str(tmp_path / "copy"), "--json")[1])
    assert [(one["finding"], one["split"]) for one in again["findings"] if one["severity"] == "error"] == errors
