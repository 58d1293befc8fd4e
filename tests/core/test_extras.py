"""Joined logits and the targets of extras."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from assignbench.core import (
    EXTRAS,
    Assignment,
    AuxiliaryObjectness,
    Centerness,
    Discounts,
    ExplicitObjectness,
    Extra,
    Head,
    ImplicitObjectness,
    Normalisers,
    Objectness,
    Pairs,
    PredictedIoU,
    Predictions,
    Priors,
    Targets,
    join_logits,
)


def test_joined_logit_is_the_product_of_probabilities() -> None:
    logits, extra = torch.randn(3, 5, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    product = logits.sigmoid() * extra.sigmoid()[..., None]
    torch.testing.assert_close(join_logits(logits, extra).sigmoid(), product)


def test_joined_logit_is_exact_where_products_underflow() -> None:
    joined = join_logits(torch.tensor([[-80.0], [80.0], [80.0]]), torch.tensor([-80.0, 80.0, -80.0]))
    # p ≈ e^−160; 1 − p ≈ 2 e^−80; p ≈ e^−80
    expected = torch.tensor([[-160.0], [80 - torch.tensor(2.0).log().item()], [-80.0]])
    torch.testing.assert_close(joined, expected)


def test_gradient_is_finite_at_the_extremes() -> None:
    logits = torch.tensor([[-200.0], [200.0]], requires_grad=True)
    extra = torch.tensor([200.0, -200.0], requires_grad=True)
    join_logits(logits, extra).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


LN2 = math.log(2)


def batch(name: str) -> tuple[Predictions, Priors, Targets]:
    """Two images of four locations in a row, 8 pixels apart; a box over locations 0 and 1 of the first image."""
    left = torch.arange(4) * 8.0
    boxes = torch.stack((left, torch.zeros(4), left + 8, torch.full((4,), 8.0)), dim=1)
    priors = Priors(boxes, torch.full((4,), 8.0), torch.zeros(4, dtype=torch.int64))
    predictions = Predictions(
        torch.zeros(2, 4, 2), boxes.expand(2, 4, 4), torch.zeros(2, 4, 4), {name: torch.zeros(2, 4).requires_grad_()}
    )
    zero = torch.zeros(1, dtype=torch.int64)
    return predictions, priors, Targets(torch.tensor([[0.0, 0, 16, 8]]), zero, zero, 2)


def record(location: int, weight: float = 1.0, **changes: Any) -> Assignment:
    """One pair."""
    one, zero, none = torch.ones(1), torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    return Assignment(
        Pairs(zero, zero + location, one * weight, one, one),
        Discounts(none, none, none, one[:0]),
        Normalisers(one[0], one[0], one[0]),
        **changes,
    )


def pulls(extra: Extra, assignment: Assignment) -> list[float]:
    """Where the loss pulls each location's logit at probability 1/2: up is +1/2, down −1/2, 0 is untaught."""
    predictions, priors, targets = batch(extra.name)
    cost = extra.loss(assignment, predictions, priors, targets)
    assert cost is not None
    (gradient,) = torch.autograd.grad(cost.total, predictions.extras[extra.name])
    return [round(value, 6) for value in (-gradient).flatten().tolist()]


HALF = [0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5]


def test_objectness_is_one_at_pairs() -> None:
    assert pulls(Objectness(), record(0)) == HALF


def test_objectness_is_taught_nothing_where_no_background_is() -> None:
    background = torch.tensor([[0.0, 1, 0, 1], [1, 1, 0.5, 1]])
    expected = [0.5, -0.5, 0, -0.5, -0.5, -0.5, -0.25, -0.5]  # the pair itself is taught all the same
    assert pulls(Objectness(), record(0, background=background)) == expected


def test_of_a_bag_objectness_learns_the_weight() -> None:
    assert pulls(Objectness(), record(0, weight=0.25, bagged=True)) == [-0.25, *HALF[1:]]


@pytest.mark.parametrize("extra", [Centerness(), PredictedIoU(weight=1.0)])
def test_in_a_bag_a_pair_counts_as_its_weight(extra: Extra) -> None:
    """Location 0 lies half a box off the centre (centerness √(1/3)) and covers half of it."""
    alone, weighted = pulls(extra, record(0)), pulls(extra, record(0, weight=0.25, bagged=True))
    wanted = (1 / 3) ** 0.5 if extra.name == "centerness" else 0.5
    assert alone[0] == pytest.approx(wanted - 0.5, abs=1e-5)
    assert weighted[0] == pytest.approx(0.25 * alone[0], abs=1e-5)
    assert alone[1:] == weighted[1:] == [0] * 7
    assert pulls(extra, record(0, weight=0.25)) == alone  # the weight of a hard pair is of its class part


@pytest.mark.parametrize("extra", [ExplicitObjectness(), AuxiliaryObjectness()])
def test_explicit_objectness_is_one_in_boxes_whatever_the_pairs(extra: Extra) -> None:
    assert pulls(extra, record(3)) == [0.5, 0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5]
    background = torch.tensor([[0.0, 1, 0, 1], [1, 1, 0.5, 1]])
    assert pulls(extra, record(3, background=background)) == [0.5, 0.5, 0, -0.5, -0.5, -0.5, -0.25, -0.5]


@pytest.mark.parametrize("name", ["explicit_objectness", "auxiliary_objectness"])
def test_explicit_objectness_is_divided_by_the_locations_in_boxes(name: str) -> None:
    extra = EXTRAS[name]
    predictions, priors, targets = batch(name)
    cost = extra.loss(record(3), predictions, priors, targets)
    assert cost is not None
    assert cost.share is not None
    assert cost.total.item() == pytest.approx(8 * LN2)
    assert [share.item() for share in cost.share] == pytest.approx([2, 0.08])  # a hundredth of 8 locations
    nobody = Targets(targets.boxes[:0], targets.labels[:0], targets.image[:0], 2)
    one = torch.ones(1)
    none = torch.zeros(0, dtype=torch.int64)
    nothing = replace(record(3), pairs=Pairs(none, none, one[:0], one[:0], one[:0]))
    cost = extra.loss(nothing, predictions, priors, nobody)
    assert cost is not None
    assert cost.share is not None
    assert cost.total.item() == pytest.approx(8 * LN2)
    assert [share.item() for share in cost.share] == pytest.approx([0, 0.08])


def test_every_extra_stands_under_its_name() -> None:
    assert [extra.name for extra in EXTRAS.values()] == list(EXTRAS)
    assert [name for name, extra in EXTRAS.items() if extra.joins_class] == ["implicit_objectness"]


def test_a_head_gains_outputs_once() -> None:
    head = Head(extras=(Centerness(),)).plus([PredictedIoU(), ImplicitObjectness()])
    assert [extra.name for extra in head.extras] == ["centerness", "iou", "implicit_objectness"]
    with pytest.raises(ValueError, match=r"it has the extra output iou already; leave out \+iou"):
        head.plus([PredictedIoU(weight=2.0)])
