"""What a strategy gets wrong is refused with a sentence that names it, and nothing it writes reaches anybody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Extra,
    Head,
    Normalisers,
    Pairs,
    PairView,
    PairViews,
    Predictions,
    Priors,
    Setting,
    Targets,
    assign,
    most_overlapping,
    nearest_pairs,
    overlapping_pairs,
)
from assignbench.core.assigner import asks_for, learned_by
from assignbench.core.parts import Centerness, Cost, RawOutputs, anchor_head, predictions_of
from assignbench.core.priors import pyramid_priors
from assignbench.detector.objective import objective
from assignbench.errors import UsageError
from assignbench.plugins import construct
from assignbench.synthetic import random_problem
from assigners.fcos import FCOS
from assigners.plain import Plain

PROBLEM = random_problem(Head(), seed=0, classes=2, counts=(2, 1), height=64, width=64)


def record() -> Assignment:
    return assign(Plain(Setting(classes=2)), PROBLEM.view())


ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bag": "some"}, 'bag must be None, "any" or "all", not \'some\''),
        ({"bag": True}, "bag must be None"),
        ({"losses": {"x": 1.0}}, r"losses\['x'\] must be a tensor, not float"),
        ({"losses": {"x": torch.ones(3)}}, r"losses\['x'\] must have shape \[\], not \[3\]"),
        ({"losses": [ONE]}, "losses must map names to tensors, not list"),
        ({"diagnostics": {"x": 1.0}}, r"diagnostics\['x'\] must be a tensor, not float"),
        ({"background": 0.5}, "background must be a tensor, not float"),
        ({"ignored": torch.ones(2, 3)}, "ignored must be bool, not float32"),
        ({"ignored": torch.ones(3, dtype=torch.bool)}, r"ignored must have shape \[any, any\], not \[3\]"),
        ({"pairs": (ONE, ONE)}, "pairs must be Pairs, not tuple"),
    ],
)
def test_a_part_of_the_record(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        replace(record(), **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda i: Pairs(i, i, 1.0, torch.ones(3)), "Pairs.weight must be a tensor, not float"),  # type: ignore[arg-type]
        (lambda i: Pairs(i, i, torch.ones(3), i), "Pairs.box_weight must hold floats, not int64"),
        (lambda i: Pairs([0], i, torch.ones(3), torch.ones(3)), "Pairs.object must be a tensor, not list"),  # type: ignore[arg-type]
        (lambda _: Normalisers(5, 5, 5), "Normalisers.positive must be a tensor, not int"),  # type: ignore[arg-type]
        (lambda _: Normalisers(ONE, ONE, ONE), r"Normalisers.positive must have shape \[\], not \[1\]"),
        (lambda _: Cost(1.0), "Cost.total must be a tensor, not float"),  # type: ignore[arg-type]
        (lambda _: Head(size=-3.0), "size and ratios of priors must be positive"),
        (lambda _: Head(ratios=(0.0, 1.0)), "size and ratios of priors must be positive"),
        (lambda _: Head(class_prior=0.0), "class_prior must lie between 0 and 1"),
        (lambda _: Head(make=3), "make must make a network, which 3 cannot do"),  # type: ignore[arg-type]
        (lambda _: Head(extras=(Centerness,)), r"extras must be objects of an Extra, as \(Centerness\(\),\)"),  # type: ignore[arg-type]
    ],
)
def test_an_argument(make: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(torch.arange(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, p: most_overlapping(t, p, 0), "k must be a whole number from 1 on, got 0"),
        (lambda t, p: most_overlapping(t, p, 3.0), "k must be a whole number from 1 on, got 3.0"),
        (lambda t, p: nearest_pairs(t, p, -1), "k must be a whole number from 1 on, got -1"),
        (lambda t, p: overlapping_pairs(t, p, 0.0), "least must be an IoU above 0 and at most 1, got 0.0"),
    ],
)
def test_a_number_of_the_vocabulary(call: Callable[[Targets, Priors], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(PROBLEM.targets, PROBLEM.priors)


def test_more_than_there_are_is_all() -> None:
    priors = pyramid_priors(anchor_head(), 64, 64)
    objects, _ = most_overlapping(PROBLEM.targets, priors, 10**20)
    assert torch.bincount(objects).tolist() == [len(priors)] * len(PROBLEM.targets)


def outputs(change: Callable[[RawOutputs], Any]) -> Predictions:
    return predictions_of(change(PROBLEM.raw), PROBLEM.head, PROBLEM.priors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: (raw.logits, raw.regression), "network must put out RawOutputs, not tuple"),
        (lambda raw: replace(raw, logits=raw.logits[:, 1:]), r"RawOutputs.logits must have shape \[any, 86, any\]"),
        (lambda raw: replace(raw, regression=raw.regression[..., :3]), r"RawOutputs.regression must have shape"),
        (lambda raw: replace(raw, priors=PROBLEM.priors.boxes), r"RawOutputs.priors must have shape \[2, 86, 4\]"),
        (lambda raw: replace(raw, extras={"foo": raw.logits}), "puts out the extras foo, asked for: none"),
    ],
)
def test_outputs_of_a_network_of_ones_own(change: Callable[[RawOutputs], Any], message: str) -> None:
    assert len(PROBLEM.priors) == 86
    with pytest.raises((TypeError, ValueError), match=message):
        outputs(change)


class Writing(Assigner):
    """Plain, after it has written to what it is told."""

    head = Head()
    what = ""

    def forward(self, targets: Targets, priors: Priors, predictions: Predictions, view: PairViews) -> Assignment:
        del view
        answer = assign(Plain(self.setting), PROBLEM.view())
        match self.what:
            case "boxes of the priors":
                priors.boxes.mul_(0.5)
            case "boxes of the targets":
                targets.boxes.mul_(0.5)
            case "labels of the targets":
                targets.labels.zero_()
            case "boxes of the predictions":
                predictions.boxes.detach().mul_(0.5)
            case "outputs of the predictions":
                predictions.outputs.detach().zero_()
        return answer


@pytest.mark.parametrize(
    "what",
    [
        "boxes of the priors",
        "boxes of the targets",
        "labels of the targets",
        "boxes of the predictions",
        "outputs of the predictions",
    ],
)
def test_what_is_told_is_for_reading(what: str) -> None:
    strategy = Writing(Setting(classes=2))
    strategy.what = what
    problem = PROBLEM.changed(torch.clone)
    with pytest.raises(ValueError, match=f"Writing.forward changed the {what}"):
        assign(strategy, problem.view())


class Meddling(Extra):
    """An extra output whose loss writes to the view."""

    name = "meddling"  # type: ignore[misc]

    def loss(self, assignment: Assignment, view: PairViews) -> None:
        view(assignment.pairs.object, assignment.pairs.location).box_part.detach().mul_(0)


class Wordy(Extra):
    """An extra output whose loss is no `Cost`."""

    name = "wordy"  # type: ignore[misc]

    def loss(self, assignment: Assignment, view: PairViews) -> Any:
        return view.predictions.outputs.sum()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (Meddling(), "view.box_part was changed"),
        (Wordy(), "the loss of the extra output 'wordy' must be a Cost or None, not Tensor"),
    ],
)
def test_a_loss_of_an_extra(extra: Extra, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        objective(record(), PROBLEM.view(), (extra,))


def test_a_quantity_cannot_be_put_in_before_it_is_computed() -> None:
    view, decided = PROBLEM.view(), record()
    pair: PairView = view(decided.pairs.object, decided.pairs.location)
    pair.__dict__["box_part"] = torch.zeros(len(pair))
    with pytest.raises(ValueError, match=r"view\.box_part was changed"):
        objective(decided, view, ())


def test_an_extra_output_that_there_is_not() -> None:
    decided = record()
    with pytest.raises(ValueError, match="the head has no extra output 'iou'; it has: none"):
        PROBLEM.view()(decided.pairs.object, decided.pairs.location).extra_logit("iou")


class Bare(Assigner):
    """Forgets the constructor of its parent."""

    head = Head()

    def __init__(self, setting: Setting) -> None:
        self.__dict__["kept"] = setting

    @staticmethod
    def forward(targets: Targets) -> Assignment:  # type: ignore[override]
        raise NotImplementedError


def test_a_class_that_is_no_strategy() -> None:
    with pytest.raises(UsageError, match=r"Bare must call super\(\).__init__\(setting\)"):
        construct(Bare, {}, Setting(classes=2))
    with pytest.raises(TypeError, match=r"Bare\.forward must be a plain method"):
        asks_for(Bare)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, r"FCOS.learned\(\) must map names to tensors, not be NoneType"),
        ({"x": torch.zeros(2, 2)}, r"FCOS.learned\(\)\['x'\] must have shape \[any\], not \[2, 2\]"),
        ({"x": torch.tensor([float("nan")])}, r"FCOS.learned\(\)\['x'\] is not finite"),
    ],
)
def test_what_was_learned(monkeypatch: pytest.MonkeyPatch, told: object, message: str) -> None:
    monkeypatch.setattr(FCOS, "learned", lambda self: told)
    with pytest.raises(ValueError, match=message):
        learned_by(FCOS(Setting(classes=2)))
