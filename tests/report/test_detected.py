"""Right and wrong in one picture: what COCO's matching says of the whole split, and what is shown of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.report.detected import MOST_SHOWN, detected, shown_from, true_objects
from assignbench.run.scoring.detections import DetectionRows
from assignbench.run.scoring.kept_matches import matches_of


def dataset_of(truth: dict[str, Any]) -> Dataset:
    """A data set without pictures, from a COCO document; its images need not stand by id."""
    ids = [image["id"] for image in truth["images"]]
    categories = [one["id"] for one in truth["categories"]]
    owned = sorted(truth["annotations"], key=lambda one: ids.index(one["image_id"]))
    boxes = np.array([one["bbox"] for one in owned], dtype=np.float64).reshape(-1, 4)
    return Dataset(
        name="few", split="evaluation", classes=tuple(f"class {one}" for one in categories),
        category_ids=tuple(categories), images=tuple(ImageInfo(one, Path(f"{one}.png"), 300, 300) for one in ids),
        boxes=np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
        labels=np.array([categories.index(one["category_id"]) for one in owned], dtype=np.int64),
        image=np.array([ids.index(one["image_id"]) for one in owned], dtype=np.int64),
        area=np.array([one["area"] for one in owned], dtype=np.float64),
        crowd=np.array([one["iscrowd"] for one in owned], dtype=bool),
        annotation_ids=np.arange(len(owned)), repairs=(), fingerprint="0" * 64, offsets={},
    )  # fmt: skip


def rows_of(results: list[dict[str, Any]]) -> DetectionRows:
    """As `read_detections` orders them."""
    results = sorted(results, key=lambda one: (one["image_id"], one["category_id"], -one["score"], one["bbox"]))
    return DetectionRows(
        np.array([one["image_id"] for one in results], dtype=np.int64),
        np.array([one["category_id"] for one in results], dtype=np.int64),
        np.array([one["bbox"] for one in results], dtype=np.float64).reshape(-1, 4),
        np.array([one["score"] for one in results], dtype=np.float64),
    )


@pytest.mark.parametrize(("seed", "classes", "objects", "detections"), [(0, 3, 60, 300), (1, 1, 40, 900), (2, 5, 9, 0)])
def test_right_and_wrong_are_those_of_the_kept_matches(
    documents: Callable[..., Any], seed, classes, objects, detections
):
    """With crowds, ties, more than 100 detections of a class, images and classes in any order."""
    truth, results = documents(seed, 4, classes, objects, detections)
    dataset, rows = dataset_of(truth), rows_of(results["annotations"])
    whole = matches_of(dataset, rows)
    number = np.argsort(np.argsort([image.id for image in dataset.images]))
    for place in range(4):
        one = detected(dataset, place, rows, 0.0)
        mine = whole.image == number[place]
        right, counted = whole.right[0, 0, mine], whole.counted[0, 0, mine]
        assert one.found == right.sum()
        assert one.wrong == (counted & ~right).sum()
        assert one.low == 0
        assert len(one.shown) + one.more == (rows.image_id == dataset.images[place].id).sum()
        objects_here = true_objects(dataset, place)
        taken = [each.object for each in one.shown if each.state == "right"]
        assert None not in taken
        assert len(set(taken)) == len(taken)
        for each in one.shown:
            assert (each.object is None) == (each.state != "right")
            if each.object is not None:
                theirs = objects_here[each.object]
                assert (theirs.name, theirs.crowd, one.scores[each.object]) == (each.name, False, each.score)
                assert overlap(theirs.box, each.box) >= 0.5


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def entry(box: tuple[float, ...], category: int = 1, image: int = 7, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, **more}


@pytest.fixture
def few() -> Dataset:
    """Picture 7 with two cats (1), a dog (2) and a crowd of cats."""
    objects = [
        entry((0, 0, 10, 10)),
        entry((100, 0, 10, 10)),
        entry((0, 100, 10, 10), 2),
        entry((200, 200, 50, 50), iscrowd=1),
    ]
    return dataset_of({"images": [{"id": 7}], "categories": [{"id": 1}, {"id": 2}], "annotations": objects})


def test_by_hand(few):
    rows = rows_of(
        [
            entry((0, 0, 10, 9), score=0.9),  # the first cat
            entry((0, 0, 10, 10), score=0.8),  # again
            entry((0, 100, 10, 10), score=0.7),  # the dog, called a cat
            entry((200, 200, 10, 10), score=0.6),  # in the crowd
            entry((100, 1, 10, 10), score=0.2),  # the second cat
            entry((150, 150, 10, 10), 2, score=0.1),
        ]
    )
    one = detected(few, 0, rows, 0.5)
    assert [(each.score, each.state, each.object) for each in one.shown] == [
        (0.9, "right", 0),
        (0.8, "wrong", None),
        (0.7, "wrong", None),
        (0.6, "ignored", None),
    ]
    assert one.shown[0].box == (0, 0, 10, 9)
    assert (one.low, one.more, one.wrong, one.found) == (2, 0, 2, 2)
    assert one.scores == (0.9, 0.2, None, None)
    assert detected(few, 0, rows_of([]), 0.5).scores == (None, None, None, None)


def test_an_object_is_found_once_and_a_crowd_never():
    objects = [entry((0, 0, 10, 10)), entry((0, 0, 10, 9)), entry((0, 0, 10, 10), iscrowd=1)]
    dataset = dataset_of({"images": [{"id": 7}], "categories": [{"id": 1}], "annotations": objects})
    rows = rows_of([entry((0, 0, 10, 10), score=score) for score in (0.9, 0.8, 0.7)])
    one = detected(dataset, 0, rows, 0.0)
    assert [(each.state, each.object) for each in one.shown] == [("right", 0), ("right", 1), ("ignored", None)]
    assert one.scores == (0.9, 0.8, None)


def test_too_many_are_counted(few):
    rows = rows_of([entry((150, 10 * number, 8, 8), score=0.9) for number in range(MOST_SHOWN + 5)])
    one = detected(few, 0, rows, 0.5)
    assert (len(one.shown), one.more, one.wrong) == (MOST_SHOWN, 5, MOST_SHOWN + 5)


def test_as_many_are_shown_as_there_are_objects(few):
    """Three objects, the crowd is none."""

    def rows(*scores: float) -> DetectionRows:
        return rows_of([entry((0, 0, 10, 10), score=score) for score in scores])

    assert shown_from(few, rows(0.9, 0.5, 0.4, 0.4, 0.1)) == 0.4
    assert shown_from(few, rows(0.9, 0.5)) == 0.0
    assert shown_from(few, rows()) == 0.0
