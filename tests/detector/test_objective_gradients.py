"""The objective's own formulas against numerical differentiation, in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from assignbench.core import (
    Assignment,
    Discounts,
    GIoU,
    Normalisers,
    PairLoss,
    Pairs,
    Predictions,
    giou,
)
from assignbench.detector.objective import background_loss, bag_loss

LOSS = PairLoss(box=GIoU(weight=5.0))
TRUE = torch.tensor([[10, 10, 40, 30]] * 3 + [[5, 20, 25, 60]] * 2, dtype=torch.float64)
BOXES = torch.tensor(
    [[12, 9, 37, 31], [15, 12, 35, 27], [60, 50, 90, 70], [4, 22, 27, 55], [6, 11, 22, 58]], dtype=torch.float64
)
LOGITS = torch.tensor([1.5, -0.4, 0.3, -2.0, 4.0], dtype=torch.float64)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def record(weight: Tensor, background: Tensor | None = None) -> Assignment:
    """Two objects, of three and two pairs, in one image of six locations and three classes."""
    one = torch.ones(5, dtype=torch.float64)
    return Assignment(
        pairs=Pairs(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 2, 3, 1, 2]), weight, weight, one),
        discounts=Discounts(
            torch.zeros(4, dtype=torch.int64),
            torch.tensor([0, 2, 2, 5]),
            torch.tensor([1, 1, 0, 2]),
            factor=numbers(0.0, 0.3, 0.8, 1.0),
            weight=numbers(1.0, 0.5, 2.0, 0.0),
        ),
        normalisers=Normalisers(*(numbers(2.0)[0] for _ in range(3))),
        background=background,
        bagged=True,
    )


def bag(logits: Tensor, boxes: Tensor, weight: Tensor) -> Tensor:
    cost = LOSS.likelihood_part(logits) + LOSS.box.weight * (1 - giou(boxes, TRUE))
    return bag_loss(record(weight).pairs, (-cost).exp(), 3)  # the third object has no pair: a constant


def test_bag_loss() -> None:
    weight = numbers(0.5, 0.3, 0.2, 0.6, 0.4)
    inputs = tuple(tensor.clone().requires_grad_() for tensor in (LOGITS, BOXES, weight))
    gradcheck(bag, inputs, eps=1e-6, atol=1e-8, rtol=1e-7)
    assert bag(*inputs).item() > 100  # the object without a pair


def test_bag_loss_with_a_weight_that_is_not_constant() -> None:
    def mean_max(logits: Tensor, boxes: Tensor) -> Tensor:
        raw = 1 / (1 - logits.sigmoid())
        first = torch.tensor([True, True, True, False, False])
        return bag(logits, boxes, raw / torch.where(first, raw[first].sum(), raw[~first].sum()))

    inputs = (LOGITS.clone().requires_grad_(), BOXES.clone().requires_grad_())
    gradcheck(mean_max, inputs, eps=1e-6, atol=1e-8, rtol=1e-7)
    with pytest.raises(GradcheckError):  # and the check sees it when that weight is detached
        gradcheck(lambda logits, boxes: mean_max(logits.detach() + 0 * logits, boxes), inputs)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize("background", [None, [[1.0, 0.0, 0.4, 1.0, 1.0, 0.7]]])
def test_background_loss(gamma: float, background: list[list[float]] | None) -> None:
    taught = None if background is None else torch.tensor(background, dtype=torch.float64)
    assignment = record(torch.ones(5, dtype=torch.float64), taught)
    boxes = torch.zeros(1, 6, 4, dtype=torch.float64)
    logits = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3

    def loss(values: Tensor) -> Tensor:
        return background_loss(assignment, Predictions(values, boxes, boxes), replace(LOSS, gamma=gamma))

    gradcheck(loss, (logits.requires_grad_(),), eps=1e-6, atol=1e-8, rtol=1e-7)
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    assert bool(gradient.isfinite().all())
    assert gradient[0, 0, 1] == 0  # factor 0
    assert gradient[0, 5, 2] == 0  # weight 0
