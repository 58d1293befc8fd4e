"""Each formula's gradient on its own against numerical differentiation, in float64, away from kinks and at extremes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from assignbench.core import (
    Assignment,
    Discounts,
    Extra,
    Head,
    Normalisers,
    Pairs,
    PairView,
    PairViews,
    Predictions,
    Priors,
    Targets,
    centers,
)
from assignbench.core.fast.class_outputs import ClassOutputs, join_logits
from assignbench.core.parts import (
    BOX_LOSSES,
    CLASS_LOSSES,
    AuxiliaryObjectness,
    BoxLoss,
    Centerness,
    ClassLoss,
    Coding,
    Deltas,
    DIoU,
    Distances,
    Distribution,
    ExplicitObjectness,
    Focal,
    GIoU,
    Objectness,
    PredictedIoU,
    SmoothL1,
)
from assignbench.core.priors import pyramid_priors
from assignbench.core.types import Grid

# from surely background to surely the class, more than 1e-3 from any target below
LOGITS = [-30.0, -8.0, -2.5, -0.7, 0.0, 0.4, 1.9, 7.0, 12.0]


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def leaf(*values: float) -> Tensor:
    return numbers(*values).requires_grad_()


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def holds(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """The gradient of every output in every input."""
    gradcheck(function, inputs, eps=1e-6, atol=1e-8, rtol=1e-6)


def test_the_check_fails_for_a_wrong_gradient() -> None:
    with pytest.raises(GradcheckError):
        holds(lambda x: x.sigmoid() * x.detach(), leaf(*LOGITS))


def test_join_logits() -> None:
    logits = torch.cartesian_prod(numbers(-30, -6, 0.3, 5, 30), numbers(-2, 1)).requires_grad_()
    # not at ±20, where torch's softplus goes over to a straight line and jumps by 2e-9
    holds(join_logits, logits, leaf(-30, -19, -5, -1, 0, 0.5, 2, 6, 19, 30))


@pytest.mark.parametrize("loss", [*(Focal(focus=focus) for focus in (0.0, 0.5, 1.0, 2.0)), *CLASS_LOSSES.values()])
@pytest.mark.parametrize("quality", [0.0, 0.3, 0.75, 1.0])
def test_positive(loss: ClassLoss, quality: float) -> None:
    holds(lambda x: loss.positive(x, torch.full_like(x, quality)), leaf(*LOGITS))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_background(gamma: float) -> None:
    holds(Focal(gamma=gamma).background, leaf(*LOGITS))


@pytest.mark.parametrize("factor", [0.0, 1e-3, 0.5, 1.0])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_discounted_background(gamma: float, factor: float) -> None:
    every = torch.arange(len(LOGITS))
    holds(lambda x: discounted(x, torch.full_like(x, factor), gamma, every), leaf(*LOGITS))


def test_a_factor_of_one_changes_no_gradient() -> None:
    logits = leaf(*LOGITS)
    plain = torch.autograd.grad(Focal().background(logits).sum(), logits)
    every = torch.arange(len(LOGITS))
    whole = torch.autograd.grad(discounted(logits, torch.ones_like(logits), 2.0, every), logits)
    torch.testing.assert_close(whole, plain, rtol=1e-9, atol=1e-12)


def discounted(logits: Tensor, factor: Tensor, gamma: float, entries: Tensor) -> Tensor:
    """The background term of a column of logits, all of them with a factor."""
    return ClassOutputs(logits[None, :, None]).background(gamma, entries=entries, factor=factor)


# partly overlapping, one inside the other, beside each other, diagonal, narrow
TRUE = rows([10, 10, 40, 30], [10, 10, 40, 30], [10, 10, 40, 30], [10, 10, 40, 30], [10, 10, 40, 30])
PREDICTED = rows([13, 7, 48, 25], [15, 12, 35, 27], [50, 12, 70, 28], [60, 50, 90, 70], [19, 12, 20.5, 28])
PRIOR = rows([8, 8, 40, 40], [16, 0, 48, 32], [40, 8, 72, 40], [56, 40, 88, 72], [4, 4, 36, 36])


def pairs_of(predicted: Tensor, raw: Tensor, stride: Tensor, coding: Coding) -> PairView:
    """Prediction, object and prior number i are a pair."""
    every, image = torch.arange(5), torch.zeros(5, dtype=torch.int64)
    predictions = Predictions(torch.zeros(1, 5, 1, dtype=torch.float64), predicted[None], raw[None])
    grid = Grid(image[:1], image[:1] + 1, image[:1] + 5, rows([0, 0]), rows([8, 8]), anchors=1)
    priors = Priors(PRIOR, centers(PRIOR), stride, image, grid)
    return PairViews(predictions, priors, Targets(TRUE, image, image, 1), coding)(every, every)


def cost_of_raw(box: BoxLoss, coding: Coding) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The cost of the five pairs as a function of raw head outputs, and outputs that mean `PREDICTED`."""
    stride = numbers(8, 8, 8, 8, 8)

    def cost(raw: Tensor) -> Tensor:
        return box(pairs_of(coding.decode(raw, PRIOR, stride), raw, stride, coding))

    if isinstance(coding, Distribution):
        raw = torch.randn(5, coding.outputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        return cost, raw.requires_grad_()
    return cost, coding.encode(PREDICTED, PRIOR, stride).requires_grad_()


@pytest.mark.parametrize("coding", [Distances(), Deltas(), Deltas((1.0, 1.0, 1.0, 1.0))])
@pytest.mark.parametrize("box", [GIoU(), GIoU(weight=8.0), DIoU(), SmoothL1(), SmoothL1(weight=0.75, beta=0.11)])
def test_box_losses(box: BoxLoss, coding: Coding) -> None:
    cost, raw = cost_of_raw(box, coding)
    (gradient,) = torch.autograd.grad(cost(raw).sum(), raw)
    assert bool((gradient.abs().amax(-1) > 0).all())  # each of the five pairs is pulled, without overlap too
    holds(cost, raw)


def test_box_losses_of_distributions() -> None:
    for box in (GIoU(), BOX_LOSSES["giou_distribution"]):
        holds(*cost_of_raw(box, Distribution(5)))


def test_smooth_l1_within_beta() -> None:
    coding = Deltas()
    cost, _ = cost_of_raw(SmoothL1(weight=0.75, beta=0.11), coding)
    near = coding.encode(TRUE, PRIOR, numbers(8, 8, 8, 8, 8)) + numbers(0.02, -0.05, 0.07, -0.1)
    holds(cost, near.requires_grad_())


EXTRA_TARGETS = Targets(rows([10, 10, 40, 30], [30, 5, 60, 50]), torch.tensor([0, 1]), torch.tensor([0, 1]), 2)


def extra_cost(extra: Extra, bag: str | None) -> Callable[[Tensor, Tensor], Tensor]:
    """An extra's loss as a function of its logits and of the predicted boxes, for three pairs in two images."""
    one, none = torch.ones(3, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    weight = numbers(0.3, 0.7, 1.0) if bag else one
    pairs = Pairs(torch.tensor([0, 0, 1]), torch.tensor([0, 4, 2]), weight=weight, box_weight=one, quality=one)
    discounts, normalisers = Discounts(none, none, none, one[:0]), Normalisers(one[0], one[0], one[0])
    priors = pyramid_priors(Head(), 32, 32).cast(torch.float64)
    count = len(priors)

    def cost(logits: Tensor, boxes: Tensor) -> Tensor:
        nothing = torch.zeros(2, count, 3, dtype=torch.float64)
        predictions = Predictions(nothing, boxes, torch.zeros_like(boxes), {extra.name: logits})
        assignment = Assignment(pairs, discounts, normalisers, bag=bag)
        cost = extra.loss(assignment, PairViews(predictions, priors, EXTRA_TARGETS, Deltas()))
        assert cost is not None
        return cost.total

    return cost


@pytest.mark.parametrize("bag", [None, "any", "all"])
@pytest.mark.parametrize(
    "extra",
    [
        Centerness(),
        Objectness(),
        PredictedIoU(),
        PredictedIoU(weight=1.3),
        ExplicitObjectness(),
        AuxiliaryObjectness(),
    ],
)
def test_extras(extra: Extra, bag: str | None) -> None:
    cost, boxes = extra_cost(extra, bag), PREDICTED.repeat(2, 5, 1)[:, :23]
    logits = rows([-3, 0.2, 9, -20, 1], [2, -0.5, 0.3, 15, -7]).repeat(1, 5)[:, :23].requires_grad_()
    holds(lambda x: cost(x, boxes), logits)  # the boxes are held: the overlap to learn carries no gradient
    (gradient,) = torch.autograd.grad(cost(logits, boxes.requires_grad_()), boxes, allow_unused=True)
    assert gradient is None
