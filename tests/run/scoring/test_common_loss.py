"""The loss that is the same for all: worked by hand, and blind to everything but final scores and boxes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from assignbench.core import Predictions, Priors, Regions, Targets
from assignbench.core.extras import Centerness, Extra, ImplicitObjectness
from assignbench.core.head import Head
from assignbench.core.priors import pyramid_priors
from assignbench.detector.postprocess import PostprocessRule
from assignbench.run.scoring.common_loss import CommonCharges, common_charges

SIZE = torch.tensor([[32, 32]])
RULE = PostprocessRule(score="product", score_threshold=0.05)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def positive(s: float) -> float:
    return 0.25 * (1 - s) ** 2 * -math.log(s)


def negative(s: float) -> float:
    return 0.75 * s**2 * -math.log(1 - s)


def charged(
    scores: dict[int, list[float]],
    boxes: dict[int, list[float]],
    targets: Targets,
    extras: dict[str, dict[int, float]] | None = None,
    used: tuple[Extra, ...] = (),
    canvas: int = 32,
    rule: PostprocessRule = RULE,
) -> CommonCharges:
    """Of one picture of 32 × 32: 4 × 4 locations of P3 are spoken of by number, all others say nothing, in a corner."""
    priors: Priors = pyramid_priors(Head(), canvas, canvas, torch.device("cpu"))
    side = canvas // 8
    place = {number: number // 4 * side + number % 4 for number in range(16)}
    outputs = torch.full((1, len(priors), 2), -30.0)
    found = torch.tensor([0.0, 0, 1, 1]).repeat(1, len(priors), 1)
    more = {name: torch.zeros(1, len(priors)) for name in extras or {}}
    for number, row in scores.items():
        outputs[0, place[number]] = torch.tensor([logit(p) for p in row])
    for number, box in boxes.items():
        found[0, place[number]] = torch.tensor(box)
    for name, values in (extras or {}).items():
        for number, p in values.items():
            more[name][0, place[number]] = logit(p)
    joined = next((extra.name for extra in used if extra.joins_class), None)
    said = Predictions(outputs, found, found, more, joined=joined)
    return common_charges(said, priors, SIZE, targets, used, rule)


def targets(*boxes: list[float], labels: tuple[int, ...] = (0,), crowd: Tensor | None = None) -> Targets:
    none = torch.zeros(0, 4)
    ignore = none if crowd is None else crowd
    return Targets(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        labels=torch.tensor(labels[: len(boxes)], dtype=torch.int64),
        image=torch.zeros(len(boxes), dtype=torch.int64),
        images=1,
        ignore=Regions(ignore, torch.zeros(len(ignore), dtype=torch.int64)),
    )


def test_worked_by_hand() -> None:
    """One object; a good answer, a near copy that is no mistake, and one far away that is."""
    boxes = {5: [8.0, 8, 24, 24], 6: [8.0, 8, 24, 20], 15: [24.0, 0, 32, 8]}
    scores = {5: [0.8, 0.001], 6: [0.6, 0.2], 15: [0.4, 0.04]}
    found = charged(scores, boxes, targets([8.0, 8, 24, 24]))
    assert found.class_ == pytest.approx(positive(0.8), rel=1e-4)
    assert found.box == pytest.approx(0.0, abs=1e-5)
    # location 6 overlaps by 3/4: right for class 0, wrong for class 1; 0.04 passes no threshold
    assert found.background == pytest.approx(negative(0.2) + negative(0.4), rel=1e-4)
    assert found.objects == 1
    assert found.losses() == {"class": found.class_, "box": found.box, "background": found.background}


def test_the_best_location_is_where_class_and_box_cost_least_together() -> None:
    """A box that is off by a quarter, GIoU 3/4, costs 5/4 more; a score of 0.001 in place of 0.9 costs 1.72 more."""
    boxes = {5: [8.0, 8, 24, 24], 6: [8.0, 8, 24, 20]}
    found = charged({5: [0.001, 0.001], 6: [0.9, 0.001]}, boxes, targets([8.0, 8, 24, 24]))
    assert (found.class_, found.box) == pytest.approx((positive(0.9), 5 * 0.25), rel=1e-4)
    found = charged({5: [0.1, 0.001], 6: [0.9, 0.001]}, boxes, targets([8.0, 8, 24, 24]))
    assert (found.class_, found.box) == pytest.approx((positive(0.1), 0.0), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("score", ["product", "root"])
def test_the_final_score_is_judged_whatever_its_factors(score: str) -> None:
    """0.8 · 0.5, by an extra that scales or one that joins, is 0.4 as if the class alone had said so."""
    boxes, objects = {5: [8.0, 8, 24, 24], 15: [24.0, 0, 32, 8]}, targets([8.0, 8, 24, 24])
    rule = PostprocessRule(score=score, score_threshold=0.05, threshold_on="score")  # type: ignore[arg-type]
    alone = charged({5: [0.4, 0.01], 15: [0.2, 0.01]}, boxes, objects, rule=RULE)
    for extra in (Centerness(), ImplicitObjectness()):
        values = {extra.name: {5: 0.5, 15: 0.5}}
        found = charged({5: [0.8, 0.02], 15: [0.4, 0.02]}, boxes, objects, values, (extra,), rule=rule)
        if extra.scales_score and score == "root":
            assert found.class_ == pytest.approx(positive(math.sqrt(0.4)), rel=1e-4)
        else:
            assert found.class_ == pytest.approx(alone.class_, rel=1e-4)
            assert found.background == pytest.approx(alone.background, rel=1e-4)


def test_padding_changes_nothing() -> None:
    """What locations beyond the picture say is no answer and no mistake."""
    boxes, objects = {5: [8.0, 8, 24, 24], 15: [24.0, 0, 32, 8]}, targets([8.0, 8, 24, 24])
    scores = {5: [0.4, 0.01], 15: [0.2, 0.01]}
    alone, padded = (charged(scores, boxes, objects, canvas=canvas) for canvas in (32, 128))
    assert alone == padded
    priors = pyramid_priors(Head(), 128, 128, torch.device("cpu"))
    outputs = torch.full((1, len(priors), 1), 5.0)
    said = Predictions(
        outputs, torch.tensor([8.0, 8, 24, 24]).repeat(1, len(priors), 1), torch.zeros(1, len(priors), 4)
    )
    outside = (priors.points >= 32).any(-1)
    said.outputs[0, ~outside] = -30.0
    found = common_charges(said, priors, SIZE, targets(), (), RULE)
    assert found == CommonCharges(0.0, 0.0, 0.0, 0)
    assert found.losses() == {"class": 0.0, "box": 0.0, "background": 0.0}


def test_crowds_and_boxes_without_area_are_no_mistakes() -> None:
    boxes = {5: [8.0, 8, 24, 24], 6: [-9.0, 8, -1, 24], 7: [0.0, 0, 32, 8]}
    scores = {5: [0.5, 0.001], 6: [0.5, 0.001], 7: [0.5, 0.001]}
    found = charged(scores, boxes, targets(crowd=torch.tensor([[0.0, 8, 20, 32]])))
    # 12/16 of the first box lies in the crowd; the second is left of the picture; nothing of the third lies in it
    assert found.background == pytest.approx(negative(0.5), rel=1e-4)


def test_an_object_that_nothing_answers_costs_a_finite_number() -> None:
    found = charged({}, {}, targets([8.0, 8, 24, 24], [0.0, 0, 4, 4], labels=(0, 1)))
    assert found.class_ == pytest.approx(2 * positive(1e-6), rel=1e-3)
    assert 0 < found.box <= 2 * 10


def test_a_picture_without_a_location_costs_a_finite_number() -> None:
    """P7 has one location in 32 × 32, 64 pixels to the right and below: in the padding."""
    priors = pyramid_priors(Head(levels=(4,)), 32, 32, torch.device("cpu"))
    assert len(priors) == 1
    said = Predictions(torch.zeros(1, 1, 2), torch.tensor([[[8.0, 8, 24, 24]]]), torch.zeros(1, 1, 4))
    found = common_charges(said, priors, SIZE, targets([8.0, 8, 24, 24]), (), RULE)
    assert found.class_ == pytest.approx(positive(1e-6), rel=1e-3)
    assert 5 < found.box <= 10
    assert found.background == 0
