"""What a strategy decides, and what it costs, does not depend on how the work is cut or whether pairs are counted off.

Everything is compared bit by bit, but AutoAssign on a grid and without: there pairs too light to change a digit of a
sum are left out; its weights, losses and gradients may differ by rounding.
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
    matching,
    max_by,
    overlap,
)
from assignbench.core.parts import PairLoss
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
    "retinanet, last": (RetinaNet, {"forced": "last", "least_forced": 0.0}),
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
        }

    def pairs(self, *, heavy: bool = False) -> dict[str, Tensor | None]:
        """The pairs, or those that may weigh anything in their bag."""
        pairs = self.record.pairs
        kept = torch.ones_like(pairs.object, dtype=torch.bool)
        if heavy:
            heaviest = max_by(pairs.weight.detach(), pairs.object, int(pairs.object.max()) + 1)
            kept = pairs.weight > 1e-10 * heaviest[pairs.object]
        names = ("object", "location", "weight", "box_weight", "quality", "likelihood")
        parts = {name: getattr(pairs, name) for name in names}
        return {f"pairs.{name}": None if part is None else part[kept] for name, part in parts.items()}

    def everything(self) -> dict[str, Tensor | None]:
        return {**self.pairs(), **self.decided(), **self.losses, **self.gradients}


def outcome(assigner: Assigner, problem: Problem) -> Outcome:
    """Decide, pay and go back, from fresh leaves."""
    problem = problem.with_targets(problem.targets)
    predictions = problem.predictions
    record = assign(assigner, predictions, problem.priors, problem.targets)
    losses = objective(
        record,
        predictions,
        problem.priors,
        problem.targets,
        loss=assigner.setting.loss,
        coding=problem.head.coding,
        extras=problem.head.extras,
    )
    parameters = {name: one for name, one in assigner.named_parameters() if one.requires_grad}
    names = ("logits", "regression", *problem.raw.extras, *parameters)
    leaves = (*problem.raw.leaves(), *parameters.values())
    found = torch.autograd.grad(torch.stack(tuple(losses.values())).sum(), leaves)
    return Outcome(record, dict(losses), {f"gradient of {name}": one for name, one in zip(names, found, strict=True)})


def build(name: str, head: Head | None = None) -> tuple[Assigner, Head]:
    cls, options = CASES[name]
    setting = Setting(CLASSES, loss=PairLoss())
    assigner = cls(setting, **options)
    head = head or assigner.head.controlled()
    return cls(replace(setting, coding=head.coding), **options), head


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

    pieces: Callable[..., Iterator[slice]] = matching.object_chunks
    for module in (matching, overlap):
        monkeypatch.setattr(module, "object_chunks", counted)
    found = []
    for chunk in (1, 1 << 60):
        steps.clear()
        monkeypatch.setattr(matching, "CHUNK", chunk)
        found.append(outcome(assigner, problem))
        assert not steps or (max(steps) == 1) == (chunk == 1)  # it was cut, and it was not
    assert len(found[0].record.pairs) > 0
    same_bits(found[0].everything(), found[1].everything())


EXACT = [name for name in CASES if not name.startswith("autoassign") or name == "autoassign, no centre"]


def both_ways(name: str, head: Head | None = None) -> tuple[Outcome, Outcome]:
    """On a grid, and with the same priors anywhere."""
    assigner, head = build(name, head)
    problem = crowd(head)
    assert problem.priors.grid is not None
    return outcome(assigner, problem), outcome(assigner, replace(problem, priors=replace(problem.priors, grid=None)))


@pytest.mark.parametrize("name", EXACT)
def test_priors_without_a_grid(name: str) -> None:
    on_grid, anywhere = both_ways(name)
    same_bits(on_grid.everything(), anywhere.everything())


@pytest.mark.parametrize("spacing", ["stride", "image"])  # on the image's own, P7's cells are 80 pixels wide, not 128
@pytest.mark.parametrize("name", [name for name in CASES if name not in EXACT])
def test_pairs_too_light_to_count_may_be_left_out(name: str, spacing: str) -> None:
    head = replace(build(name)[1], spacing=spacing)
    on_grid, anywhere = both_ways(name, head)
    assert len(on_grid.record.pairs) <= len(anywhere.record.pairs)
    for column in ("object", "location"):
        pairs = (result.pairs(heavy=True)[f"pairs.{column}"] for result in (on_grid, anywhere))
        assert torch.equal(*pairs), column  # type: ignore[arg-type]
    near(on_grid.pairs(heavy=True), anywhere.pairs(heavy=True))
    near(on_grid.decided(), anywhere.decided())
    near(on_grid.losses, anywhere.losses)
    near(on_grid.gradients, anywhere.gradients)


def near(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, mine in one.items():
        if mine is None:
            assert other[name] is None
        else:
            torch.testing.assert_close(mine, other[name], rtol=1e-5, atol=1e-8, msg=lambda text, name=name: name + text)


def test_most_of_a_large_box_is_left_out() -> None:
    on_grid, anywhere = both_ways("autoassign, narrow")
    assert len(on_grid.record.pairs) < 0.5 * len(anywhere.record.pairs)


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
    found = [outcome(assigner, replace(problem, priors=replace(problem.priors, grid=grid))) for grid in grids(problem)]
    for result in found:
        assert len(result.record.pairs) == len(result.record.discounts) == 0
        finite(result)
        gradients = result.gradients
        assert bool((gradients["gradient of logits"] > 0).all())  # all is background
        assert bool((gradients["gradient of regression"] == 0).all())
    same_bits(found[0].everything(), found[1].everything())


def grids(problem: Problem) -> tuple[Any, None]:
    return problem.priors.grid, None


class Silent(Assigner):
    """A strategy that keeps the likelihood of its pairs to itself."""

    def __init__(self, strategy: Assigner, change: Callable[[Tensor], Tensor | None]) -> None:
        super().__init__(strategy.setting)
        self.strategy, self.change = strategy, change

    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        record = self.strategy(predictions, priors, targets)
        assert record.pairs.likelihood is not None
        return replace(record, pairs=replace(record.pairs, likelihood=self.change(record.pairs.likelihood)))


BAGS = [name for name, (cls, _) in CASES.items() if cls in (FreeAnchor, AutoAssign)]


@pytest.mark.parametrize("name", BAGS)
def test_a_likelihood_that_is_handed_over_changes_no_loss(name: str) -> None:
    assigner, head = build(name)
    problem = crowd(head)
    open_handed = outcome(assigner, problem)
    silent = outcome(Silent(assigner, lambda _: None), problem)
    same_bits(dict(open_handed.losses), dict(silent.losses))
    gradients = {name.replace("strategy.", ""): one for name, one in silent.gradients.items()}
    near(open_handed.gradients, gradients)
    wrong = outcome(Silent(assigner, lambda likelihood: likelihood * 0.5), problem)
    assert wrong.losses["bag"] > open_handed.losses["bag"]  # it is what the bags are made of


def test_hard_strategies_have_no_likelihood_to_hand_over() -> None:
    for name in set(CASES) - set(BAGS):
        assigner, head = build(name)
        assert outcome(assigner, crowd(head)).record.pairs.likelihood is None, name
