"""A repaired copy keeps what its data set's numbers are made of, and is called after its folder."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assignbench.data.check.check import check_dataset
from assignbench.data.check.fix_write import write_fixed
from assignbench.data.dataset import Dataset, Splits
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import UsageError
from assignbench.run.scoring.evaluate import Detections, evaluate, write_detections

BCCD = Path(__file__).parents[4] / "shared" / "data" / "bccd"


def copied(spec: str, folder: Path) -> Splits:
    done = write_fixed(check_dataset(spec, folder.parent), folder)
    return open_dataset(str(done.spec), folder)


def guesses(dataset: Dataset, seed: int) -> list[Detections]:
    """Most objects, difficult ones too, a few pixels off; some twice, and false alarms."""
    rng = np.random.default_rng(seed)
    parts = []
    for image in range(len(dataset)):
        own = np.flatnonzero(dataset.image == image)
        some = np.concatenate([own[rng.random(len(own)) < 0.9], own[rng.random(len(own)) < 0.3]])
        boxes = np.vstack([dataset.boxes[some] + rng.uniform(-2, 2, (len(some), 4)), rng.uniform(0, 20, (3, 4))])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.append(dataset.labels[some], rng.integers(0, len(dataset.classes), 3))
        parts.append(Detections(image, boxes, rng.uniform(0.05, 1, len(boxes)), labels))
    return parts


def numbers(dataset: Dataset, found: Sequence[Detections], file: Path) -> dict[str, float | None]:
    write_detections(dataset, found, file)
    return dict(evaluate(dataset, file).metrics)


@pytest.mark.parametrize("data", ["miniature", "bccd"])
def test_a_copy_of_voc_has_voc_s_numbers(data, miniatures, tmp_path):
    if data == "bccd" and not BCCD.is_dir():
        pytest.skip(f"no real data in {BCCD}")
    spec = f"voc:{BCCD}" if data == "bccd" else miniatures.write_voc(tmp_path / "set").spec
    before, after = open_dataset(spec, tmp_path).evaluation, copied(spec, tmp_path / "fixed").evaluation
    found = guesses(before, 0)
    label_of = np.array([after.classes.index(name) for name in before.classes])
    same = [replace(one, labels=label_of[one.labels]) for one in found]
    original, copy = numbers(before, found, tmp_path / "a.json"), numbers(after, same, tmp_path / "b.json")
    assert original == pytest.approx(copy, abs=1e-12)  # classes may stand in another order, and sums round by it
    assert 0.1 < (original["VOC07-AP50"] or 0) < 1
    assert {"VOC10-AP50", "AP"} < original.keys()
    assert np.array_equal(before.crowd, after.crowd)
    if data == "miniature":
        assert before.crowd.any()  # a difficult object; it is neither required nor an error in either


def test_a_copy_of_wider_face_still_knows_its_lists(miniatures, tmp_path):
    mini = miniatures.write_widerface(tmp_path / "set")
    file = Path(mini.spec)
    file.write_text(re.sub(r"^lists:.*\n", "", file.read_text(), flags=re.M) + "lists: ground_truth\n")
    before, after = open_dataset(mini.spec, tmp_path).evaluation, copied(mini.spec, tmp_path / "fixed").evaluation
    assert before.official is not None
    assert before.official.lists == file.parent / "ground_truth"
    assert after.official == before.official


def test_a_copy_of_coco_has_no_other_numbers(miniatures, tmp_path):
    after = copied(miniatures.write_coco(tmp_path / "set").spec, tmp_path / "fixed")
    assert after.evaluation.official is None


def test_a_copy_is_called_after_its_folder(miniatures, tmp_path):
    spec = miniatures.write_coco(tmp_path / "set").spec
    for folder in ("first", "second"):
        splits = copied(spec, tmp_path / folder)
        assert splits.train.name == splits.evaluation.name == folder
        assert splits.spec == str(tmp_path / folder / "dataset.yaml")


def test_lists_are_of_wider_face_alone(coco, tmp_path):
    coco.write()
    file = coco.folder / "mine.yaml"
    split = "{annotations: annotations/instances_train2017.json, images: train2017}"
    file.write_text(f"format: coco\ntrain: {split}\nevaluation: {split}\nofficial: voc\nlists: there\n")
    with pytest.raises(UsageError, match="'lists' goes with 'official: widerface' alone"):
        open_dataset(str(file), tmp_path)
