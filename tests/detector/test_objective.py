"""Assignment → losses, on records small enough to be worked by hand."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

from assignbench.core import (
    Assignment,
    Discounts,
    Extra,
    Head,
    Normalisers,
    Pairs,
    PairViews,
    Predictions,
    Priors,
    Targets,
    centers,
    hard_assignment,
)
from assignbench.core.parts import (
    Centerness,
    ClassLoss,
    Cost,
    CrossEntropy,
    Deltas,
    Focal,
    ImplicitObjectness,
    Objectness,
    PairLoss,
    QualityFocal,
    Varifocal,
)
from assignbench.core.types import Grid
from assignbench.detector.objective import objective
from assignbench.synthetic import random_problem

LN2 = math.log(2)


def problem() -> PairViews:
    """One image, three locations, two classes, all probabilities 1/2; one object, hit exactly by location 0."""
    boxes = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]])
    one, zero = torch.ones(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    grid = Grid(zero, one, 3 * one, torch.tensor([[4.0, 4.0]]), torch.tensor([[8.0, 8.0]]), anchors=1)
    priors = Priors(boxes, centers(boxes), torch.full((3,), 8.0), torch.zeros(3, dtype=torch.int64), grid)
    predictions = Predictions(
        torch.zeros(1, 3, 2, requires_grad=True),
        boxes[None].clone().requires_grad_(),
        torch.zeros(1, 3, 4, requires_grad=True),
        {name: torch.zeros(1, 3, requires_grad=True) for name in ("centerness", "objectness")},
    )
    return PairViews(predictions, priors, Targets(boxes[:1].clone(), zero, zero, 1), Deltas())


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


def losses(assignment: Assignment, extras: tuple[Extra, ...] = (), loss: PairLoss | None = None) -> dict[str, float]:
    terms = objective(assignment, replace(problem(), loss=loss or PairLoss()), extras)
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
    ignored = torch.tensor([[False, False, True]])
    share = torch.tensor([[0.5, 1.0, 0.5]])
    for changes, entries in (
        ({"ignored": ignored}, 2),
        ({"background": torch.tensor([[1.0, 1.0, 0.0]])}, 2),
        ({"background": share}, 2.5),
        ({"background": share, "ignored": ignored}, 1.5),
    ):
        assert losses(record(**changes))["background"] == pytest.approx(0.75 * entries * LN2 / 4 / 2)


@pytest.mark.parametrize(
    ("classes", "positive", "negative"),
    [
        (Focal(), 0.25 / 4, 0.75 / 4),
        (Focal(0.5, 0.25, gamma=1.0, focus=0.0), 0.5, 0.25 / 2),
        (QualityFocal(), 1 / 4, 1 / 4),
        (Varifocal(), 1, 0.75 / 4),
        (CrossEntropy(), 1, 1),
    ],
)
def test_class_losses_by_hand(classes: ClassLoss, positive: float, negative: float) -> None:
    pairs = replace(record().pairs, quality=torch.ones(2))
    terms = losses(record(pairs=pairs), loss=PairLoss(classes, weight=0.5))
    assert terms["class"] == pytest.approx(positive * LN2)  # two pairs over two
    assert terms["background"] == pytest.approx(negative * 4 * LN2 / 2)
    assert terms["box"] == pytest.approx(0.5 * 5 / 2)


@pytest.mark.parametrize("classes", [Focal(), QualityFocal(), Varifocal(), CrossEntropy()])
def test_the_score_to_learn_is_the_overlap_where_the_class_loss_says_so(classes: ClassLoss) -> None:
    """Location 0 overlaps its object wholly, location 1 not at all; a quality that is given goes before."""
    overlap, given = torch.tensor([1.0, 0.0]), torch.tensor([0.3, 0.6])
    asked, own = (replace(record().pairs, quality=quality) for quality in (None, given))
    for pairs, quality in ((asked, overlap if classes.learns_overlap else torch.ones(2)), (own, given)):
        terms = losses(record(pairs=pairs), loss=PairLoss(classes))
        wanted = classes.positive_weight * classes.positive(torch.zeros(2), quality).sum().item() / 2
        assert terms["class"] == pytest.approx(wanted)


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


def test_a_bag_of_any_by_hand() -> None:
    pairs = replace(record().pairs, weight=torch.tensor([0.25, 0.75]))
    terms = losses(record(pairs=pairs, bag="any"))
    # P = 1/2 and e^−5 / 2
    expected = -math.log(0.25 * 0.5 + 0.75 * 0.5 * math.exp(-5))
    assert terms["bag"] == pytest.approx(0.25 * expected / 2)
    assert "class" not in terms


def test_a_bag_of_all_by_hand() -> None:
    pairs = replace(record().pairs, weight=torch.tensor([0.25, 0.75]))
    terms = losses(record(pairs=pairs, bag="all"))
    # −log P = ln 2 and ln 2 + 5
    assert terms["bag"] == pytest.approx(0.25 * (LN2 + 0.75 * 5) / 2)
    assert terms.keys() == losses(record(pairs=pairs, bag="any")).keys()


def test_a_bag_of_all_is_taken_in_logarithms() -> None:
    """At a logit of −200, P is 0 in float32; its logarithm and the gradient of it are not."""
    bag, gradient = far_bag("all", torch.tensor([1.0, 0.0]))
    assert bag == pytest.approx(0.25 * 200 / 2)
    assert gradient == pytest.approx(-0.25 / 2)


def far_bag(bag: str, weight: Tensor, loss: PairLoss | None = None) -> tuple[float, float]:
    """Value, and gradient by location 0's logit, of a bag whose own class has a logit of −200 at both locations."""
    view = replace(problem(), loss=loss or PairLoss())
    with torch.no_grad():
        view.predictions.outputs[0, :2, 0] = -200
    terms = objective(record(pairs=replace(record().pairs, weight=weight), bag=bag), view, ())
    (gradient,) = torch.autograd.grad(terms["bag"], view.predictions.outputs)
    return terms["bag"].item(), gradient[0, 0, 0].item()


def test_a_bag_of_any_is_taken_in_logarithms_unless_it_is_floored() -> None:
    weight = torch.tensor([0.5, 0.5])
    bag, gradient = far_bag("any", weight)
    # the other location, 5 farther, adds e^−5
    assert bag == pytest.approx(0.25 * (200 + LN2 - math.log1p(math.exp(-5))) / 2)
    assert gradient == pytest.approx(-0.25 / (1 + math.exp(-5)) / 2)
    bag, gradient = far_bag("any", weight, PairLoss(floored=True))  # as in the references
    assert bag == pytest.approx(0.25 * 100 / 2)
    assert gradient == 0


def test_a_bag_of_all_without_pairs_costs_nothing() -> None:
    none, no_weight = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    nothing = Pairs(none, none, no_weight, no_weight, no_weight)
    assert losses(record(pairs=nothing, bag="all"))["bag"] == 0
    assert losses(record(pairs=nothing, bag="any"))["bag"] == pytest.approx(0.25 * 100 / 2)


@dataclass(frozen=True)
class Own(Extra):
    """An extra with a normaliser of its own."""

    count: float
    least: float = 0.0
    name: ClassVar[str] = "centerness"

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """Costs 6 in all."""
        share = torch.tensor(self.count), torch.tensor(self.least)
        return Cost(view.predictions.extras[self.name].sum() + 6, share=share)


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


def test_the_floor_of_the_others_can_be_raised_and_the_background_be_divided_otherwise_without_a_positive() -> None:
    nothing, one, two = (torch.tensor(value) for value in (0.0, 1.0, 2.0))
    by_one = losses(record(normalisers=Normalisers(one, one, one)))
    raised = losses(record(normalisers=Normalisers(one, one, one, least=4.0)))
    assert raised["class"] == pytest.approx(by_one["class"] / 4)
    assert raised["background"] == pytest.approx(by_one["background"] / 4)
    assert raised["box"] == by_one["box"]
    unpaired = losses(record(normalisers=Normalisers(nothing, nothing, nothing, unpaired=two)))
    assert unpaired["background"] == pytest.approx(by_one["background"] / 2)
    assert unpaired["class"] == by_one["class"]
    paired = losses(record(normalisers=Normalisers(one, one, one, unpaired=two)))
    assert paired == by_one


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
    view = problem()
    terms = objective(assignment, view, (Centerness(),))
    leaves = (view.predictions.outputs, view.predictions.regression, view.predictions.extras["centerness"])
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


@pytest.mark.parametrize("name", ["class", "box", "bag", "background", "total", "iteration", "lr", "centerness"])
def test_a_loss_of_the_strategy_with_the_name_of_another_one_is_refused(name: str) -> None:
    own = record(losses={"mine": torch.tensor(7.0), name: torch.tensor(3.0)})
    with pytest.raises(ValueError, match=f"cannot be called '{name}': there is another one of that name"):
        losses(own, (Centerness(),))
    assert losses(record(losses={"mine": torch.tensor(7.0)}), (Centerness(),))["mine"] == 7


def test_what_the_strategy_wrote_to_is_refused() -> None:
    view, assignment = problem(), record()
    pair = view(assignment.pairs.object, assignment.pairs.location)
    with torch.no_grad():
        pair.logit.add_(1)
    with pytest.raises(ValueError, match=r"view\.logit was changed by the strategy"):
        objective(assignment, view, ())


def objectness_gradient(**changes: object) -> Tensor:
    """Of the objectness logits of an image of 86 locations, with a pair at location 0."""
    own = random_problem(Head(extras=(Objectness(),)), seed=0, classes=2, counts=(1,), height=64, width=64)
    assert len(own.priors) == 86
    zero = torch.zeros(1, dtype=torch.int64)
    assignment = replace(hard_assignment(zero, zero, own.targets), **changes)  # type: ignore[arg-type]
    terms = objective(assignment, own.view(), own.head.extras)
    (gradient,) = torch.autograd.grad(terms["objectness"], own.raw.extras["objectness"])
    return gradient


def test_what_is_no_class_background_still_is_no_object_unless_it_is_ignored() -> None:
    every = objectness_gradient()
    assert int((every != 0).sum()) == 86
    assert torch.equal(objectness_gradient(background=torch.zeros(1, 86)), every)
    ignored = (torch.arange(86) < 30)[None]
    left = objectness_gradient(ignored=ignored)
    assert left.nonzero()[:, 1].tolist() == [0, *range(30, 86)]  # the pair's own location is certain
    assert torch.equal(left[~ignored], every[~ignored])


def test_pairs_of_no_weight_teach_no_extra() -> None:
    terms = losses(record(pairs=replace(record().pairs, weight=torch.zeros(2))), (Centerness(), Objectness()))
    assert terms["centerness"] == 0
    assert terms["objectness"] == pytest.approx(3 * LN2 / 2)
    view = problem()
    nothing = record(pairs=replace(record().pairs, weight=torch.zeros(2)))
    found = objective(nothing, view, (Objectness(),))["objectness"]
    (gradient,) = torch.autograd.grad(found, view.predictions.extras["objectness"])
    assert bool((gradient > 0).all())  # down everywhere: nobody is an object


@pytest.mark.parametrize("by", ["score", "overlap"])
def test_a_loss_may_weigh_the_box_parts_itself(by: Literal["score", "overlap"]) -> None:
    """Location 0 has IoU 1, location 1 has 0; both have a highest probability of 1/2, their box losses are 0 and λ."""
    loss = PairLoss(weigh_by=by, weight=1.0)
    terms = losses(record(), loss=loss)
    # the sum of weights is at most 1 here, so that the floor counts
    assert terms["box"] == pytest.approx(5 / 2 if by == "score" else 5e-6)
    heavy = record(pairs=replace(record().pairs, weight=torch.tensor([8.0, 4.0])))
    assert losses(heavy, loss=loss)["box"] == pytest.approx(2 / 6 * 5 if by == "score" else 4 * 5e-6 / 8)
    assert losses(heavy, loss=loss)["class"] == losses(heavy)["class"]


def test_weights_by_score_carry_no_gradient() -> None:
    view = replace(problem(), loss=PairLoss(weigh_by="score"))
    (gradient,) = torch.autograd.grad(
        objective(record(), view, ())["box"], [view.predictions.outputs], allow_unused=True
    )
    assert gradient is None or not gradient.any()


def test_the_score_of_a_pair_is_that_of_the_likeliest_class() -> None:
    problem = random_problem(Head(extras=(ImplicitObjectness(),)), seed=0, classes=3, counts=(2, 1))
    view = problem.view()(torch.tensor([0, 2]), torch.tensor([3, 4]))
    wanted = torch.stack([view.predictions.logits[0, 3].max(), view.predictions.logits[1, 4].max()]).sigmoid()
    torch.testing.assert_close(view.score, wanted.detach())
    assert not view.score.requires_grad


def test_a_floored_bag_that_is_no_number_stays_none() -> None:
    """The training loop then says which images and what to do; torch's cross-entropy would raise its own error."""
    view = replace(problem(), loss=PairLoss(floored=True))
    with torch.no_grad():
        view.predictions.outputs[0, :2, 0] = torch.nan
    terms = objective(record(pairs=replace(record().pairs, weight=torch.ones(2)), bag="any"), view, ())
    assert terms["bag"].isnan()
