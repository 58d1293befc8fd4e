"""Each law catches a strategy that breaks it: one planted fault a law."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from assignbench.contract import LAWS, check
from assignbench.core import Assigner, Assignment, Discounts, Predictions, Priors, Setting, Targets
from assigners.plain import Plain

Change = Callable[[Assignment, Predictions, Priors, Targets], Assignment]


def strategy(change: Change, **attributes: Any) -> type[Assigner]:
    """`Plain`, with its record changed."""

    def init(self: Assigner, setting: Setting) -> None:
        Assigner.__init__(self, setting)
        self.plain = Plain(setting)

    def forward(self: Any, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        return change(self.plain(predictions, priors, targets), predictions, priors, targets)

    body = {"__init__": init, "forward": forward, "head": Plain.head, "source": "none", **attributes}
    return type("Faulty", (Assigner,), body)


def unchanged(record: Assignment, *_: Any) -> Assignment:
    return record


def reweighted(weight: Callable[[Assignment, Targets], torch.Tensor]) -> Change:
    def change(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
        return replace(record, pairs=replace(record.pairs, weight=weight(record, targets)))

    return change


def discount_twice(record: Assignment, *_: Any) -> Assignment:
    old = record.discounts
    parts = (old.image, old.location, old.label, old.factor)
    return replace(record, discounts=Discounts(*(torch.cat((part, part)) for part in parts)))


def noise(record: Assignment, *_: Any) -> Assignment:
    weight = record.pairs.weight * torch.rand(len(record.pairs))
    return replace(record, pairs=replace(record.pairs, weight=weight))


def overwrite(record: Assignment, predictions: Predictions, *_: Any) -> Assignment:
    with torch.no_grad():
        predictions.regression.mul_(0.5)
    return record


def crash_without_objects(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    targets.boxes.amax(0)
    return record


def crash_on_few_locations(record: Assignment, predictions: Predictions, *_: Any) -> Assignment:
    predictions.logits[0, :, 0].topk(50)
    return record


def weight_of_extremes(record: Assignment, predictions: Predictions, _: Priors, targets: Targets) -> Assignment:
    pairs = record.pairs
    image = targets.image[pairs.object]
    p = predictions.logits[image, pairs.location, targets.labels[pairs.object]].sigmoid()
    return replace(record, pairs=replace(pairs, weight=(p / p.sum()).nan_to_num() + 1 / (1 - p) - 1 / (1 - p)))


def weight_of_small(record: Assignment, *_: Any) -> Assignment:
    pairs = record.pairs
    count = torch.bincount(pairs.object, minlength=int(pairs.object.max()) + 1 if len(pairs) else 0)
    share = (1 / count)[count > 0].mean() if len(pairs) else pairs.weight.sum()
    nothing = torch.tensor(0.0) / (count == 0).logical_not().all()
    return replace(record, pairs=replace(pairs, weight=pairs.weight * share + nothing))


def weight_of_predictions(record: Assignment, predictions: Predictions, *_: Any) -> Assignment:
    weight = predictions.boxes[0, record.pairs.location, 0].detach().abs()
    return replace(record, pairs=replace(record.pairs, weight=weight))


FAULTS: dict[str, type[Assigner]] = {
    "declares itself": strategy(unchanged, head=None),
    "well-formed record": strategy(discount_twice),
    "batch = one by one": strategy(reweighted(lambda record, targets: record.pairs.weight / targets.images)),
    "order does not matter": strategy(reweighted(lambda record, _: 1 / (1 + record.pairs.object.float()))),
    "empty is fine": strategy(crash_without_objects),
    "hard objects": strategy(weight_of_small),
    "extreme predictions": strategy(weight_of_extremes),
    "small images": strategy(crash_on_few_locations),
    "deterministic": strategy(noise),
    "inputs untouched": strategy(overwrite),
    "reads what it says": strategy(weight_of_predictions, reads_predictions=False),
}


def test_the_unchanged_strategy_keeps_every_law() -> None:
    assert [result for result in check(strategy(unchanged)) if not result.passed] == []


@pytest.mark.parametrize("law", FAULTS)
def test_a_planted_fault_breaks_its_law(law: str) -> None:
    broken = {result.name: result.message for result in check(FAULTS[law]) if not result.passed}
    assert law in broken
    assert broken[law]


def test_every_law_has_a_planted_fault() -> None:
    assert set(LAWS) == {*FAULTS, "padding and crowds"}


def test_padding_and_crowds_are_not_the_strategies_business(monkeypatch: pytest.MonkeyPatch) -> None:
    # The rule lives in `assign`; a strategy cannot break it, but leaving the rule out is caught.
    monkeypatch.setattr("assignbench.contract.assign", lambda assigner, *rest: assigner(*rest))
    broken = [result.name for result in check(Plain) if not result.passed]
    assert broken == ["padding and crowds"]
