"""faster-coco-eval beside pycocotools; what needs the former is left out where it is not installed."""

from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.dataset import Dataset
from assignbench.errors import RunError, SystemProblem
from assignbench.run.scoring import evaluators
from assignbench.run.scoring.evaluate import Detections, evaluate, write_detections
from assignbench.run.scoring.evaluators import (
    METRICS,
    Scores,
    by_faster_coco_eval,
    by_pycocotools,
    check_evaluator,
    disagreement,
    score,
)

Documents = Callable[[int, int, int, int, int], tuple[dict[str, Any], dict[str, Any]]]
needs_fast = pytest.mark.skipif(find_spec("faster_coco_eval") is None, reason="needs assignbench[fast]")


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluators, "_process", evaluators._Process())


@needs_fast
@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 5),
    classes=st.integers(1, 4),
    objects=st.integers(0, 60),
    detections=st.sampled_from((0, 1, 30, 250)),
)
def test_both_give_the_same_numbers(
    documents: Documents, seed: int, images: int, classes: int, objects: int, detections: int
) -> None:
    truth, results = documents(seed, images, classes, objects, detections)
    record, found = by_pycocotools(truth, results), by_faster_coco_eval(truth, results)
    assert found.precision.shape == record.precision.shape
    np.testing.assert_allclose(found.stats, record.stats, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.precision, record.precision, rtol=0, atol=1e-12)
    assert len(found.stats) == len(METRICS)


BOX = (100.0, 100.0, 200.0, 200.0)


@needs_fast
@pytest.mark.parametrize("found", [[], [(0, BOX, 0.9, 0)], [(0, BOX, 0.9, 0)] * 120])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"objects": []},
        {"crowd": [True]},
        {"images": (2**53 + 1,)},
        {"images": (-3,)},
        {"images": (0,), "classes": ("a", "b"), "category_ids": (7, 0)},
    ],
    ids=str,
)
def test_odd_input_is_answered_alike(
    make_dataset: Callable[..., Dataset], tmp_path: Path, found: list[tuple], change: dict[str, Any]
) -> None:
    dataset, file = make_dataset(**change), tmp_path / "d.json"
    columns = [np.array([one[column] for one in found]) for column in (1, 2, 3)]
    every = [Detections(0, columns[0].reshape(-1, 4), columns[1], columns[2])] if found else []
    write_detections(dataset, every, file)
    record, fast = evaluate(dataset, file), evaluate(dataset, file, "fast")
    for ours, theirs in ((fast.metrics, record.metrics), (fast.per_class, record.per_class)):
        assert {name for name in ours if ours[name] is None} == {name for name in theirs if theirs[name] is None}
        assert all(abs((ours[name] or 0) - (theirs[name] or 0)) <= 1e-12 for name in theirs)
    assert fast.detections == record.detections == len(found)
    assert fast.notes == (f"scored by {fast.evaluator}", *record.notes)
    assert record.evaluator == f"pycocotools {metadata.version('pycocotools')}"
    assert fast.evaluator == (
        f"faster-coco-eval {metadata.version('faster-coco-eval')}, checked against {record.evaluator} on the first file"
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was asked, in order; both answer by pycocotools, so that nothing has to be installed."""
    asked: list[str] = []

    def answer(name: str) -> Callable[[Any, Any], Scores]:
        def by(truth: Any, results: Any) -> Scores:
            asked.append(name)
            return by_pycocotools(truth, results)

        return by

    monkeypatch.setattr(evaluators, "by_pycocotools", answer("pycocotools"))
    monkeypatch.setattr(evaluators, "by_faster_coco_eval", answer("fast"))
    monkeypatch.setattr(metadata, "version", {"pycocotools": "2.0", "faster-coco-eval": "1.8"}.__getitem__)
    return asked


def test_the_first_file_with_detections_is_scored_by_both(documents: Documents, calls: list[str]) -> None:
    truth, nothing = documents(0, 3, 2, 20, 0)
    _, results = documents(0, 3, 2, 20, 40)
    for one in (nothing, results, results, nothing):
        assert score("fast", truth, one, "d.json")[1] == (
            "faster-coco-eval 1.8, checked against pycocotools 2.0 on the first file"
        )
    assert calls == ["fast", "pycocotools", "fast", "pycocotools", "fast", "fast"]
    assert score("pycocotools", truth, results, "d.json")[1] == "pycocotools 2.0"
    assert calls[6:] == ["pycocotools"]


def test_a_difference_is_an_error_that_names_both_values(
    documents: Documents, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, results = documents(0, 3, 2, 20, 40)
    right = by_pycocotools(truth, results)
    for name, value in (("AP", 0.0), ("ARl", 2e-12), ("AP75", np.nan)):
        stats = right.stats.copy()
        stats[METRICS.index(name)] += value or 0.25
        monkeypatch.setattr(evaluators, "by_faster_coco_eval", lambda *_, stats=stats: replace(right, stats=stats))
        number, reference = stats[METRICS.index(name)], right.stats[METRICS.index(name)]
        for _ in range(2):  # it does not pass the second time either
            with pytest.raises(RunError) as error:
                score("fast", truth, results, "runs/a/detections.json")
            assert str(error.value) == (
                f"runs/a/detections.json: faster-coco-eval 1.8 and pycocotools 2.0 disagree, {name} = {number} and "
                f"{reference}; set evaluate.evaluator to pycocotools"
            )


def test_the_precision_array_counts_too() -> None:
    right = Scores(np.zeros(12), np.zeros((10, 101, 3, 4, 3)))
    assert disagreement(right, right) is None
    precision = right.precision.copy()
    precision[5, 20, 2, 1, 0] = 0.5
    assert disagreement(replace(right, precision=precision), right) == (
        "precision at IoU 0.75, recall 0.20, class 2 by category id, area small, 1 detections = 0.5 and 0.0"
    )
    assert "shape" in str(disagreement(replace(right, precision=precision[:9]), right))


def test_what_is_not_installed_is_said_with_the_command(
    make_dataset: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluators, "find_spec", lambda name: None)
    check_evaluator("pycocotools")
    with pytest.raises(SystemProblem, match=r"needs faster-coco-eval: pip install 'assignbench\[fast\]'"):
        check_evaluator("fast")
    write_detections(make_dataset(), [], tmp_path / "d.json")
    with pytest.raises(SystemProblem, match=r"pip install 'assignbench\[fast\]'"):
        evaluate(make_dataset(), tmp_path / "d.json", "fast")
