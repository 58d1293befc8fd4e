from dataclasses import asdict, replace

import pytest
import torch

from assignbench.bench import eval as bench
from assignbench.bench.eval import bench_eval, random_dataset, random_detections, scoring_rows
from assignbench.bench.outputs import outputs_like
from assignbench.bench.problem import Case, random_objects
from assignbench.config import load_recipe
from assignbench.core import Head, iou_matrix
from assignbench.core.parts import Centerness, anchor_head, predictions_of
from assignbench.core.priors import pyramid_priors
from assignbench.detector.postprocess import PostprocessRule, detect
from assignbench.run.scoring.evaluate import evaluate, write_detections

CPU = torch.device("cpu")
CASE = Case(objects=3, height=256, width=320, batch=2, classes=5, sizes="crowd")


@pytest.mark.parametrize("head", [Head(extras=(Centerness(),)), anchor_head()])
def test_a_trained_network_finds_the_objects_and_little_else(head):
    priors = pyramid_priors(head, CASE.height, CASE.width)
    predictions = predictions_of(outputs_like("trained", head, CASE, CPU), head, priors)
    sizes = torch.tensor([[CASE.height, CASE.width]] * CASE.batch)
    found = detect(predictions, priors, sizes, head.extras, PostprocessRule())
    targets = random_objects(CASE)
    for image, each in enumerate(found):
        overlap = iou_matrix(targets.of_image(image).boxes, each.boxes)
        assert (overlap.amax(1) > 0.6).all()
        assert len(each.scores) < 100


def test_an_untrained_network_finds_boxes_everywhere():
    head = Head()
    priors = pyramid_priors(head, CASE.height, CASE.width)
    predictions = predictions_of(outputs_like("untrained", head, CASE, CPU), head, priors)
    sizes = torch.tensor([[CASE.height, CASE.width]] * CASE.batch)
    found = detect(predictions, priors, sizes, (), PostprocessRule())
    assert [len(each.scores) for each in found] == [100, 100]


def test_rows(one, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    rows = bench_eval([one("atss")], load_recipe("1x"), [CASE], device=CPU, repeat=1, scored=2, progress=str)
    assert [(row.part, row.strategy, row.outputs, row.images) for row in rows] == [
        ("post-processing", "atss", "trained", 2),
        ("post-processing", "atss", "untrained", 2),
        ("scoring", "pycocotools", "trained", 2),
    ]
    assert rows[1].detections == 100
    assert list(asdict(rows[0])) == [
        *("part", "strategy", "outputs", "objects", "image", "images", "detections", "ms", "floor_ms", "ratio")
    ]
    assert all(row.ratio == pytest.approx(row.ms / row.floor_ms, rel=0.05) for row in rows)


def test_random_detections_can_be_scored(tmp_path):
    dataset = random_dataset(CASE, 4)
    file = tmp_path / "detections.json"
    assert write_detections(dataset, random_detections(dataset, CASE), file) == 400
    assert 0 < (evaluate(dataset, file).metrics["AP50"] or 0) < 1


def test_more_objects_than_detections():
    assert {row.detections for row in scoring_rows(replace(CASE, objects=150), 1, 1)} == {100}


def test_the_fast_evaluator_is_measured_where_it_is_installed():
    pytest.importorskip("faster_coco_eval")
    rows = scoring_rows(CASE, 2, 1)
    assert [row.strategy for row in rows] == ["pycocotools", "faster-coco-eval"]
    assert rows[0].floor_ms == rows[1].floor_ms
