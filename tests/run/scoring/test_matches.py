"""Which object each detection takes: pycocotools' own answer, object by object."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assignbench.run.scoring.matches import THRESHOLDS, Found, Objects, choose, match

Documents = Callable[[int, int, int, int, int], tuple[dict[str, Any], dict[str, Any]]]
Columns = tuple[Objects, Found, int, int]


def columns(truth: dict[str, Any], results: dict[str, Any]) -> Columns:
    images = sorted(one["id"] for one in truth["images"])
    classes = sorted(one["id"] for one in truth["categories"])

    def places(entries: list[dict[str, Any]]) -> tuple[Any, Any, Any]:
        image = np.searchsorted(images, [one["image_id"] for one in entries])
        label = np.searchsorted(classes, [one["category_id"] for one in entries])
        return image, label, np.array([one["bbox"] for one in entries], dtype=float).reshape(-1, 4)

    area, crowd = (np.array([one[key] for one in truth["annotations"]]) for key in ("area", "iscrowd"))
    score = np.array([one["score"] for one in results["annotations"]], dtype=float)
    return (
        Objects(*places(truth["annotations"]), area, crowd.astype(bool)),
        Found(*places(results["annotations"]), score),
        len(images),
        len(classes),
    )


def who_took(truth: dict[str, Any], results: dict[str, Any]) -> np.ndarray:
    """``[threshold, object]`` place of the detection that pycocotools gives it; −1: none, or it is a crowd region."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = np.full((len(THRESHOLDS), len(truth["annotations"])), -1)
    with contextlib.redirect_stdout(io.StringIO()):
        indexed = []
        for document in (truth, results):
            coco = COCO()
            coco.dataset = document
            coco.createIndex()
            indexed.append(coco)
        evaluator = COCOeval(*indexed, "bbox")
        evaluator.evaluate()
    for one in evaluator.evalImgs:
        if one is not None and one["aRng"] == evaluator.params.areaRng[0]:
            place = np.array(one["gtIds"], dtype=int) - 1
            found[:, place] = np.where(one["gtIgnore"], 0, one["gtMatches"]) - 1
    return found


@pytest.mark.parametrize("seed", range(12))
def test_objects_are_taken_by_the_detections_that_pycocotools_names(documents: Documents, seed: int) -> None:
    truth, results = documents(seed, 4, 3, 80, [120, 250, 900, 0][seed % 4])
    objects, found, images, classes = columns(truth, results)
    record = who_took(truth, results)
    assert (record.max() >= 0) == (len(found.score) > 0)
    choices = choose(objects, found, classes)
    took = np.full_like(record, -1)
    threshold, choice = np.nonzero(choices.target >= 0)
    took[threshold, choices.target[threshold, choice]] = choices.detection[choice]
    np.testing.assert_array_equal(took, record)
    np.testing.assert_array_equal(choices.target >= 0, choices.right[0])
    np.testing.assert_array_equal(match(objects, found, images, classes).taken, record >= 0)


def test_a_crowd_region_is_never_found_and_an_object_as_far_as_its_box_fits() -> None:
    box = np.array([[0.0, 0, 100, 100], [200, 0, 100, 100]])
    zeros = np.zeros(2, dtype=np.int64)
    objects = Objects(zeros, zeros, box, box[:, 2:].prod(axis=1), np.array([False, True]))
    fitting = box * [1, 1, 1, 0.72]  # IoU 0.72
    matches = match(objects, Found(zeros, zeros, fitting, np.array([0.9, 0.8])), 1, 1)
    assert matches.taken.sum(axis=1).tolist() == [1] * 5 + [0] * 5
    assert not matches.taken[:, 1].any()
    assert matches.counted[0, :, 1].tolist() == [False] * 10  # it lies in the crowd region
