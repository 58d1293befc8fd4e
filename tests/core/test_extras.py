"""The targets of extras, and how much they count."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

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
    giou,
    iou,
)
from assignbench.core.parts import (
    EXTRAS,
    AuxiliaryObjectness,
    Centerness,
    Deltas,
    ExplicitObjectness,
    ImplicitObjectness,
    Objectness,
    PredictedIoU,
    RawOutputs,
    Refinement,
    predictions_of,
)
from assignbench.core.types import Grid

LN2 = math.log(2)


def batch(name: str) -> PairViews:
    """Two images of four locations in a row, 8 pixels apart; a box over locations 0 and 1 of the first image."""
    x = torch.arange(4) * 8.0 + 4
    points = torch.stack((x, torch.full_like(x, 4)), dim=1)
    boxes = torch.cat((points - 4, points + 4), dim=1)
    one, zero = torch.ones(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    grid = Grid(zero, one, 4 * one, points[:1], torch.tensor([[8.0, 8.0]]), anchors=1)
    priors = Priors(boxes, points, torch.full((4,), 8.0), torch.zeros(4, dtype=torch.int64), grid)
    extras = {name: torch.zeros(2, 4).requires_grad_()}
    predictions = Predictions(torch.zeros(2, 4, 2), boxes.expand(2, 4, 4), torch.zeros(2, 4, 4), extras)
    return PairViews(predictions, priors, Targets(torch.tensor([[0.0, 0, 16, 8]]), zero, zero, 2), Deltas())


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
    view = batch(extra.name)
    cost = extra.loss(assignment, view)
    assert cost is not None
    (gradient,) = torch.autograd.grad(cost.total, view.predictions.extras[extra.name])
    return [round(value, 6) for value in (-gradient).flatten().tolist()]


HALF = [0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5]


def test_objectness_is_one_at_pairs() -> None:
    assert pulls(Objectness(), record(0)) == HALF


IGNORED = torch.tensor([[True, False, True, False], [False, False, True, False]])


def test_ignored_locations_teach_no_objectness() -> None:
    expected = [0.5, -0.5, 0, -0.5, -0.5, -0.5, 0, -0.5]  # the pair itself is taught all the same
    assert pulls(Objectness(), record(0, ignored=IGNORED)) == expected


@pytest.mark.parametrize("extra", [Objectness(), ExplicitObjectness(), AuxiliaryObjectness()])
def test_a_location_without_class_background_still_is_no_object(extra: Extra) -> None:
    assert pulls(extra, record(0, background=torch.zeros(2, 4))) == pulls(extra, record(0))


def test_of_a_bag_objectness_learns_the_weight() -> None:
    for bag in ("any", "all"):
        assert pulls(Objectness(), record(0, weight=0.25, bag=bag)) == [-0.25, *HALF[1:]]
    assert pulls(Objectness(), record(0, weight=0.25)) == HALF  # of hard pairs the weight is how much they count


def test_a_pair_of_no_weight_is_no_object() -> None:
    assert pulls(Objectness(), record(0, weight=0.0)) == [-0.5] * 8
    assert pulls(Objectness(), record(0, weight=0.0, ignored=IGNORED))[0] == 0


@pytest.mark.parametrize("extra", [Centerness(), PredictedIoU(weight=1.0)])
@pytest.mark.parametrize("bag", [None, "any", "all"])
def test_a_pair_counts_as_its_weight(extra: Extra, bag: str | None) -> None:
    """Location 0 lies half a box off the centre (centerness √(1/3)) and covers half of it."""
    alone, weighted, nothing = (pulls(extra, record(0, weight=weight, bag=bag)) for weight in (1, 0.25, 0))
    wanted = (1 / 3) ** 0.5 if extra.name == "centerness" else 0.5
    assert alone[0] == pytest.approx(wanted - 0.5, abs=1e-5)
    assert weighted[0] == pytest.approx(0.25 * alone[0], abs=1e-5)
    assert alone[1:] == weighted[1:] == [0] * 7
    assert nothing == [0] * 8


@pytest.mark.parametrize("extra", [ExplicitObjectness(), AuxiliaryObjectness()])
def test_explicit_objectness_is_one_in_boxes_whatever_the_pairs(extra: Extra) -> None:
    assert pulls(extra, record(3)) == [0.5, 0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5]
    assert pulls(extra, record(3, ignored=IGNORED)) == [0.5, 0.5, 0, -0.5, -0.5, -0.5, 0, -0.5]


@pytest.mark.parametrize("name", ["explicit_objectness", "auxiliary_objectness"])
def test_explicit_objectness_is_divided_by_the_locations_in_boxes(name: str) -> None:
    extra = EXTRAS[name]
    view = batch(name)
    cost = extra.loss(record(3), view)
    assert cost is not None
    assert cost.share is not None
    assert cost.total.item() == pytest.approx(8 * LN2)
    assert [share.item() for share in cost.share] == pytest.approx([2, 0.08])  # a hundredth of 8 locations
    targets = view.targets
    nobody = replace(view, targets=Targets(targets.boxes[:0], targets.labels[:0], targets.image[:0], 2))
    one = torch.ones(1)
    none = torch.zeros(0, dtype=torch.int64)
    nothing = replace(record(3), pairs=Pairs(none, none, one[:0], one[:0], one[:0]))
    cost = extra.loss(nothing, nobody)
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


def refined(first: list[float], output: list[float]) -> PairViews:
    """The batch of one, with raw deltas and factors that are the same everywhere."""
    view = batch("refinement")
    head = Head(extras=(Refinement(),))
    raw = RawOutputs(
        torch.zeros(2, 4, 2),
        torch.tensor(first).expand(2, 4, 4).clone().requires_grad_(),
        {"refinement": torch.tensor(output).expand(2, 4, 4).clone().requires_grad_()},
    )
    return PairViews(predictions_of(raw, head, view.priors), view.priors, view.targets, head.coding)


def test_a_refinement_multiplies_the_sides_of_the_first_box() -> None:
    """A prior of 8 × 8 pixels around (4, 4); the first box as it is, its right side then twice as far."""
    view = refined([0.0] * 4, [0.0, 0, LN2, 0])
    assert view.predictions.boxes[0, 0].tolist() == pytest.approx([0, 0, 12, 8])
    assert refined([0.0] * 4, [100.0] * 4).predictions.boxes.isfinite().all()


def test_the_first_box_learns_alone_and_as_much_as_it_overlaps() -> None:
    """Its IoU with the object of 16 × 8 pixels is ½ and so is its GIoU: 1.5 · ½ · ½, over ½."""
    view = refined([0.0] * 4, [0.0, 0, LN2, 0])
    cost = Refinement().loss(record(0, weight=0.5), view)
    assert cost.total.item() == pytest.approx(1.5 * 0.5 * 0.5 * 0.5)
    assert cost.share is not None
    assert [one.item() for one in cost.share] == pytest.approx([0.25, 0])
    raw = view.predictions.regression, view.predictions.extras["refinement"]
    first, factors = torch.autograd.grad(cost.total, raw, allow_unused=True, retain_graph=True)
    assert first.abs().sum() > 0
    assert factors is None
    pair = view(torch.tensor([0]), torch.tensor([0]))
    assert pair.overlap.item() == pytest.approx(0.75)
    first, factors = torch.autograd.grad((1 - giou(pair.predicted, pair.true)).sum(), raw, allow_unused=True)
    assert first is None
    assert factors[0, 0, 2] < 0
    assert iou(pair.predicted, pair.true).item() == pytest.approx(0.75)


def test_the_centerness_of_a_location_outside_its_object_can_be_chosen() -> None:
    view = batch("centerness")
    inside, outside = (Centerness(outside=0.7).loss(record(location), view).total.item() for location in (0, 3))
    assert inside == Centerness().loss(record(0), view).total.item()
    view.predictions.extras["centerness"].data.fill_(1.0)
    for wanted in (0.0, 0.7):
        cost = Centerness(outside=wanted).loss(record(3), view).total.item()
        assert cost == pytest.approx(math.log1p(math.e) - wanted)
    assert outside == pytest.approx(LN2)
