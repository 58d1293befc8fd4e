"""Each law catches a strategy that breaks it: one planted fault a law."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from assignbench.contract.laws import LAWS, check
from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Normalisers,
    PairView,
    PairViews,
    Predictions,
    Priors,
    Setting,
    Targets,
    sum_by,
)
from assigners.plain import Plain

Change = Callable[[Assignment, Predictions, Priors, Targets], Assignment]


def strategy(change: Change, **attributes: Any) -> type[Assigner]:
    """`Plain`, with its record changed."""

    def init(self: Assigner, setting: Setting) -> None:
        Assigner.__init__(self, setting)
        self.plain = Plain(setting)

    def forward(self: Any, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        return change(self.plain(priors, targets), predictions, priors, targets)

    body = {"__init__": init, "forward": forward, "head": Plain.head, "source": "none", **attributes}
    return type("Faulty", (Assigner,), body)


class Counting(Assigner):
    """Forgets nothing: its answer depends on how often it was asked."""

    head = Plain.head
    source = "none"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.plain, self.calls = Plain(setting), 0

    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        self.calls += 1
        record = self.plain(priors, targets)
        return replace(record, pairs=replace(record.pairs, weight=record.pairs.weight * self.calls))


class Overwriting(Assigner):
    """Halves what the objective is about to charge."""

    head = Plain.head
    source = "none"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.plain = Plain(setting)

    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        record = self.plain(priors, targets)
        with torch.no_grad():
            self.shown(view(record.pairs.object, record.pairs.location)).mul_(0.5)
        return record

    def shown(self, pair: PairView) -> torch.Tensor:
        return pair.box_part


class Likely(Overwriting):
    """Halves what its bags are made of."""

    def shown(self, pair: PairView) -> torch.Tensor:
        return pair.likelihood


class Asking(Overwriting):
    """Asks for what there is not."""

    def forward(self, priors: Priors, targets: Targets, preds: Predictions) -> Assignment:  # type: ignore[override]
        return self.plain(priors, targets)


def unchanged(record: Assignment, *_: Any) -> Assignment:
    return record


def reweighted(weight: Callable[[Assignment, Targets], torch.Tensor]) -> Change:
    def change(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
        return replace(record, pairs=replace(record.pairs, weight=weight(record, targets)))

    return change


def discount_twice(record: Assignment, *_: Any) -> Assignment:
    old = record.discounts
    parts = (old.image, old.location, old.label, old.factor, torch.ones_like(old.factor))
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


def canvas(record: Assignment, _p: Predictions, priors: Priors, _t: Targets) -> Assignment:
    """The mean over all locations, those of the padding among them."""
    weight = record.pairs.weight * priors.points[:, 0].mean()
    return replace(record, pairs=replace(record.pairs, weight=weight))


def loss_by_canvas(record: Assignment, _p: Predictions, priors: Priors, _t: Targets) -> Assignment:
    return replace(record, losses={"own": torch.tensor(float(len(priors)))})


def divided_by_images(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    own = record.normalisers
    return replace(record, normalisers=replace(own, negative=own.negative / targets.images))


def discounts_by_images(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    old = record.discounts
    weight = torch.full_like(old.factor, 1 / targets.images)
    return replace(record, discounts=replace(old, weight=weight))


def loss_by_order(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    number = torch.arange(len(targets), dtype=torch.float32)
    return replace(record, losses={"own": (number * targets.boxes[:, 0]).sum()})


def split_by_images(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    weight = sum_by(torch.ones_like(record.pairs.weight), targets.image[record.pairs.object], targets.images)
    return replace(record, losses={"own": weight.sum()} if targets.images > 1 else {})


# law → strategies that break it, each in its own way, and what is said of them
FAULTS: dict[str, dict[str, type[Assigner]]] = {
    "declares itself": {
        "head is not a Head": strategy(unchanged, head=None),
        "Asking.forward asks for 'preds'": Asking,
    },
    "well-formed record": {"Discounts must not hold an entry twice": strategy(discount_twice)},
    "batch = one by one": {
        "the pairs of image 0": strategy(reweighted(lambda record, targets: record.pairs.weight / targets.images)),
        "normaliser negative of a batch and of its images differ": strategy(divided_by_images),
        "the discounts of image 0 differ": strategy(discounts_by_images),
        "losses are {'own'}, then set()": strategy(split_by_images),
    },
    "order does not matter": {
        "the pairs of image 0 differ": strategy(reweighted(lambda record, _: 1 / (1 + record.pairs.object.float()))),
        "loss main.own and the same with objects in another order differ": strategy(loss_by_order),
    },
    "padding changes nothing": {
        "the pairs of image 0 differ": strategy(canvas),
        "loss main.own and the same in a larger canvas differ": strategy(loss_by_canvas),
    },
    "same progress, same record": {"the pairs of image 0 differ": Counting},
    "empty is fine": {"raises IndexError": strategy(crash_without_objects)},
    "hard objects": {"loss main.class is nan": strategy(weight_of_small)},
    "extreme predictions": {"loss main.class is nan": strategy(weight_of_extremes)},
    "small images": {"raises RuntimeError: selected index k out of range": strategy(crash_on_few_locations)},
    "deterministic": {"two calls differ": strategy(noise)},
    "inputs untouched": {
        "Faulty.forward changed the regression": strategy(overwrite),
        "view.box_part was changed": Overwriting,
        "view.likelihood was changed": Likely,
    },
}


def test_the_unchanged_strategy_keeps_every_law() -> None:
    assert [result for result in check(strategy(unchanged)) if not result.passed] == []


@pytest.mark.parametrize(("law", "said"), [(law, said) for law, faults in FAULTS.items() for said in faults])
def test_a_planted_fault_breaks_its_law(law: str, said: str) -> None:
    broken = {result.name: result.message for result in check(FAULTS[law][said]) if not result.passed}
    assert broken[law].startswith(said)


def test_every_law_has_a_planted_fault() -> None:
    assert set(LAWS) == {*FAULTS, "padding and crowds"}


def test_padding_and_crowds_are_not_the_strategies_business(monkeypatch: pytest.MonkeyPatch) -> None:
    # The rule lives in `assign_branches`; a strategy cannot break it, but leaving the rule out is caught.
    monkeypatch.setattr("assignbench.core.assigner.completed", lambda record, *_: record)
    broken = {result.name for result in check(Plain) if not result.passed}
    assert broken == {"padding and crowds", "padding changes nothing"}


class Late(Assigner):
    """`Plain`, with another divisor once a third of the training is over."""

    head = Plain.head
    source = "none"

    def forward(self, priors: Priors, targets: Targets, progress: float) -> Assignment:
        record = Plain(self.setting)(priors, targets)
        one = torch.tensor(1.0)
        return record if progress < 1 / 3 else replace(record, normalisers=Normalisers(one, one, one))


def test_laws_hold_all_along_training() -> None:
    broken = {result.name: result.message for result in check(Late) if not result.passed}
    assert broken.keys() == {"batch = one by one"}
    assert broken["batch = one by one"].startswith("at progress 0.7: normaliser positive of a batch and of its images")


def test_an_error_is_told_with_its_place() -> None:
    def wrong(record: Assignment, *_: Any) -> Assignment:
        return record.nothing  # type: ignore[attr-defined]

    messages = {result.message for result in check(strategy(wrong)) if not result.passed}
    assert len(messages) == 1
    assert re.search(r"no attribute 'nothing' \(.*test_laws\.py:\d+\)$", messages.pop())


class Untyped(Assigner):
    """`Plain`, with an option that says no type."""

    head = Plain.head
    source = "none"

    def __init__(self, setting: Setting, *, k=9) -> None:  # type: ignore[no-untyped-def]
        super().__init__(setting)
        self.k = k

    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        return Plain(self.setting)(priors, targets)


def test_an_option_needs_a_type_and_presets_a_name() -> None:
    broken = {result.name: result.message for result in check(Untyped) if not result.passed}
    assert broken == {"declares itself": "option k says no type: write k: int = …, or another one"}
    broken = {result.name: result.message for result in check(strategy(unchanged, presets=())) if not result.passed}
    assert broken.keys() == {"declares itself"}


def test_a_gradient_that_would_be_dropped_is_refused() -> None:
    def soft(record: Assignment, predictions: Predictions, *_: Any) -> Assignment:
        pairs = record.pairs
        quality = predictions.outputs.sigmoid()[0, :, 0].mean().expand(len(pairs))
        return replace(record, pairs=replace(pairs, quality=quality))

    broken = {result.name: result.message for result in check(strategy(soft)) if not result.passed}
    assert "Pairs.quality must not carry gradient" in broken["well-formed record"]
