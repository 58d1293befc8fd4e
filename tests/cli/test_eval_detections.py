"""``eval --detections``: a results file of any tool is scored as our own detections are."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import open_dataset
from assignbench.run.scoring.evaluate import Detections, evaluate, write_detections

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["coco", "voc", "widerface"])
def data(request, miniatures, tmp_path: Path) -> tuple[str, Dataset]:
    """What opens a small data set of each kind of metrics, and its evaluation split."""
    spec = miniatures.WRITERS[request.param](tmp_path / "set").spec
    return spec, open_dataset(spec, tmp_path).evaluation


def found(dataset: Dataset) -> list[Detections]:
    """Every object a little off, and a false alarm a picture."""
    rng = np.random.default_rng(0)
    parts = []
    for image in range(len(dataset.images)):
        some = dataset.objects_of(image)
        boxes = np.vstack([dataset.boxes[some] + rng.uniform(-3, 3, (some.stop - some.start, 4)), [[0.0, 0.0, 9, 9]]])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        parts.append(Detections(image, boxes, rng.uniform(0.1, 1, len(boxes)), np.append(dataset.labels[some], 0)))
    return parts


def percent(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else 100 * value for name, value in values.items()}


def test_a_file_has_the_numbers_of_record_the_data_set_s_own_too(call: Call, data, tmp_path):
    spec, dataset = data
    file = tmp_path / "theirs.json"
    write_detections(dataset, found(dataset), file)
    record = evaluate(dataset, file)
    entries = json.loads(file.read_text())
    order = np.random.default_rng(1).permutation(len(entries))
    file.write_text(json.dumps([{"id": int(n), **entries[n], "area": 2} for n in order], indent=3))
    code, out, err = call("eval", "--detections", str(file), "--dataset", spec, "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["metrics"] == pytest.approx(percent(record.metrics))
    assert 10 < content["metrics"]["AP"] < 99
    assert content["classes"] == {
        name: pytest.approx(percent(values))
        for name, values in {"AP": record.per_class, **record.official_per_class}.items()
    }
    assert content["detections"] == len(entries)
    assert content["evaluator"].startswith("pycocotools ")
    (line,) = [note for note in content["notes"] if note.startswith(f"{file}, {len(entries)} detections, sha256 ")]
    assert "keys passed over, with the number of entries: 'area'" in line

    code, out, err = call("eval", "--detections", str(file), "--dataset", spec)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    for name, value in record.metrics.items():
        assert [name, "–" if value is None else f"{100 * value:.1f}"] in rows
    assert "keys passed over" in out


def test_what_a_wrong_export_looks_like_is_said_or_refused(call: Call, few_pictures, tmp_path):
    dataset = open_dataset(str(few_pictures), few_pictures.parent).evaluation
    picture, category = dataset.images[0], dataset.category_ids[0]
    file = tmp_path / "d.json"

    def scored(*entries: dict[str, Any]) -> tuple[int, str, str]:
        file.write_text(json.dumps(entries))
        return call("eval", "--detections", str(file), "--dataset", str(few_pictures))

    good = {"image_id": picture.id, "category_id": category, "bbox": [1, 2, 20, 20], "score": 0.5}
    many = [{**good, "bbox": [n / 10, 0, 20, 20], "score": n / 200} for n in range(103)]
    code, out, _ = scored(*many)
    assert (code, "3 detections beyond the 100 best of their image and class do not count" in out) == (0, True)
    assert f"4 of {len(dataset)} images have no detection" in out
    code, _, err = scored(good, {**good, "image_id": 999})
    assert (code, f"{file}, entry 2: " in err) == (1, True)
    code, _, err = scored({**good, "bbox": [0.1, 0.1, 0.2, 0.2]})
    assert (code, "not in fractions of the picture" in err) == (1, True)
    code, out, _ = scored()
    assert (code, "0 detections" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detections", "d.json"), "--detections needs --dataset: neither weights nor detections know"),
        (("runs/a", "--detections", "d.json"), "eval needs either RUN"),
        (("--weights", "a", "--detections", "d.json", "--dataset", "coco"), "eval needs either RUN"),
        ((), "eval needs either RUN"),
        (("runs/a", "--dataset", "coco"), "a run is evaluated on its own data set; leave out --dataset"),
        (("--detections", "d.json", "--dataset", "coco", "--tta", "flip"), "--tta is for a RUN or --weights"),
        (("--detections", "d.json", "--dataset", "coco", "--output", "x.json"), "--output and --set are for --weights"),
        (("--detections", "d.json", "--dataset", "coco", "--set", "a=1"), "--output and --set are for --weights"),
        (("--detections", "d.json", "--dataset", "coco", "--split", "test"), "--split test is for a RUN"),
        (("runs/a", "--split", "test", "--json"), "--json prints numbers"),
        (("--detections", "d.json", "--dataset", "coco"), "there is no detections file d.json"),
    ],
)
def test_what_does_not_go_together_is_refused(call: Call, arguments, message):
    code, out, err = call("eval", *arguments)
    assert (code, out) == (2, "")
    assert message in err
