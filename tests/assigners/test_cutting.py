"""What a strategy decides, and what it costs, does not depend on how the work is cut or which pairs are left out.

However the work is cut, everything is the same bit by bit. Where pairs are left out that are too light to change a
digit of a sum, or listed though they count for nothing, weights, losses and gradients may differ by rounding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Predictions,
    Priors,
    Setting,
    Targets,
    assign,
    inside_pairs,
    iou,
    matching,
    max_by,
)
from assignbench.core.fast import grid, overlap, rows
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.fcos import FCOS
from assigners.freeanchor import FreeAnchor
from assigners.plain import Plain
from assigners.retinanet import RetinaNet

CLASSES = 3
CASES: dict[str, tuple[type[Assigner], dict[str, Any]]] = {
    "plain": (Plain, {}),
    "retinanet": (RetinaNet, {}),
    "retinanet, last": (RetinaNet, {"forced": "last"}),
    "fcos": (FCOS, {}),
    "fcos, whole boxes": (FCOS, {"radius": 0.0, "scale_ranges": False}),
    "atss": (ATSS, {}),
    "atss, reference": (ATSS, {"reference": True}),
    "atss, k": (ATSS, {"k": 3}),
    "freeanchor": (FreeAnchor, {}),
    "freeanchor, topk": (FreeAnchor, {"ties": "topk"}),
    "autoassign": (AutoAssign, {}),
    "autoassign, narrow": (AutoAssign, {"mu": 0.3, "sigma": 0.05}),
    "autoassign, no centre": (AutoAssign, {"center": "none"}),
    "autoassign, last": (AutoAssign, {"same_class": "last"}),
    "autoassign, pairs": (AutoAssign, {"negative_normaliser": "pairs", "sigma": 0.2}),
}


@dataclass(frozen=True)
class Outcome:
    """A record, what it costs and what it teaches."""

    record: Assignment
    losses: dict[str, Tensor]
    gradients: dict[str, Tensor]

    def decided(self) -> dict[str, Tensor | None]:
        """Everything of the record but its pairs."""
        discounts, normalisers = self.record.discounts, self.record.normalisers
        names = ("image", "location", "label", "factor", "weight")
        return {
            **{f"discounts.{name}": getattr(discounts, name) for name in names},
            **{f"normalisers.{name}": getattr(normalisers, name) for name in ("positive", "box", "negative")},
            "background": self.record.background,
            "ignored": self.record.ignored,
        }

    def pairs(self, *, heavy: bool = False) -> dict[str, Tensor | None]:
        """The pairs and what is shown of them, or those alone that may weigh anything in their bag."""
        pairs = self.record.pairs
        kept = torch.ones_like(pairs.object, dtype=torch.bool)
        if heavy:
            heaviest = max_by(pairs.weight.detach(), pairs.object, int(pairs.object.max()) + 1)
            kept = pairs.weight > 1e-10 * heaviest[pairs.object]
        names = ("object", "location", "weight", "box_weight", "quality")
        parts = {name: getattr(pairs, name) for name in names} | dict(self.record.diagnostics)
        return {f"pairs.{name}": None if part is None else part[kept] for name, part in parts.items()}

    def everything(self) -> dict[str, Tensor | None]:
        return {**self.pairs(), **self.decided(), **self.losses, **self.gradients}


def outcome(assigner: Assigner, problem: Problem) -> Outcome:
    """Decide, pay and go back, from fresh leaves."""
    problem = problem.with_targets(problem.targets)
    view = problem.view()
    record = assign(assigner, view)
    losses = objective(record, view, problem.head.extras)
    parameters = {name: one for name, one in assigner.named_parameters() if one.requires_grad}
    names = ("logits", "regression", *problem.raw.extras, *parameters)
    leaves = (*problem.leaves(), *parameters.values())
    found = torch.autograd.grad(torch.stack(tuple(losses.values())).sum(), leaves)
    return Outcome(record, dict(losses), {f"gradient of {name}": one for name, one in zip(names, found, strict=True)})


def build(name: str) -> tuple[Assigner, Head]:
    cls, options = CASES[name]
    assigner = cls(Setting(CLASSES), **options)
    return assigner, assigner.head.controlled()


def crowd(head: Head, *, padded: bool = False) -> Problem:
    """A busy image, one without objects, and one whose objects are hard, in one flat list that is not sorted."""
    problem = random_problem(head, seed=7, classes=CLASSES, counts=(24, 0, 9))
    boxes = problem.targets.boxes.clone()
    boxes[-5:] = torch.tensor(
        [
            [51.5, 51.5, 52.5, 52.5],  # one pixel, around a centre of P3 where it lies in the cell's middle
            [55.6, 55.6, 56.4, 56.4],  # one pixel, between those
            [0.0, 0.0, 160.0, 128.0],  # the whole image
            [24.0, 24.0, 88.0, 72.0],  # borders on centres
            [24.0, 24.0, 88.0, 72.0],  # and its twin
        ]
    )
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))
    labels, image = problem.targets.labels.clone(), problem.targets.image
    labels[-1] = labels[-2]
    targets = Targets(boxes[order], labels[order], image[order], problem.targets.images)
    priors = problem.priors
    if padded:
        priors = priors.padded(torch.tensor([[128, 160], [64, 96], [96, 160]]))
    return replace(problem.with_targets(targets), priors=priors)


def same_bits(one: dict[str, Tensor | None], other: dict[str, Tensor | None]) -> None:
    assert one.keys() == other.keys()
    for name, mine in one.items():
        yours = other[name]
        if mine is None or yours is None:
            assert mine is yours, name
        else:
            assert torch.equal(mine, yours), name


@pytest.mark.parametrize("padded", [False, True], ids=["", "padded"])
@pytest.mark.parametrize("name", CASES)
def test_one_object_at_a_time(monkeypatch: pytest.MonkeyPatch, name: str, padded: bool) -> None:
    assigner, head = build(name)
    problem = crowd(head, padded=padded)
    steps = []

    def counted(*args: Any) -> Iterator[slice]:
        for chunk in pieces(*args):
            steps.append(chunk.stop - chunk.start)
            yield chunk

    pieces: Callable[..., Iterator[slice]] = rows.object_chunks
    for module in (matching, grid, overlap):
        monkeypatch.setattr(module, "object_chunks", counted)
    found = []
    for chunk in (1, 1 << 60):
        steps.clear()
        monkeypatch.setattr(rows, "CHUNK", chunk)
        found.append(outcome(assigner, problem))
        assert not steps or (max(steps) == 1) == (chunk == 1)  # it was cut, and it was not
    assert len(found[0].record.pairs) > 0
    same_bits(found[0].everything(), found[1].everything())


WEIGHTED = [name for name in CASES if name.startswith("autoassign") and name != "autoassign, no centre"]


def light_and_all(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> tuple[Outcome, Outcome]:
    """AutoAssign without the pairs that the centre prior makes weightless, and with all in the boxes."""
    assigner, head = build(name)
    problem = crowd(replace(head, **changes))
    central = outcome(assigner, problem)

    def in_boxes(
        targets: Targets, priors: Priors, *_: Tensor, gain: float, at_least_one: bool
    ) -> tuple[Tensor, Tensor]:
        assert gain >= 0
        return inside_pairs(targets, priors, at_least_one=at_least_one)

    monkeypatch.setattr("assigners.autoassign.central_pairs", in_boxes)
    return central, outcome(assigner, problem)


@pytest.mark.parametrize("spacing", ["stride", "image"])  # on the image's own, P7's cells are 80 pixels wide, not 128
@pytest.mark.parametrize("name", WEIGHTED)
def test_pairs_too_light_to_count_may_be_left_out(monkeypatch: pytest.MonkeyPatch, name: str, spacing: str) -> None:
    central, every = light_and_all(monkeypatch, name, spacing=spacing)
    assert len(central.record.pairs) < len(every.record.pairs)
    for column in ("object", "location"):
        pairs = (result.pairs(heavy=True)[f"pairs.{column}"] for result in (central, every))
        assert torch.equal(*pairs), column  # type: ignore[arg-type]
    near(central.pairs(heavy=True), every.pairs(heavy=True))
    near(central.decided(), every.decided())
    near(central.losses, every.losses)
    near(central.gradients, every.gradients)


def near(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, mine in one.items():
        if mine is None:
            assert other[name] is None
        else:
            torch.testing.assert_close(mine, other[name], rtol=1e-5, atol=1e-8, msg=lambda text, name=name: name + text)


def test_most_of_a_large_box_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    central, every = light_and_all(monkeypatch, "autoassign, narrow")
    assert len(central.record.pairs) < 0.5 * len(every.record.pairs)


def every_overlap(targets: Targets, predictions: Predictions, priors: Priors, least: float) -> tuple[Tensor, ...]:
    """All pairs of an object and a location outside the padding, however little the predicted box overlaps."""
    objects = torch.arange(len(targets)).repeat_interleave(len(priors))
    locations = torch.arange(len(priors)).repeat(len(targets))
    kept = priors.inside_at(targets.image[objects], locations)
    objects, locations = objects[kept], locations[kept]
    boxes = predictions.boxes[targets.image[objects], locations]
    return objects, locations, iou(targets.boxes[objects], boxes)


@pytest.mark.parametrize("padded", [False, True], ids=["", "padded"])
def test_predicted_boxes_that_overlap_too_little_change_nothing(monkeypatch: pytest.MonkeyPatch, padded: bool) -> None:
    assigner, head = build("freeanchor")
    problem = crowd(head, padded=padded)
    few = outcome(assigner, problem)
    monkeypatch.setattr("assigners.freeanchor.predicted_overlaps", every_overlap)
    every = outcome(assigner, problem)
    assert 0 < len(few.record.discounts) < len(every.record.discounts)
    assert bool((few.record.discounts.counted().factor < 1).any())
    same_bits(few.pairs(), every.pairs())
    near(few.losses, every.losses)
    near(few.gradients, every.gradients)


def finite(result: Outcome) -> None:
    for name, part in result.everything().items():
        assert part is None or bool(part.isfinite().all()), name


@pytest.mark.parametrize("name", CASES)
def test_two_thousand_objects_in_an_image(name: str) -> None:
    assigner, head = build(name)
    problem = random_problem(head, seed=3, classes=CLASSES, counts=(2000, 0, 3), height=64, width=96)
    result = outcome(assigner, problem)
    result.record.check(problem.predictions, problem.targets)
    finite(result)
    assert bool((result.record.pairs.object >= 2000).any())  # the last image is not forgotten
    assert bool(((result.gradients["gradient of logits"] != 0).flatten(1).any(1)).all())


@pytest.mark.parametrize("name", CASES)
def test_one_pixel_and_the_whole_image(name: str) -> None:
    assigner, head = build(name)
    problem = random_problem(head, seed=3, classes=CLASSES, counts=(1, 1, 1))
    boxes = torch.tensor([[51.5, 51.5, 52.5, 52.5], [57.1, 57.1, 58.1, 58.1], [0.0, 0, 160, 128]])
    targets = replace(problem.targets, boxes=boxes)
    result = outcome(assigner, problem.with_targets(targets))
    result.record.check(problem.predictions, targets)
    finite(result)
    around_a_centre, between_centres, whole = torch.bincount(result.record.pairs.object, minlength=3).tolist()
    by_place = head.priors_per_cell == 1  # these strategies ask for a centre in the box, the others for overlap
    assert around_a_centre > 0
    assert (between_centres == 0) == by_place
    assert whole > 0


@pytest.mark.parametrize("counts", [(0,), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_no_objects_at_all(name: str, counts: tuple[int, ...]) -> None:
    assigner, head = build(name)
    problem = random_problem(head, seed=3, classes=CLASSES, counts=counts, height=64, width=96)
    result = outcome(assigner, problem)
    assert len(result.record.pairs) == len(result.record.discounts) == 0
    finite(result)
    gradients = result.gradients
    assert bool((gradients["gradient of logits"] > 0).all())  # all is background
    assert bool((gradients["gradient of regression"] == 0).all())
