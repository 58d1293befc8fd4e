"""Gradients of every strategy's whole path against numerical differentiation, in float64.

From the raw outputs of a head (and the strategy's own parameters) to all losses: joining, decoding, the strategy, the
objective. The formulas one by one: core/test_formula_gradients.py and detector/test_objective_gradients.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.func import functional_call

from assignbench.core import Assigner, Assignment, Extra, Head, Pairs, PairViews, Setting, Targets, assign
from assignbench.core.assigner import assign_branches
from assignbench.core.box_loss import CodedPairs
from assignbench.core.parts import (
    BoxLoss,
    Centerness,
    Deltas,
    Distances,
    ExplicitObjectness,
    Focal,
    GIoU,
    ImplicitObjectness,
    PairLoss,
    RawOutputs,
    SmoothL1,
)
from assignbench.core.priors import pyramid_priors
from assignbench.core.types import Grid, Priors
from assignbench.detector.objective import objective
from assignbench.plugins import known_strategies, load_class, resolve
from assignbench.synthetic import Problem, leaf, random_problem
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.fcos import FCOS
from assigners.freeanchor import FreeAnchor
from assigners.plain import Plain
from assigners.retinanet import RetinaNet

CLASSES, LEVELS = 3, 2
MARGIN = 1e-4  # how far every argument of a max, min, abs or clamp stays from its bend; a numerical step is 1e-6

POINTS = PairLoss(box=GIoU(weight=4.0))
BAGS = PairLoss(box=GIoU(weight=5.0))


class Frozen(Assigner):
    """A strategy whose parts without gradient stay what they are at one point.

    Discounts and normalisers are functions of the predictions (and of μ, σ) that carry no gradient, by the strategies'
    definition. A numerical derivative sees them move and so answers another question. The gradient that is defined,
    that of the losses with these parts held, is the full gradient of the losses with these parts fixed at the point
    of differentiation; this is what is checked. Weights that are detached (`weights`) are such a part too; otherwise
    they are recomputed at every point, so that a weight whose gradient is lost by mistake is found out.
    """

    def __init__(self, strategy: Assigner, base: Assignment, *, weights: bool) -> None:
        super().__init__(strategy.setting)
        self.strategy, self.base, self.weights = strategy, base, weights

    def forward(self, view: PairViews) -> Assignment:
        record = assign(self.strategy, view)
        assert record.pairs.object.equal(self.base.pairs.object)  # no decision flips under a step of 1e-6
        assert record.pairs.location.equal(self.base.pairs.location)
        if self.weights:
            weight = self.base.pairs.weight
            record = replace(record, pairs=replace(record.pairs, weight=weight, box_weight=weight))
        return replace(record, discounts=self.base.discounts, normalisers=self.base.normalisers)


@dataclass(frozen=True)
class Case:
    """One strategy with its loss and a head of one prior a cell, which keeps the problem small."""

    build: Callable[[Setting], Assigner]
    head: Head
    loss: PairLoss
    detached: bool = False


def points(*extras: Extra) -> Head:
    return Head(offset=0.5, coding=Distances(), extras=extras)


def anchors(*extras: Extra, scale: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)) -> Head:
    return Head(offset=0.5, coding=Deltas(scale), extras=extras)


def autoassign(head: Head | None = None, **options: Any) -> Case:
    detached = options.get("detach_weights", False)
    return Case(lambda setting: AutoAssign(setting, **options), head or points(ImplicitObjectness()), BAGS, detached)


CASES = {
    "plain": Case(Plain, points(), POINTS),
    "retinanet": Case(RetinaNet, anchors(scale=(1.0, 1.0, 1.0, 1.0)), PairLoss(box=SmoothL1(weight=4.0))),
    "fcos": Case(FCOS, points(Centerness()), POINTS),
    "atss": Case(lambda s: ATSS(s, k=3), anchors(Centerness()), PairLoss(box=GIoU(weight=8.0))),
    "freeanchor": Case(
        lambda s: FreeAnchor(s, k=5),
        anchors(),
        PairLoss(Focal(0.5, 0.5), box=SmoothL1(weight=0.75, beta=0.11), weight=0.5),
    ),
    "freeanchor, GIoU": Case(lambda s: FreeAnchor(s, k=5), anchors(), BAGS),
    "autoassign": autoassign(),
    "autoassign, deltas": autoassign(anchors(ImplicitObjectness())),
    "autoassign, shared": autoassign(center="shared"),
    "autoassign, class": autoassign(confidence="class"),
    "autoassign, location": autoassign(confidence="location"),
    "autoassign, confidence off": autoassign(confidence="off"),
    "autoassign, detached": autoassign(detach_weights=True),
    "autoassign, no objectness": autoassign(points(), objectness="none"),
    "autoassign, explicit": autoassign(points(ExplicitObjectness()), objectness="explicit"),
    "autoassign, geometric": autoassign(bag="geometric"),
    "fcos, no centerness": Case(lambda s: FCOS(s, centerness=False), points(), POINTS),
}


def finest(priors: Priors) -> Priors:
    """The locations of the first levels alone."""
    mine, whole = priors.level < LEVELS, priors.grid
    layout = (part[:LEVELS] for part in (whole.start, whole.rows, whole.columns, whole.first, whole.step))
    parts = (part[mine] for part in (priors.boxes, priors.points, priors.stride, priors.level))
    return Priors(*parts, grid=Grid(*layout, anchors=whole.anchors))


def tiny_problem(head: Head) -> Problem:
    """Two images of 24 × 32 pixels, three objects in the first and none in the second; two levels, 16 cells.

    Every location predicts one of the objects roughly, so that boxes overlap and bags are alive.
    """
    generator = torch.Generator().manual_seed(3)
    priors = finest(pyramid_priors(head, 24, 32).cast(torch.float64))
    boxes = torch.tensor([[1.3, 2.1, 30.7, 22.9], [4.7, 5.2, 21.1, 19.6], [9.4, 3.3, 28.3, 20.2]], dtype=torch.float64)
    targets = Targets(boxes, torch.tensor([1, 0, 1]), torch.zeros(3, dtype=torch.int64), 2)

    def noise(*shape: int) -> Tensor:
        return torch.randn(2, len(priors), *shape, generator=generator, dtype=torch.float64)

    aim = head.coding.encode(boxes[torch.arange(len(priors)) % 3], priors.boxes, priors.stride)
    extras = {extra.name: leaf(noise()) for extra in head.extras}
    raw = RawOutputs(leaf(noise(CLASSES)), leaf(aim + 0.2 * noise(4)), extras)
    return Problem(head, raw, priors, targets)


def build(case: Case) -> Assigner:
    setting = Setting(classes=CLASSES, levels=LEVELS)
    assigner = case.build(setting).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():  # not where they start: μ = 0 hides signs
        for parameter in assigner.parameters():
            parameter.add_(torch.rand(parameter.shape, generator=generator) * 0.5)
    return assigner


def frozen(case: Case, assigner: Assigner, problem: Problem) -> Frozen:
    with torch.no_grad():
        base = assign(assigner, problem.view(case.loss))
    return Frozen(assigner, base, weights=case.detached)


def assert_smooth(case: Case, problem: Problem, pairs: Pairs) -> None:
    """No argument of a max, min, abs or clamp near its bend: the losses are smooth where they are differentiated."""
    pair = problem.view(case.loss)(pairs.object, pairs.location)
    assert len(pairs) > 0
    if isinstance(case.loss.box, SmoothL1):
        error = (pair.regression - pair.wanted).abs()
        bends = torch.cat((error, error - case.loss.box.beta))
    else:
        low = torch.maximum(pair.predicted[:, :2], pair.true[:, :2])
        high = torch.minimum(pair.predicted[:, 2:], pair.true[:, 2:])
        bends = torch.cat((pair.predicted - pair.true, (high - low).repeat(1, 2)))
    assert bends.abs().min() > MARGIN
    if isinstance(problem.head.coding, Distances):
        assert problem.raw.regression.abs().min() > MARGIN


def losses_of(assigner: Assigner, problem: Problem, loss: PairLoss) -> Callable[..., Tensor]:
    """All losses as a function of logits, regression, extras and the strategy's parameters: ``[loss]``.

    The strategy asks for the view alone.
    """
    extras, parameters = tuple(problem.raw.extras), tuple(name for name, _ in assigner.named_parameters())

    def losses(logits: Tensor, regression: Tensor, *rest: Tensor) -> Tensor:
        raw = RawOutputs(logits, regression, dict(zip(extras, rest[: len(extras)], strict=True)))
        view = replace(problem, raw=raw).view(loss)
        own = dict(zip(parameters, rest[len(extras) :], strict=True))
        record = functional_call(assigner, own, (view,))
        return torch.stack(list(objective(record, view, problem.head.extras).values()))

    return losses


def check(assigner: Assigner, problem: Problem, loss: PairLoss) -> None:
    inputs = (*problem.leaves(), *assigner.parameters())
    function = losses_of(assigner, problem, loss)
    gradcheck(function, inputs, eps=1e-6, atol=1e-8, rtol=1e-7, fast_mode=True)


@pytest.mark.parametrize("name", CASES)
def test_whole_path(name: str) -> None:
    case = CASES[name]
    problem, assigner = tiny_problem(case.head), build(case)
    held = frozen(case, assigner, problem)
    assert_smooth(case, problem, held.base.pairs)
    check(held, problem, case.loss)

    inputs = (*problem.leaves(), *assigner.parameters())
    gradients = torch.autograd.grad(losses_of(held, problem, case.loss)(*inputs).sum(), inputs)
    assert all(gradient.abs().max() > 1e-3 for gradient in gradients)  # something flows to every input
    if held.base.bag:  # and through discounts that neither remove a term nor leave it alone
        factor = held.base.discounts.factor
        assert bool(((factor > 0) & (factor < 1)).any())


def test_every_strategy_whose_weights_carry_gradient_is_checked() -> None:
    """Of the others gradient flows through the objective alone; one of each kind is above."""
    checked = {type(case.build(Setting(classes=CLASSES))) for case in CASES.values()}
    for known in known_strategies():
        cls = load_class(resolve(known.name))
        if known.ours and cls not in checked:
            problem = random_problem(cls.head.controlled(), seed=1, classes=CLASSES, counts=(3,))
            records = assign_branches(cls(Setting(classes=CLASSES)), problem.branches(PairLoss()), 0.7)
            for record in records.values():
                assert not record.pairs.weight.requires_grad, cls
                assert not record.pairs.box_weight.requires_grad, cls


class Asked(Assigner):
    """A strategy as it is, asked through the view alone."""

    def __init__(self, strategy: Assigner) -> None:
        super().__init__(strategy.setting)
        self.strategy = strategy

    def forward(self, view: PairViews) -> Assignment:
        return assign(self.strategy, view)


class Forgetful(Assigner):
    """AutoAssign with a weight whose gradient is lost."""

    def __init__(self, strategy: Assigner) -> None:
        super().__init__(strategy.setting)
        self.strategy = strategy

    def forward(self, view: PairViews) -> Assignment:
        record = assign(self.strategy, view)
        return replace(record, pairs=replace(record.pairs, weight=record.pairs.weight.detach()))


def test_a_weight_without_its_gradient_is_found_out() -> None:
    case = CASES["autoassign"]
    problem, assigner = tiny_problem(case.head), Forgetful(build(case))
    with pytest.raises(GradcheckError):
        check(frozen(case, assigner, problem), problem, case.loss)


@dataclass(frozen=True)
class HalfGIoU(BoxLoss):
    """GIoU with half its gradient."""

    def __call__(self, pair: CodedPairs) -> Tensor:
        cost = GIoU(weight=4.0)(pair)
        return (cost + cost.detach()) / 2


def test_a_wrong_gradient_of_a_loss_is_found_out() -> None:
    case = CASES["plain"]
    problem, assigner = tiny_problem(case.head), build(case)
    with pytest.raises(GradcheckError):
        check(frozen(case, assigner, problem), problem, PairLoss(box=HalfGIoU()))


def test_discounts_and_normalisers_carry_no_gradient() -> None:
    case = CASES["autoassign"]
    problem, assigner = tiny_problem(case.head), build(case)
    with pytest.raises(GradcheckError):  # they do move; that they are held is what makes `test_whole_path` pass
        check(Asked(assigner), problem, case.loss)
    record = assign(assigner, problem.view(case.loss))
    normalisers = record.normalisers
    held = (record.discounts.factor, normalisers.positive, normalisers.box, normalisers.negative)
    assert not any(tensor.requires_grad for tensor in held)
