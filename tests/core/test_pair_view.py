"""What is known about pairs is computed once, with its gradient, and nobody writes to it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core import Extra, Head, PairView, PairViews, giou, iou
from assignbench.core.box_loss import BoxLoss
from assignbench.core.pair_view import KEPT
from assignbench.core.parts import (
    ClassLoss,
    CrossEntropy,
    Deltas,
    Focal,
    GIoU,
    ImplicitObjectness,
    PairLoss,
    QualityFocal,
    Varifocal,
)
from assignbench.synthetic import random_problem

OBJECTS, LOCATIONS = torch.tensor([0, 0, 2, 1]), torch.tensor([5, 70, 5, 120])
SEEN = (
    *("image", "label", "place", "stride", "level", "point", "offset", "true", "prior", "predicted", "regression"),
    *("wanted", "overlap", "score", "logit", "class_part", "box_part", "cost", "likelihood", "class_cost"),
)


class Counted(BoxLoss):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "times", [])

    def __call__(self, pair: PairView) -> Tensor:
        self.times.append(len(pair))  # type: ignore[attr-defined]
        return 1 - giou(pair.predicted, pair.true)


def views(loss: PairLoss | None = None, head: Head | None = None) -> PairViews:
    return random_problem(head or Head(), seed=0, classes=3, counts=(2, 1), height=96, width=96).view(loss)


def test_the_same_lists_give_the_same_view_and_compute_once() -> None:
    box = Counted()
    view = views(PairLoss(box=box))
    first = view(OBJECTS, LOCATIONS)
    assert view(OBJECTS, LOCATIONS) is first
    assert first.likelihood is view(OBJECTS, LOCATIONS).likelihood
    first.cost.sum()
    view(OBJECTS, LOCATIONS).box_part.sum()
    assert box.times == [4]  # type: ignore[attr-defined]
    other = view(OBJECTS.clone(), LOCATIONS)
    assert other is not first
    assert torch.equal(other.likelihood, first.likelihood)


def test_a_list_that_was_written_to_is_another_list() -> None:
    for which in (0, 1):
        view, lists = views(), [OBJECTS.clone(), LOCATIONS.clone()]
        before = view(*lists)
        cost = before.cost.clone()
        lists[which][0] += 1
        after = view(*lists)
        assert after is not before
        assert after.cost[0] != cost[0]
        assert torch.equal(after.cost[1:], cost[1:])
        assert view(*lists) is after


def test_only_the_last_few_views_are_kept() -> None:
    view = views()
    lists = [torch.arange(3) for _ in range(KEPT + 1)]
    seen = [view(one, LOCATIONS) for one in lists]
    assert [view(one, LOCATIONS) is old for one, old in zip(lists[1:], seen[1:], strict=True)] == [True] * KEPT
    assert view(lists[0], LOCATIONS) is not seen[0]


@pytest.mark.parametrize("name", ["predicted", "regression", "logit", "class_part", "box_part", "cost", "likelihood"])
def test_what_was_first_asked_for_without_gradients_still_has_one(name: str) -> None:
    problem = random_problem(Head(), seed=0, classes=3, counts=(2, 1), height=96, width=96)
    view = problem.view()
    with torch.no_grad():
        quiet = getattr(view(OBJECTS, LOCATIONS), name)
    loud = getattr(view(OBJECTS, LOCATIONS), name)
    assert loud is quiet
    slopes = torch.autograd.grad(loud.sum(), problem.own_leaves(), allow_unused=True)
    assert any(slope is not None and bool(slope.abs().sum() > 0) for slope in slopes)


def test_what_is_shown_as_it_is_written() -> None:
    view = views(PairLoss(box=GIoU(2.0)))
    pair, (predictions, priors, targets) = view(OBJECTS, LOCATIONS), (view.predictions, view.priors, view.targets)
    assert targets.image.tolist() == [0, 0, 1]
    for row, (thing, place) in enumerate(zip(OBJECTS.tolist(), LOCATIONS.tolist(), strict=True)):
        image, label = int(targets.image[thing]), int(targets.labels[thing])
        box, stride, said = targets.boxes[thing], priors.stride[place], predictions.boxes[image, place]
        logit = predictions.logits[image, place, label]
        middle = (box[:2] + box[2:]) / 2
        wanted: dict[str, Any] = {
            "image": torch.tensor(image),
            "label": torch.tensor(label),
            "place": torch.tensor(image * len(priors) + place),
            "stride": stride,
            "level": priors.level[place],
            "point": priors.points[place],
            "offset": (priors.points[place] - middle) / stride,
            "true": box,
            "prior": priors.boxes[place],
            "predicted": said,
            "regression": predictions.regression[image, place],
            "wanted": Deltas().encode(box, priors.boxes[place], stride),
            "overlap": iou(said, box),
            "score": predictions.logits[image, place].amax().sigmoid(),
            "logit": logit,
            "class_part": -F.logsigmoid(logit),
            "box_part": 2 * (1 - giou(said, box)),
            "cost": -F.logsigmoid(logit) + 2 * (1 - giou(said, box)),
            "likelihood": logit.sigmoid() * (-2 * (1 - giou(said, box))).exp(),
            "class_cost": 0.25 * (1 - logit.sigmoid()) ** 2 * -F.logsigmoid(logit)
            + sum(
                0.75 * other.sigmoid() ** 2 * F.softplus(other)
                for column, other in enumerate(predictions.logits[image, place])
                if column != label
            ),
        }
        assert tuple(wanted) == SEEN
        for name, value in wanted.items():
            torch.testing.assert_close(getattr(pair, name)[row], value, msg=name)
    assert len(pair) == 4
    assert not pair.overlap.requires_grad


def test_the_logit_is_that_of_the_joined_probability() -> None:
    view = views(head=Head(extras=(ImplicitObjectness(),)))
    pair = view(OBJECTS, LOCATIONS)
    torch.testing.assert_close(pair.logit, view.predictions.logits[pair.image, LOCATIONS, pair.label])
    assert torch.equal(
        pair.extra_logit("implicit_objectness"), view.predictions.extras["implicit_objectness"][pair.image, LOCATIONS]
    )


@pytest.mark.parametrize("classes", [Focal(), QualityFocal(), Varifocal(), CrossEntropy()])
@pytest.mark.parametrize("extras", [(), (ImplicitObjectness(),)])
def test_the_class_cost_is_that_of_all_classes_of_the_location(classes: ClassLoss, extras: tuple[Extra, ...]) -> None:
    view = views(PairLoss(classes), Head(extras=extras))
    pair = view(OBJECTS, LOCATIONS)
    assert not pair.class_cost.requires_grad
    for n, j, cost in zip(OBJECTS, LOCATIONS, pair.class_cost, strict=True):
        image, label = view.targets.image[n], view.targets.labels[n]
        logits = view.predictions.logits[image, j].detach()
        overlap = iou(view.predictions.boxes[image, j].detach(), view.targets.boxes[n])
        quality = overlap if classes.learns_overlap else torch.tensor(1.0)
        own = classes.positive_weight * classes.positive(logits[label], quality)
        others = classes.background(torch.cat((logits[:label], logits[label + 1 :]))).sum()
        assert cost.item() == pytest.approx((own + classes.negative_weight * others).item(), rel=1e-5)


@pytest.mark.parametrize("name", SEEN)
def test_what_is_shown_is_not_for_writing(name: str) -> None:
    pair = views()(OBJECTS, LOCATIONS)
    for seen in SEEN:
        getattr(pair, seen)
    assert pair.intact() is pair
    with torch.no_grad():
        getattr(pair, name).mul_(2)
    with pytest.raises(ValueError, match=rf"view\.{name} was changed by the strategy; .* work on a copy"):
        pair.intact()


CHANGES: dict[str, Callable[[PairView], Any]] = {
    "replaced": lambda pair: pair.__dict__.update(cost=pair.cost * 2),
    "removed": lambda pair: pair.__dict__.pop("cost"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_kept_cannot_be_exchanged(change: Callable[[PairView], Any]) -> None:
    pair = views()(OBJECTS, LOCATIONS)
    assert bool(pair.cost.isfinite().all())
    change(pair)
    with pytest.raises(ValueError, match=r"view\.cost was changed"):
        pair.intact()


def test_another_loss_is_another_view() -> None:
    view = views()
    heavy = replace(view, loss=PairLoss(box=GIoU(weight=50.0)))
    torch.testing.assert_close(heavy(OBJECTS, LOCATIONS).box_part, 10 * view(OBJECTS, LOCATIONS).box_part)


@pytest.mark.parametrize("extras", [(), (ImplicitObjectness(),)])
def test_background_is_what_locations_without_an_object_cost(extras: tuple[ImplicitObjectness, ...]) -> None:
    loss = PairLoss(Focal(0.5, 0.3, gamma=1.5))
    view = views(loss, Head(extras=extras))
    wanted = 0.3 * loss.classes.background(view.predictions.logits).sum(-1)
    torch.testing.assert_close(view.background(), wanted.detach())
