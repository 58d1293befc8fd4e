"""Assignment → losses, on records small enough to be worked by hand."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from assignbench.core import (
    Assignment,
    Centerness,
    Cost,
    Deltas,
    Discounts,
    Extra,
    Normalisers,
    PairLoss,
    Pairs,
    Predictions,
    Priors,
    Targets,
)
from assignbench.detector.objective import objective

LN2 = math.log(2)


def problem() -> tuple[Predictions, Priors, Targets]:
    """One image, three locations, two classes, all probabilities 1/2; one object, hit exactly by location 0."""
    boxes = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]])
    priors = Priors(boxes, torch.full((3,), 8.0), torch.zeros(3, dtype=torch.int64))
    predictions = Predictions(
        torch.zeros(1, 3, 2, requires_grad=True),
        boxes[None].clone().requires_grad_(),
        torch.zeros(1, 3, 4, requires_grad=True),
        {"centerness": torch.zeros(1, 3, requires_grad=True)},
    )
    zero = torch.zeros(1, dtype=torch.int64)
    return predictions, priors, Targets(boxes[:1].clone(), zero, zero, 1)


def record(**changes: object) -> Assignment:
    """The object is taught at locations 0 and 1."""
    objects, locations = torch.tensor([0, 0]), torch.tensor([0, 1])
    one = torch.ones(2)
    base = Assignment(
        pairs=Pairs(objects, locations, one, one, one),
        discounts=Discounts(objects, locations, objects, torch.zeros(2)),
        normalisers=Normalisers(torch.tensor(2.0), torch.tensor(2.0), torch.tensor(2.0)),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def losses(assignment: Assignment, extras: tuple[Extra, ...] = ()) -> dict[str, float]:
    predictions, priors, targets = problem()
    terms = objective(assignment, predictions, priors, targets, loss=PairLoss(), coding=Deltas(), extras=extras)
    return {name: value.item() for name, value in terms.items()}


def test_hard_pairs_by_hand() -> None:
    terms = losses(record())
    # (1/2)² ln 2 each, α = 1/4
    assert terms["class"] == pytest.approx(0.25 * LN2 / 4)
    # location 0 is exact; location 1 beside the object: IoU 0, enclosing box = union, so GIoU 0. λ = 5
    assert terms["box"] == pytest.approx(0.25 * 5 * (0 + 1) / 2)
    # 6 entries, of which the 2 own classes are no background
    assert terms["background"] == pytest.approx(0.75 * 4 * LN2 / 4 / 2)


def test_ignored_locations_teach_no_background() -> None:
    terms = losses(record(background=torch.tensor([[1.0, 1.0, 0.0]])))
    assert terms["background"] == pytest.approx(0.75 * 2 * LN2 / 4 / 2)


def test_a_discounted_probability() -> None:
    one = torch.ones(1, dtype=torch.int64)
    discounts = Discounts(one - 1, one, one - 1, torch.tensor([0.5]))
    terms = losses(record(discounts=discounts))
    # five entries as they are, one with q = 1/4
    assert terms["background"] == pytest.approx(0.75 * (5 * LN2 / 4 - math.log(3 / 4) / 16) / 2)


def test_a_weighted_negative_term() -> None:
    one = torch.ones(1, dtype=torch.int64)
    discounts = Discounts(one - 1, one, one - 1, torch.ones(1), weight=torch.tensor([0.5]))
    terms = losses(record(discounts=discounts))
    assert terms["background"] == pytest.approx(0.75 * 5.5 * LN2 / 4 / 2)


def test_weights_of_class_and_box_are_apart() -> None:
    pairs = record().pairs
    terms = losses(record(pairs=replace(pairs, weight=torch.tensor([3.0, 0]), box_weight=torch.tensor([0, 0.5]))))
    assert terms["class"] == pytest.approx(0.25 * 3 * LN2 / 4 / 2)
    assert terms["box"] == pytest.approx(0.25 * 5 * 0.5 / 2)


def test_a_bag_by_hand() -> None:
    pairs = replace(record().pairs, weight=torch.tensor([0.25, 0.75]))
    terms = losses(record(pairs=pairs, bagged=True))
    # P = 1/2 and e^−5 / 2
    expected = -math.log(0.25 * 0.5 + 0.75 * 0.5 * math.exp(-5))
    assert terms["bag"] == pytest.approx(0.25 * expected / 2)
    assert "class" not in terms


def test_a_geometric_bag_by_hand() -> None:
    pairs = replace(record().pairs, weight=torch.tensor([0.25, 0.75]))
    terms = losses(record(pairs=pairs, bagged=True, geometric=True))
    # −log P = ln 2 and ln 2 + 5
    assert terms["bag"] == pytest.approx(0.25 * (LN2 + 0.75 * 5) / 2)
    assert terms.keys() == losses(record(pairs=pairs, bagged=True)).keys()


def test_a_geometric_bag_is_taken_in_logarithms() -> None:
    """At a logit of −200, P is 0 in float32; its logarithm and the gradient of it are not."""
    predictions, priors, targets = problem()
    with torch.no_grad():
        predictions.outputs[0, 0, 0] = -200
    pairs = replace(record().pairs, weight=torch.tensor([1.0, 0.0]))
    assignment = record(pairs=pairs, bagged=True, geometric=True)
    terms = objective(assignment, predictions, priors, targets, loss=PairLoss(), coding=Deltas(), extras=())
    assert terms["bag"].item() == pytest.approx(0.25 * 200 / 2)
    (gradient,) = torch.autograd.grad(terms["bag"], predictions.outputs)
    assert gradient[0, 0, 0].item() == pytest.approx(-0.25 / 2)


def test_a_geometric_bag_without_pairs_costs_nothing() -> None:
    none, no_weight = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    nothing = Pairs(none, none, no_weight, no_weight, no_weight)
    assert losses(record(pairs=nothing, bagged=True, geometric=True))["bag"] == 0
    assert losses(record(pairs=nothing, bagged=True))["bag"] == pytest.approx(0.25 * 100 / 2)


@dataclass(frozen=True)
class Own(Extra):
    """An extra with a normaliser of its own."""

    count: float
    least: float = 0.0
    name: ClassVar[str] = "centerness"

    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> Cost:
        """Costs 6 in all."""
        share = torch.tensor(self.count), torch.tensor(self.least)
        return Cost(predictions.extras[self.name].sum() + 6, share=share)


@pytest.mark.parametrize(
    ("count", "least", "wanted"), [(4.0, 0.0, 6 / 4), (4.0, 5.0, 6 / 5), (0.0, 0.5, 6.0), (0.0, 0.0, 6.0)]
)
def test_an_extra_may_have_a_normaliser_of_its_own(count: float, least: float, wanted: float) -> None:
    terms = losses(record(), extras=(Own(count, least),))
    assert terms["centerness"] == pytest.approx(wanted)
    assert terms["class"] == losses(record())["class"]


def test_normalisers_are_at_least_one() -> None:
    nothing = torch.tensor(0.0)
    terms = losses(record(normalisers=Normalisers(nothing, nothing, nothing)))
    assert terms["class"] == pytest.approx(2 * 0.25 * LN2 / 4)


def test_the_floor_of_the_box_normaliser_can_be_lowered() -> None:
    pairs = replace(record().pairs, box_weight=torch.tensor([0.0, 0.25]))
    two, quarter = torch.tensor(2.0), torch.tensor(0.25)
    floored = losses(record(pairs=pairs, normalisers=Normalisers(two, quarter, two)))
    assert floored["box"] == pytest.approx(0.25 * 5 * 0.25)
    own = losses(record(pairs=pairs, normalisers=Normalisers(two, quarter, two, least_box=1e-6)))
    assert own["box"] == pytest.approx(0.25 * 5 * 0.25 / 0.25)
    nothing = torch.tensor(0.0)
    terms = losses(record(normalisers=Normalisers(nothing, nothing, nothing, least_box=1e-6)))
    assert terms["class"] == pytest.approx(2 * 0.25 * LN2 / 4)  # the other floors stay at 1
    assert terms["box"] == pytest.approx(0.25 * 5 / 1e-6)


@pytest.mark.parametrize("local", [False, True])
def test_normalisers_are_averaged_over_processes_unless_they_are_local(
    monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    """Two processes: this one with 2 pairs, the other with 4."""
    asked = []

    def all_reduce(shares: Tensor) -> None:
        asked.append(shares.clone())
        shares += 4

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    two = torch.tensor(2.0)
    terms = losses(record(normalisers=Normalisers(two, two, two, local=local)), extras=(Own(2.0, 0.5),))
    assert len(asked) == (0 if local else 1)
    assert two == 2  # the record itself is not written to
    assert terms["class"] == pytest.approx(0.25 * 2 * LN2 / 4 / (2 if local else 3))
    assert terms["centerness"] == pytest.approx(6 / (2 if local else 3))  # in the same call: 2 here, 4 there


@pytest.mark.parametrize(("count", "wanted"), [(1.0, 1 / 4), (0.0, 1 / 4), (8.0, 8 / 4)])
def test_the_floor_is_that_of_the_global_batch(monkeypatch: pytest.MonkeyPatch, count: float, wanted: float) -> None:
    """Four processes with ``count`` pairs in all: the mean of their losses is what one process would charge."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda shares: shares.mul_(4))
    share = torch.tensor(count / 4)
    terms = losses(record(normalisers=Normalisers(share, share, share)), extras=(Own(count / 4),))
    assert terms["class"] == pytest.approx(0.25 * 2 * LN2 / 4 / wanted)
    assert terms["centerness"] == pytest.approx(6 / wanted)


def test_centerness_is_learned_at_the_pairs() -> None:
    terms = losses(record(), extras=(Centerness(),))
    # location 0 is the centre (target 1), location 1 outside (target 0): ln 2 each, over 2
    assert terms["centerness"] == pytest.approx(LN2)


def gradients(assignment: Assignment) -> tuple[Tensor, ...]:
    predictions, priors, targets = problem()
    terms = objective(
        assignment, predictions, priors, targets, loss=PairLoss(), coding=Deltas(), extras=(Centerness(),)
    )
    leaves = (predictions.logits, predictions.regression, predictions.extras["centerness"])
    return torch.autograd.grad(torch.stack(list(terms.values())).sum(), leaves)


def test_every_output_has_a_gradient_without_any_pair() -> None:
    none, no_weight = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    empty = record(
        pairs=Pairs(none, none, no_weight, no_weight, no_weight),
        discounts=Discounts(none, none, none, no_weight),
    )
    logits, regression, extra = gradients(empty)
    assert logits.abs().sum() > 0
    assert regression.abs().sum() == 0
    assert extra.abs().sum() == 0


def test_the_own_class_is_not_pushed_both_ways() -> None:
    logits, _, _ = gradients(record())
    assert (logits[0, :2, 0] < 0).all()  # up
    assert (logits[0, :, 1] > 0).all()  # down
