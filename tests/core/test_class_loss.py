"""The cost of pairs and of background."""

import math

import pytest
import torch
import torchvision.ops

from assignbench.core import Deltas, GIoU, PairBoxes, PairLoss, Predictions, Priors, SmoothL1, Targets
from assignbench.core.ledger import Ledger


def test_class_part_at_full_quality_is_the_focal_loss() -> None:
    logits = torch.randn(50)
    expected = torchvision.ops.sigmoid_focal_loss(logits, torch.ones(50), alpha=1.0, gamma=2.0)
    torch.testing.assert_close(PairLoss().class_part(logits, torch.ones(50)), expected)


def test_background_part_is_the_focal_loss_of_a_negative() -> None:
    logits = torch.randn(50) * 4
    expected = torchvision.ops.sigmoid_focal_loss(logits, torch.zeros(50), alpha=0.0, gamma=2.0)
    torch.testing.assert_close(PairLoss().background_part(logits), expected)


def test_quality_below_one_is_the_quality_focal_loss() -> None:
    # p = 1/2, q = 1/4: (1/4)² · (−q ln p − (1 − q) ln(1 − p)) = ln 2 / 16
    cost = PairLoss().class_part(torch.zeros(1), torch.tensor([0.25]))
    assert cost.item() == pytest.approx(math.log(2) / 16)


def test_a_discount_of_one_changes_nothing_and_of_zero_costs_nothing() -> None:
    logits, every = torch.randn(20), torch.arange(20)
    ledger = Ledger(logits[None, :, None])
    whole = ledger.background(2.0, entries=every, factor=torch.ones(20))
    torch.testing.assert_close(whole, PairLoss().background_part(logits).sum())
    assert ledger.background(2.0, entries=every, factor=torch.zeros(20)) == 0


def test_background_has_neither_cost_nor_gradient_at_minus_infinity() -> None:
    logits = torch.tensor([-math.inf, -200.0, 200.0], requires_grad=True)
    cost = PairLoss().background_part(logits)
    cost.sum().backward()
    assert cost[0] == 0
    assert logits.grad is not None
    assert logits.grad[0] == 0
    assert logits.grad.isfinite().all()


def boxes_for_hand() -> PairBoxes:
    zero, box = torch.zeros(1, dtype=torch.int64), torch.tensor([[0.0, 0, 4, 4]])
    predictions = Predictions(torch.zeros(1, 1, 1), box[None], torch.tensor([[[0.5, 0, 0, 0]]]))
    priors = Priors(box, torch.tensor([8.0]), zero)
    targets = Targets(torch.tensor([[2.0, 2, 6, 6]]), zero, zero, 1)
    return PairBoxes(predictions, priors, targets, zero, zero, Deltas((1, 1, 1, 1)))


def test_box_losses_by_hand() -> None:
    assert GIoU(weight=3)(boxes_for_hand()).item() == pytest.approx(3 * (1 - (4 / 28 - 8 / 36)))
    # deltas to be learned: (0.5, 0.5, 0, 0); said: (0.5, 0, 0, 0)
    assert SmoothL1(weight=2)(boxes_for_hand()).item() == pytest.approx(1.0)
    assert SmoothL1(weight=1, beta=1.0)(boxes_for_hand()).item() == pytest.approx(0.125)


@pytest.mark.parametrize("box", [GIoU(), SmoothL1(weight=0.75, beta=0.11)])
def test_another_box_weight_changes_the_box_part_alone(box) -> None:
    loss = PairLoss(alpha=0.5, box=box)
    changed = loss.weighing_boxes(3 * box.weight)
    assert changed == PairLoss(alpha=0.5, box=type(box)(**{**vars(box), "weight": 3 * box.weight}))
    assert changed.box(boxes_for_hand()).item() == pytest.approx(3 * loss.box(boxes_for_hand()).item())
