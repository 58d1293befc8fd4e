"""The objective's own formulas against numerical differentiation, in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from assignbench.core import Assignment, Discounts, Head, Normalisers, Pairs, PairViews, Predictions, Targets
from assignbench.core.parts import CLASS_LOSSES, ClassLoss, Deltas, Focal, GIoU, PairLoss
from assignbench.core.priors import pyramid_priors
from assignbench.detector.objective import background_loss, positive_terms

LOSS = PairLoss(box=GIoU(weight=5.0))
PRIORS = pyramid_priors(Head(), 32, 32).cast(torch.float64)  # 23 locations
TRUE = torch.tensor([[10, 10, 40, 30]] * 3 + [[5, 20, 25, 60]] * 2, dtype=torch.float64)
BOXES = torch.tensor(
    [[12, 9, 37, 31], [15, 12, 35, 27], [60, 50, 90, 70], [4, 22, 27, 55], [6, 11, 22, 58]], dtype=torch.float64
)
LOGITS = torch.tensor([1.5, -0.4, 0.3, -2.0, 4.0], dtype=torch.float64)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def record(weight: Tensor, background: Tensor | None = None) -> Assignment:
    """Two objects, of three and two pairs, in one image of 23 locations and three classes."""
    one = torch.ones(5, dtype=torch.float64)
    return Assignment(
        pairs=Pairs(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 2, 3, 1, 4]), weight, weight, one),
        discounts=Discounts(
            torch.zeros(4, dtype=torch.int64),
            torch.tensor([0, 2, 2, 5]),
            torch.tensor([1, 1, 0, 2]),
            factor=numbers(0.0, 0.3, 0.8, 1.0),
            weight=numbers(1.0, 0.5, 2.0, 0.0),
        ),
        normalisers=Normalisers(*(numbers(2.0)[0] for _ in range(3))),
        background=background,
        bag="any",
    )


OBJECTS = Targets(
    torch.stack((TRUE[0], TRUE[3], TRUE[0])), torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.int64), 1
)


def views(logits: Tensor, boxes: Tensor, loss: PairLoss) -> PairViews:
    """The five pairs of `record`, whose logits and boxes are these; three objects, the last without any pair."""
    place, label = torch.tensor([0, 2, 3, 1, 4]), torch.tensor([0, 0, 0, 1, 1])
    outputs = torch.zeros(23, 3, dtype=torch.float64).index_put((place, label), logits)[None]
    predicted = torch.zeros(23, 4, dtype=torch.float64).index_put((place,), boxes)[None]
    return PairViews(Predictions(outputs, predicted, predicted), PRIORS, OBJECTS, Deltas(), loss)


def bag(logits: Tensor, boxes: Tensor, weight: Tensor, loss: PairLoss = LOSS, kind: str = "any") -> Tensor:
    assignment = replace(record(weight), bag=kind)
    view = views(logits, boxes, loss)
    terms = positive_terms(assignment, view(assignment.pairs.object, assignment.pairs.location))
    return terms["bag"] / loss.weight


@pytest.mark.parametrize("floored", [False, True])
@pytest.mark.parametrize("kind", ["any", "all"])
def test_bag_loss(kind: str, floored: bool) -> None:
    weight = numbers(0.5, 0.3, 0.2, 0.6, 0.4)
    inputs = tuple(tensor.clone().requires_grad_() for tensor in (LOGITS, BOXES, weight))
    loss = replace(LOSS, floored=floored)
    gradcheck(lambda *each: bag(*each, loss, kind), inputs, eps=1e-6, atol=1e-8, rtol=1e-7)
    assert (bag(*inputs, loss, kind).item() > 100) == (kind == "any")  # the object without a pair


def test_a_bag_that_no_floor_reaches_costs_the_same() -> None:
    weight = numbers(0.5, 0.3, 0.2, 0.6, 0.4)
    floored = bag(LOGITS, BOXES, weight, replace(LOSS, floored=True))
    torch.testing.assert_close(bag(LOGITS, BOXES, weight), floored)


@pytest.mark.parametrize("classes", CLASS_LOSSES.values(), ids=CLASS_LOSSES)
def test_terms_of_hard_pairs(classes: ClassLoss) -> None:
    def terms(logits: Tensor, boxes: Tensor, weight: Tensor) -> Tensor:
        assignment = replace(record(weight), bag=None)
        view = views(logits, boxes, replace(LOSS, classes=classes))
        pair = view(assignment.pairs.object, assignment.pairs.location)
        return torch.stack(list(positive_terms(assignment, pair).values()))

    inputs = tuple(tensor.clone().requires_grad_() for tensor in (LOGITS, BOXES, numbers(0.5, 0.3, 0.2, 0.6, 0.4)))
    gradcheck(terms, inputs, eps=1e-6, atol=1e-8, rtol=1e-7)


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
@pytest.mark.parametrize("background", [None, [[1.0, 0.0, 0.4, 1.0, 1.0, 0.7, *[0.9] * 17]]])
def test_background_loss(gamma: float, background: list[list[float]] | None) -> None:
    taught = None if background is None else torch.tensor(background, dtype=torch.float64)
    assignment = record(torch.ones(5, dtype=torch.float64), taught)
    boxes = torch.zeros(1, 23, 4, dtype=torch.float64)
    logits = torch.randn(1, 23, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3

    def loss(values: Tensor) -> Tensor:
        view = PairViews(Predictions(values, boxes, boxes), PRIORS, OBJECTS, Deltas(), PairLoss(Focal(gamma=gamma)))
        return background_loss(assignment, view)

    gradcheck(loss, (logits.requires_grad_(),), eps=1e-6, atol=1e-8, rtol=1e-7)
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    assert bool(gradient.isfinite().all())
    assert gradient[0, 0, 1] == 0  # factor 0
    assert gradient[0, 5, 2] == 0  # weight 0
