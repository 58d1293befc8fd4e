"""What a class costs, learned or called background, against formulas written out."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor

from assignbench.core.class_loss import fading
from assignbench.core.fast.class_outputs import ClassOutputs
from assignbench.core.parts import CLASS_LOSSES, ClassLoss, CrossEntropy, Focal, QualityFocal, Varifocal

LOGITS = torch.tensor([-30.0, -4.0, -1.3, 0.0, 0.4, 2.0, 7.0], dtype=torch.float64)
QUALITIES = (0.0, 0.25, 0.8, 1.0)
LN2 = math.log(2)


def cross_entropy(p: Tensor, q: float) -> Tensor:
    return -(q * p.log() + (1 - q) * (1 - p).log())


def focal(p: Tensor, q: float) -> Tensor:
    return (q - p).abs() ** 2 * cross_entropy(p, q)


def varifocal(p: Tensor, q: float) -> Tensor:
    return q * cross_entropy(p, q)


# name → (positive, c⁺, c⁻, γ), as the papers have them
PAPERS = {
    "focal": (focal, 0.25, 0.75, 2.0),
    "quality_focal": (focal, 1.0, 1.0, 2.0),
    "varifocal": (varifocal, 1.0, 0.75, 2.0),
    "cross_entropy": (cross_entropy, 1.0, 1.0, 0.0),
}


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("name", PAPERS)
def test_a_positive_as_it_is_written(name: str, quality: float) -> None:
    loss, (positive, weight, _, _) = CLASS_LOSSES[name], PAPERS[name]
    assert loss.positive_weight == weight
    have = loss.positive(LOGITS, torch.full_like(LOGITS, quality))
    torch.testing.assert_close(have, positive(LOGITS.sigmoid(), quality))


@pytest.mark.parametrize("name", PAPERS)
def test_background_as_it_is_written(name: str) -> None:
    loss, (_, _, weight, gamma) = CLASS_LOSSES[name], PAPERS[name]
    p = LOGITS.sigmoid()
    assert (loss.negative_weight, loss.gamma) == (weight, gamma)
    torch.testing.assert_close(loss.background(LOGITS), p**gamma * cross_entropy(p, 0.0), rtol=1e-6, atol=1e-12)


def test_every_loss_is_held_against_a_formula() -> None:
    assert CLASS_LOSSES.keys() == PAPERS.keys()
    assert [name for name, loss in CLASS_LOSSES.items() if loss.learns_overlap] == ["quality_focal", "varifocal"]


def test_the_focal_loss_is_torchvisions() -> None:
    logits = torch.randn(50) * 4
    for wanted, loss in ((1.0, Focal().positive(logits, torch.ones(50))), (0.0, Focal().background(logits))):
        expected = torchvision.ops.sigmoid_focal_loss(logits, torch.full((50,), wanted), alpha=wanted, gamma=2.0)
        torch.testing.assert_close(loss, expected)


def test_a_half_and_a_quarter_by_hand() -> None:
    half, quarter = torch.zeros(1), torch.tensor([0.25])
    # p = 1/2, q = 1/4: BCE is ln 2, |q − p| is 1/4
    costs = {name: loss.positive(half, quarter).item() for name, loss in CLASS_LOSSES.items()}
    wanted = {"focal": LN2 / 16, "quality_focal": LN2 / 16, "varifocal": LN2 / 4, "cross_entropy": LN2}
    assert costs == pytest.approx(wanted)
    # as background, p = 1/2: p² ln 2, and no focusing for cross-entropy
    costs = {name: loss.background(half).item() for name, loss in CLASS_LOSSES.items()}
    assert costs == pytest.approx(dict.fromkeys(wanted, LN2 / 4) | {"cross_entropy": LN2})


@pytest.mark.parametrize("loss", [Focal(focus=0.0), CrossEntropy(), QualityFocal(gamma=0.0)])
def test_without_focus_a_positive_is_cross_entropy(loss: ClassLoss) -> None:
    quality = torch.full_like(LOGITS, 0.3)
    expected = F.binary_cross_entropy_with_logits(LOGITS, quality, reduction="none")
    torch.testing.assert_close(loss.positive(LOGITS, quality), expected)


@pytest.mark.parametrize("focus", [0.5, 1.0, 1.5, 2.0])
def test_the_gradient_is_finite_where_the_score_is_right(focus: float) -> None:
    logits = torch.tensor([-3.0, 0.0, 0.2, 40.0], requires_grad=True)
    quality = logits.detach().sigmoid()  # |q − p| is 0, and the slope of its root infinite
    (gradient,) = torch.autograd.grad(fading(logits, quality, focus).sum(), logits)
    assert bool(gradient.isfinite().all())
    (gradient,) = torch.autograd.grad(Focal(focus=focus).positive(logits, quality).sum(), logits)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("loss", CLASS_LOSSES.values(), ids=CLASS_LOSSES)
def test_background_has_neither_cost_nor_gradient_at_minus_infinity(loss: ClassLoss) -> None:
    logits = torch.tensor([-math.inf, -200.0, 200.0], requires_grad=True)
    cost = loss.background(logits)
    cost.sum().backward()
    assert cost[0] == 0
    assert logits.grad is not None
    assert logits.grad[0] == 0
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [Focal(), Varifocal(gamma=1.0), CrossEntropy()])
@pytest.mark.parametrize("joined", [False, True])
def test_one_pass_over_all_background_is_the_naive_sum(loss: ClassLoss, joined: bool) -> None:
    outputs = LOGITS.repeat(2, 3, 1).contiguous().requires_grad_()  # [image, location, class]
    extra = torch.tensor([[0.5, -2, 3], [0, 1, -1]], dtype=torch.float64).requires_grad_() if joined else None
    entries, factor = torch.tensor([0, 5, 17, 40]), torch.tensor([0.0, 1.0, 0.5, 0.9], dtype=torch.float64)
    weight = torch.tensor([1.0, 0.5, 2.0, 0.0], dtype=torch.float64)
    have = ClassOutputs(outputs).background(loss.gamma, entries=entries, factor=factor, weight=weight, extra=extra)
    every = torch.ones(outputs.numel(), dtype=torch.float64)
    p = outputs.sigmoid() if extra is None else outputs.sigmoid() * extra.sigmoid()[..., None]
    q = p * every.index_put((entries,), factor).view_as(p)
    naive = -(every.index_put((entries,), weight).view_as(p) * q**loss.gamma * (1 - q).log())
    torch.testing.assert_close(have, naive.sum(), rtol=1e-9, atol=0)
    leaves = [outputs] if extra is None else [outputs, extra]
    for mine, true in zip(torch.autograd.grad(have, leaves), torch.autograd.grad(naive.sum(), leaves), strict=True):
        torch.testing.assert_close(mine, true, rtol=1e-8, atol=1e-12)


def test_a_discount_of_one_changes_nothing_and_of_zero_costs_nothing() -> None:
    logits, every = torch.randn(20), torch.arange(20)
    outputs = ClassOutputs(logits[None, :, None])
    whole = outputs.background(2.0, entries=every, factor=torch.ones(20))
    torch.testing.assert_close(whole, Focal().background(logits).sum())
    assert outputs.background(2.0, entries=every, factor=torch.zeros(20)) == 0
