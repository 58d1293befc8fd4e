import contextlib
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from assignbench.errors import DataError, RunError
from assignbench.run.scoring.evaluate import (
    METRICS,
    Detections,
    Evaluation,
    check_dataset,
    evaluate,
    write_detections,
)

BOX = (100, 100, 200, 200)


def scored(dataset, rows, file) -> Evaluation:
    """Write rows of (image index, box, score, label) and evaluate the file."""
    by_image: dict[int, list] = {}
    for image, box, score, label in rows:
        by_image.setdefault(image, []).append((box, score, label))
    detections = [
        Detections(
            image,
            np.array([box for box, _, _ in some], dtype=np.float64),
            np.array([score for _, score, _ in some]),
            np.array([label for _, _, label in some]),
        )
        for image, some in by_image.items()
    ]
    write_detections(dataset, detections, file)
    return evaluate(dataset, file)


def perfect(dataset, file) -> Evaluation:
    rows = zip(dataset.image.tolist(), dataset.boxes, [0.9] * len(dataset.labels), dataset.labels, strict=True)
    return scored(dataset, [row for row, crowd in zip(rows, dataset.crowd, strict=True) if not crowd], file)


def direct(truth: dict, entries: list[dict]) -> list[float]:
    """The twelve numbers of pycocotools as its own demo computes them."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth  # type: ignore[assignment]
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(entries), "bbox")  # type: ignore[arg-type]
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return list(evaluator.stats)


def coco_document(dataset, first_id: int = 1) -> dict:
    return {
        "images": [{"id": image.id} for image in dataset.images],
        "categories": [{"id": category} for category in dataset.category_ids],
        "annotations": [
            {
                "id": first_id + index,
                "image_id": dataset.images[dataset.image[index]].id,
                "category_id": dataset.category_ids[dataset.labels[index]],
                "bbox": [*box[:2], *(box[2:] - box[:2])],
                "area": dataset.area[index],
                "iscrowd": int(dataset.crowd[index]),
            }
            for index, box in enumerate(dataset.boxes)
        ],
    }


# Worked by hand.


def test_perfect_detections_reach_one(make_dataset, tmp_path, capsys):
    dataset = make_dataset(
        [(0, 0, (0, 0, 20, 20)), (0, 1, (0, 0, 50, 50)), (1, 0, (0, 0, 200, 200))],
        images=(5, 3),
        classes=("a", "b"),
    )
    result = perfect(dataset, tmp_path / "d.json")
    # One object of a class an image: a single detection suffices.
    assert result.metrics == dict.fromkeys(METRICS, pytest.approx(1))
    assert result.per_class == {"a": pytest.approx(1), "b": pytest.approx(1)}
    assert (result.detections, result.notes) == (3, ())
    assert capsys.readouterr().out == ""


def test_a_shift_by_a_fifth_passes_four_of_ten_thresholds(make_dataset, tmp_path):
    # overlap 80·100, union 2·10000 − 8000 = 12000: IoU 2/3 passes 0.50, 0.55, 0.60 and 0.65
    result = scored(make_dataset(), [(0, (120, 100, 220, 200), 0.9, 0)], tmp_path / "d.json")
    assert result.metrics["AP"] == pytest.approx(0.4)
    assert (result.metrics["AP50"], result.metrics["AP75"]) == (pytest.approx(1), 0)
    assert result.metrics["AR100"] == pytest.approx(0.4)
    assert (result.metrics["APs"], result.metrics["APm"], result.metrics["APl"]) == (
        None,
        None,
        pytest.approx(0.4),
    )


def test_a_better_scored_false_alarm_halves_the_precision(make_dataset, tmp_path):
    result = scored(make_dataset(), [(0, (300, 300, 400, 400), 0.9, 0), (0, BOX, 0.8, 0)], tmp_path / "d.json")
    assert result.metrics["AP"] == pytest.approx(0.5)


def test_per_class_follows_names_although_category_ids_fall(make_dataset, tmp_path):
    dataset = make_dataset([(0, 0, BOX), (0, 1, BOX)], classes=("zebra", "ant", "absent"), category_ids=(90, 2, 40))
    result = scored(dataset, [(0, BOX, 0.9, 0)], tmp_path / "d.json")
    assert result.per_class == {"zebra": pytest.approx(1), "ant": 0, "absent": None}
    assert result.metrics["AP"] == pytest.approx(0.5)  # the mean over the two measured classes
    assert result.notes == ("no ground truth, so not in any mean: absent",)


def test_a_long_list_of_absent_classes_is_cut(make_dataset, tmp_path):
    result = perfect(make_dataset(classes=("cat", "a", "b", "c", "d", "e", "f", "g")), tmp_path / "d.json")
    assert result.notes == ("no ground truth, so not in any mean: a, b, c, d, e and 2 more",)


def test_size_classes_follow_the_stated_area_not_the_box(make_dataset, tmp_path):
    dataset = make_dataset([(0, 0, (0, 0, 40, 40))], area=[900])  # box 1600 is medium, 900 < 32² is small
    result = perfect(dataset, tmp_path / "d.json")
    assert (result.metrics["APs"], result.metrics["APm"]) == (pytest.approx(1), None)


def test_detections_in_a_crowd_count_neither_way(make_dataset, tmp_path):
    dataset = make_dataset([(0, 0, BOX), (0, 0, (300, 100, 600, 400))], crowd=[False, True])
    rows = [(0, BOX, 0.5, 0), (0, (310, 110, 350, 150), 0.9, 0), (0, (360, 110, 390, 150), 0.8, 0)]
    assert scored(dataset, rows, tmp_path / "d.json").metrics["AP"] == pytest.approx(1)


# The table of odd inputs: pycocotools' silent answer beside ours.


@pytest.mark.parametrize(("ids", "objects"), [((0,), [BOX]), ((0, 1), [BOX, (300, 100, 400, 200)])])
def test_annotation_id_zero_is_not_a_miss(make_dataset, tmp_path, ids, objects):
    dataset = make_dataset([(0, 0, box) for box in objects], annotation_ids=ids)
    assert perfect(dataset, tmp_path / "d.json").metrics["AP"] == pytest.approx(1)
    entries = json.loads((tmp_path / "d.json").read_text())
    assert direct(coco_document(dataset, first_id=0), entries)[0] < 0.5  # what the renumbering prevents


def test_a_repeated_annotation_id_is_refused(make_dataset, tmp_path):
    dataset = make_dataset([(0, 0, BOX), (0, 0, (300, 100, 400, 200))], annotation_ids=[7, 7])
    with pytest.raises(DataError, match="annotation id 7 occurs more than once"):
        perfect(dataset, tmp_path / "d.json")


def test_no_detection_at_all_is_zero_where_there_is_ground_truth(make_dataset, tmp_path):
    dataset = make_dataset([(0, 0, BOX)], images=(1, 2), classes=("cat", "absent"))
    result = scored(dataset, [], tmp_path / "d.json")
    assert (result.metrics["AP"], result.metrics["AR100"], result.metrics["APs"]) == (0, 0, None)
    assert result.per_class == {"cat": 0, "absent": None}
    assert result.detections == 0
    assert result.notes[0] == "2 of 2 images have no detection"


@pytest.mark.parametrize("objects", [[], [(0, 0, BOX)]], ids=["no objects", "only crowd"])
@pytest.mark.parametrize("rows", [[], [(0, BOX, 0.9, 0)]], ids=["no detection", "one detection"])
def test_without_ground_truth_nothing_is_measured(make_dataset, tmp_path, objects, rows):
    dataset = make_dataset(objects, crowd=[True] * len(objects))
    result = scored(dataset, rows, tmp_path / "d.json")
    assert result.metrics == dict.fromkeys(METRICS)
    assert result.per_class == {"cat": None}


@pytest.mark.parametrize("classes", [(), ("cat",)])
def test_a_data_set_without_images_measures_nothing(make_dataset, tmp_path, classes):
    result = scored(make_dataset([], images=(), classes=classes), [], tmp_path / "d.json")
    assert result.metrics == dict.fromkeys(METRICS)
    assert result.per_class == dict.fromkeys(classes)


@pytest.mark.parametrize(
    ("objects", "problem"),
    [
        ([(0, 0, BOX), (2, 0, BOX)], "annotation id 2 belongs to no image"),
        ([(0, 0, BOX), (-1, 0, BOX)], "annotation id 2 belongs to no image"),
        ([(0, 0, BOX), (1, 1, BOX)], "annotation id 2 of image id 20 belongs to no class"),
        (
            [(0, 0, BOX), (1, 0, (5, 5, 5, 9))],
            "annotation id 2 of image id 20 has a box without positive size",
        ),
        ([(0, 0, (np.nan, 0, 9, 9))], "annotation id 1 of image id 10 has a coordinate that is not finite"),
        ([(0, 0, (0, 0, np.inf, 9))], "annotation id 1 of image id 10 has a coordinate that is not finite"),
    ],
)
def test_an_impossible_object_is_refused_by_name(make_dataset, objects, problem):
    with pytest.raises(DataError, match=f"tiny: {problem}"):
        check_dataset(make_dataset(objects, images=(10, 20)))


@pytest.mark.parametrize("area", [-1.0, np.nan])
def test_an_impossible_area_is_refused(make_dataset, area):
    with pytest.raises(DataError, match="annotation id 1 of image id 1 has an impossible area"):
        check_dataset(make_dataset(area=[area]))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"images": (4, 4)}, "image id 4 occurs more than once"),
        ({"images": ("4",)}, "image id '4' is not an integer"),
        ({"images": (2**70,)}, "image id .* is not an integer of 64 bits"),
        ({"classes": ("a", "b"), "category_ids": (1, 1)}, "category id 1 occurs more than once"),
        ({"classes": ("a", "a")}, "class a occurs more than once"),
        ({"classes": ("a", "b"), "category_ids": (1,)}, "2 classes, but 1 category ids"),
    ],
)
def test_inconsistent_ids_are_refused_by_name(make_dataset, arguments, problem):
    with pytest.raises(DataError, match=problem):
        check_dataset(make_dataset(**arguments))


def test_lists_of_unequal_length_are_refused(make_dataset):
    with pytest.raises(DataError, match="differ in length"):
        check_dataset(dataclasses.replace(make_dataset(), area=np.zeros(2)))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ('{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": NaN}', "damaged"),
        ('{"image_id": 1, "category_id": 1, "bbox": [NaN, 0, 9, 9], "score": 0.5}', "damaged"),
        ('{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1e999, 9], "score": 0.5}', "entry 1"),
        ('{"image_id": 1, "category_id": 1, "bbox": [0, 0, -9, 9], "score": 0.5}', "entry 1"),
        ('{"image_id": 1, "category_id": 5, "bbox": [0, 0, 9, 9], "score": 0.5}', "entry 1"),
        ('{"image_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}', "entry 1"),
        ('{"image_id": "1", "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}', "entry 1"),
    ],
)
def test_an_odd_detection_never_becomes_a_number(make_dataset, tmp_path, entry, problem):
    (tmp_path / "d.json").write_text(f"[{entry}]")
    with pytest.raises(RunError, match=problem):
        evaluate(make_dataset(), tmp_path / "d.json")


def test_more_than_a_hundred_is_said_aloud(make_dataset, tmp_path):
    boxes = [(5 * index, 0, 5 * index + 4, 4) for index in range(101)]
    dataset = make_dataset([(0, 0, box) for box in boxes])
    result = perfect(dataset, tmp_path / "d.json")
    assert result.metrics["AP"] == pytest.approx(100 / 101, abs=0.01)
    assert result.notes == (
        "1 times an image holds more than 100 objects of a class: COCO's AP cannot reach 1 there",
        "1 detections beyond the 100 best of their image and class do not count",
    )


def test_repeated_detections_are_said_aloud(make_dataset, tmp_path):
    between = [(0, (0, 0, 9, 9), 0.85, 0), (0, (0, 0, 9, 8), 0.84, 0)]
    result = scored(make_dataset(), [(0, BOX, 0.9, 0), *between, (0, BOX, 0.8, 0)], tmp_path / "d.json")
    assert result.notes == ("1 detections repeat a box of the same image and class",)


def test_numbers_outside_zero_and_one_cannot_exist():
    with pytest.raises(ValueError, match=r"AP = 40\.5 is not a fraction"):
        Evaluation({"AP": 40.5}, {}, 1, "pycocotools 2.0.8", ())


# Parity with pycocotools used directly, on random sets with gaps in the ids, crowds and tied scores.


def random_case(make_dataset, seed: int):
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 7)), int(rng.integers(1, 5))

    def boxes(count):
        corner = rng.uniform(0, 300, (count, 2))
        return np.round(np.hstack([corner, corner + rng.uniform(3, 150, (count, 2))]), 2)

    count = int(rng.integers(1, 30))
    truth = [
        (int(image), int(label), box)
        for image, label, box in zip(
            np.sort(rng.integers(0, images, count)),
            rng.integers(0, classes, count),
            boxes(count),
            strict=True,
        )
    ]
    dataset = make_dataset(
        truth,
        images=(rng.permutation(100)[:images]).tolist(),
        classes=[f"class {label}" for label in range(classes)],
        category_ids=rng.permutation(np.arange(1, 91))[:classes].tolist(),
        annotation_ids=rng.permutation(1000)[:count].tolist(),
        crowd=(rng.random(count) < 0.15).tolist(),
    )
    hits = [
        (image, np.abs(box + rng.normal(0, 4, 4)) + np.array([0, 0, 3, 3]), rng.integers(0, 5) / 4, label)
        for image, label, box in truth
        if rng.random() < 0.8
    ]
    alarms = [(int(rng.integers(images)), box, rng.integers(0, 5) / 4, int(rng.integers(classes))) for box in boxes(10)]
    rows = [row for row in hits + alarms if (row[1][2:] > row[1][:2]).all()]
    return dataset, [rows[index] for index in rng.permutation(len(rows))]


@pytest.mark.parametrize("seed", range(12))
def test_parity_with_pycocotools(make_dataset, tmp_path: Path, seed):
    dataset, rows = random_case(make_dataset, seed)
    result = scored(dataset, rows, tmp_path / "d.json")
    expected = direct(coco_document(dataset), json.loads((tmp_path / "d.json").read_text()))
    assert list(result.metrics) == list(METRICS)
    for name, value in zip(METRICS, expected, strict=True):
        assert result.metrics[name] == (None if value == -1 else value), name
    measured = [value for value in result.per_class.values() if value is not None]
    assert result.metrics["AP"] == (pytest.approx(np.mean(measured)) if measured else None)


def test_the_number_comes_from_the_file_on_the_disk(make_dataset, tmp_path):
    dataset, file = make_dataset([(0, 0, BOX), (0, 0, (300, 100, 400, 200))]), tmp_path / "d.json"
    assert perfect(dataset, file).metrics["AP"] == pytest.approx(1)
    file.write_text(json.dumps(json.loads(file.read_text())[:1]))
    assert evaluate(dataset, file).metrics["AP50"] == pytest.approx(51 / 101)  # recall 0 … 0.50 of 101 points
