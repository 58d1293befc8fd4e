"""Each law catches a strategy that breaks it: one planted fault a law."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assignbench.contract.laws import LAWS, check, trials
from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Head,
    Normalisers,
    PairView,
    PairViews,
    Predictions,
    Priors,
    Reasons,
    Setting,
    Targets,
    area,
    hard_assignment,
    inside_pairs,
    sum_by,
)
from assignbench.core.parts import PairLoss, Preset, RawOutputs
from assignbench.detector.networks import head_network
from assigners.atss import ATSS
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


def explaining(answer: Callable[[Tensor, Tensor], object]) -> type[Assigner]:
    """`Plain`, with reasons of its own, given its candidates."""

    def explain(self: Any, priors: Priors, targets: Targets) -> object:
        return answer(*inside_pairs(targets, priors))

    return strategy(lambda record, *_: record, explain=explain)


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


class Hiding(Assigner):
    """Keeps what it learns where torch does not look."""

    head = Plain.head
    source = "none"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.plain = Plain(setting)
        self.scales = [nn.Parameter(torch.ones(()))]
        self.networks = {"x": nn.Linear(1, 1)}

    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        record = self.plain(priors, targets)
        return replace(record, pairs=replace(record.pairs, weight=record.pairs.weight * self.scales[0]))


class Constant(Overwriting):
    """Puts a constant in the place of the likelihood."""

    def shown(self, pair: PairView) -> torch.Tensor:
        pair.__dict__["likelihood"] = torch.full((len(pair),), 0.5)
        return pair.likelihood


class Idle(nn.Module):
    """A network for a head, with a layer that nobody asks."""

    def __init__(self, head: Head, classes: int, channels: int, depth: int) -> None:
        super().__init__()
        self.outputs = nn.Conv2d(channels, classes, 1)
        self.boxes = nn.Conv2d(channels, self.width(head), 1)
        self.spare = nn.Conv2d(1, 1, 1)

    def width(self, head: Head) -> int:
        return head.coding.outputs

    def forward(self, pyramid: tuple[torch.Tensor, ...], priors: Priors) -> RawOutputs:
        logits, boxes = (
            torch.cat([layer(level).flatten(2).transpose(1, 2) for level in pyramid], dim=1)
            for layer in (self.outputs, self.boxes)
        )
        return RawOutputs(logits, boxes, {})


class Narrow(Idle):
    """Puts out three numbers for a box."""

    def width(self, head: Head) -> int:
        return 3


class Hidden(Idle):
    """Keeps a layer in a list."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hidden = [self.spare]
        del self.spare


class NoNetwork(nn.Module):
    """Cannot be built."""

    def __init__(self, *_: Any) -> None:
        raise RuntimeError("no network")


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


def loss_by_images(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    return replace(record, losses={"own": torch.tensor(float(targets.images))})


def pairs_by_images(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    kept = record.pairs.object >= 0 if targets.images > 1 else record.pairs.location != 245
    return hard_assignment(record.pairs.object[kept], record.pairs.location[kept], targets)


def pair_in_padding(record: Assignment, _: Predictions, priors: Priors, targets: Targets) -> Assignment:
    """The last location of the padding teaches the first object of its image."""
    outside = torch.zeros(0, 2) if priors.inside is None else (~priors.inside).nonzero()
    if not len(outside) or not len(targets):
        return record
    image, location = outside[-1]
    first = (targets.image == image).nonzero()[:1, 0]
    pairs = record.pairs
    return hard_assignment(torch.cat((pairs.object, first)), torch.cat((pairs.location, location[None])), targets)


def bags_of_nine(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    pairs = record.pairs
    weight = 9 / torch.bincount(pairs.object, minlength=len(targets))[pairs.object]
    return replace(record, pairs=replace(pairs, weight=weight), bag="any")


def soft_quality(record: Assignment, predictions: Predictions, *_: Any) -> Assignment:
    quality = predictions.outputs.sigmoid()[0, :, 0].mean().expand(len(record.pairs))
    return replace(record, pairs=replace(record.pairs, quality=quality))


def soft_factor(record: Assignment, predictions: Predictions, *_: Any) -> Assignment:
    factor = predictions.outputs.sigmoid()[0, :, 0].mean().expand(len(record.discounts))
    return replace(record, discounts=replace(record.discounts, factor=factor))


def noisy_discounts(record: Assignment, *_: Any) -> Assignment:
    return replace(record, discounts=replace(record.discounts, weight=torch.rand(len(record.discounts))))


def noisy_normaliser(record: Assignment, *_: Any) -> Assignment:
    """By less than what rounding may do."""
    box = record.normalisers.box * (1 + 1e-5 * torch.rand(()))
    return replace(record, normalisers=replace(record.normalisers, box=box))


def noisy_loss(record: Assignment, *_: Any) -> Assignment:
    return replace(record, losses={"own": torch.rand(())})


def weight_by_mean_likelihood(record: Assignment, predictions: Predictions, _: Priors, targets: Targets) -> Assignment:
    """Of the batch; at the start of training all scores are so low that nothing comes of it."""
    image, location = targets.image[record.pairs.object], record.pairs.location
    score = predictions.logits.detach()[image, location].amax(-1).sigmoid()
    return replace(record, pairs=replace(record.pairs, weight=score / score.mean().clamp(min=0.5)))


def weight_by_crowds(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    weight = record.pairs.weight / (1 + len(targets.ignore.boxes))
    return replace(record, pairs=replace(record.pairs, weight=weight))


def weight_by_ends(record: Assignment, _p: Predictions, priors: Priors, _t: Targets) -> Assignment:
    apart = priors.extent is not None and len(priors.extent.unique(dim=0)) > 1
    return replace(record, pairs=replace(record.pairs, weight=record.pairs.weight * (0.5 if apart else 1.0)))


def unpaired_by_images(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    unpaired = torch.tensor(float(targets.images**2))
    return replace(record, normalisers=replace(record.normalisers, unpaired=unpaired))


def mean_over_objects(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    """Of one process: of two, whose shares of objects differ, the mean is another one."""
    return replace(record, losses={"own": area(targets.boxes).sum() / max(len(targets), 1)})


def overwrite_inside(record: Assignment, _p: Predictions, priors: Priors, _t: Targets) -> Assignment:
    if priors.inside is not None:
        taught = priors.inside
        taught &= priors.level < 2
    return record


def overwrite_crowd(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    targets.ignore.boxes.data.mul_(0)
    return record


def overwrite_labels(record: Assignment, _p: Predictions, _q: Priors, targets: Targets) -> Assignment:
    targets.labels.numpy()[:] = 0
    return record


def switch_gradients_off(record: Assignment, *_: Any) -> Assignment:
    torch.set_grad_enabled(False)
    return record


class Levels(Overwriting):
    """What it has learned is a number for each level."""

    def forward(self, priors: Priors, targets: Targets) -> Assignment:  # type: ignore[override]
        return self.plain(priors, targets)

    def learned(self) -> dict[str, torch.Tensor]:
        return {"scale": torch.ones(5)}


class Mixing(nn.Module):
    """Convolutions whose output depends on the mean of the batch."""

    def __init__(self, head: Head, classes: int, channels: int, depth: int) -> None:
        super().__init__()
        self.own = head_network(replace(head, make=None), classes, channels, depth, deformable=False)

    def forward(self, pyramid: tuple[torch.Tensor, ...], priors: Priors) -> RawOutputs:
        raw = self.own(pyramid)
        return replace(raw, logits=raw.logits + raw.logits.mean(0, keepdim=True))


def networked(make: Any) -> type[Assigner]:
    """`Plain`, with a network of its own for the head."""
    return strategy(unchanged, head=Head(make=make))


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
        "self.scales[0], self.networks['x']: no optimizer sees it": Hiding,
        "Levels.learned()['scale'] must hold one number, or one for each of 3 classes, not 5": Levels,
    },
    "well-formed record": {
        "Discounts must not hold an entry twice, as image 0, location ": strategy(discount_twice),
        "Pairs.weight must sum to 1 in a bag, but that of image 2, object 4 sums to 9": strategy(bags_of_nine),
        "Pairs.weight must be float32 as the network's outputs are, not float64": strategy(
            reweighted(lambda record, _: record.pairs.weight.double())
        ),
        "Pairs.weight must be finite and at least 0, but that of image 0, object 2, location ": strategy(
            reweighted(lambda record, _: (record.pairs.object != 2).float() - 0.5)
        ),
        "raises ValueError: Pairs.quality must not carry gradient": strategy(soft_quality),
        "raises ValueError: Discounts.factor must not carry gradient": strategy(soft_factor),
    },
    "batch = one by one": {
        "Pairs.weight of image 0 differs, for object 0 at location 245: 0.25 and 1": strategy(
            reweighted(lambda record, targets: record.pairs.weight / targets.images)
        ),
        "normaliser negative of a batch and of its images differ": strategy(divided_by_images),
        "Discounts.weight of image 0 differs, for location 30 and class 2: 0.25 and 1": strategy(discounts_by_images),
        "losses are {'own'}, then set()": strategy(split_by_images),
        "the sum of loss own of a batch and of its images differ: 16 and 4": strategy(loss_by_images),
        "the sum of loss own of a batch and of its images differ": strategy(mean_over_objects),
        "Pairs.weight of image 0 differs, for object 0 at location 245: ": strategy(weight_by_mean_likelihood),
        "Pairs.weight of image 2 differs, for object 3 at location 83: 0.5 and 1": strategy(weight_by_crowds),
        "Pairs.weight of image 0 differs, for object 0 at location 32: 0.5 and 1": strategy(weight_by_ends),
        "normaliser unpaired of a batch and of its images differ": strategy(unpaired_by_images),
        "Pairs of image 0 differ: object 0 at location 245 is there, then not": strategy(pairs_by_images),
    },
    "order does not matter": {
        "Pairs.weight of image 0 differs": strategy(
            reweighted(lambda record, _: 1 / (1 + record.pairs.object.float()))
        ),
        "loss main.own and the same with objects in another order differ": strategy(loss_by_order),
        "raises ValueError: view.likelihood was changed": Constant,
    },
    "padding changes nothing": {
        "Pairs.weight of image 0 differs": strategy(canvas),
        "the pair of object 0 and location 855 lies in the padding": strategy(pair_in_padding),
        "loss main.own and the same in a larger canvas differ": strategy(loss_by_canvas),
    },
    "same progress, same record": {"Pairs.weight of image 0 differs": Counting},
    "empty is fine": {"raises IndexError": strategy(crash_without_objects)},
    "hard objects": {"loss main.class is nan": strategy(weight_of_small)},
    "extreme predictions": {"loss main.class is nan": strategy(weight_of_extremes)},
    "small images": {"raises RuntimeError: selected index k out of range": strategy(crash_on_few_locations)},
    "deterministic": {
        "two calls differ in Pairs.weight": strategy(noise),
        "two calls differ in Discounts.weight": strategy(noisy_discounts),
        "two calls differ in Normalisers.box": strategy(noisy_normaliser),
        "two calls differ in losses['own']": strategy(noisy_loss),
    },
    "inputs untouched": {
        "Faulty.forward changed the regression": strategy(overwrite),
        "view.box_part was changed": Overwriting,
        "view.likelihood was changed": Likely,
        "Faulty.forward changed the inside of the priors": strategy(overwrite_inside),
        "Faulty.forward changed the ignore.boxes of the targets": strategy(overwrite_crowd),
        "Faulty.forward changed the labels of the targets": strategy(overwrite_labels),
        "Faulty.forward leaves torch changed by torch.set_grad_enabled": strategy(switch_gradients_off),
    },
    "padding and crowds": {
        "the pair of object 3 and location 427, in image 1, lies in the padding": strategy(pair_in_padding)
    },
    "network learns": {
        "raises RuntimeError: no network": networked(NoNetwork),
        "raises ValueError: RawOutputs.regression must have shape [3, 428, 4], not [3, 428, 3]": networked(Narrow),
        "parameter main.spare.weight of the head's network has no gradient": networked(Idle),
        "logits of branch main differ for image 0, in a batch and alone": networked(Mixing),
        "main.hidden[0] of the head's network: no optimizer sees it": networked(Hidden),
    },
    "explains its record": {
        "Faulty.explain names a pair twice": explaining(
            lambda *pairs: Reasons("", *(each.repeat(2) for each in pairs))
        ),
        "the pair of object 0 and location": explaining(lambda *pairs: Reasons("", *(each[:0] for each in pairs))),
        "raises TypeError: Faulty.explain must return Reasons, not dict": explaining(lambda *_: {}),
        "raises ValueError: Reasons.by_object['size'] must have shape [7], not [1]": explaining(
            lambda *pairs: Reasons("", *pairs, by_object={"size": torch.ones(1)})
        ),
    },
}


def test_the_unchanged_strategy_keeps_every_law() -> None:
    assert [result for result in check(strategy(unchanged)) if not result.passed] == []


@pytest.mark.parametrize(("law", "said"), [(law, said) for law, faults in FAULTS.items() for said in faults])
def test_a_planted_fault_breaks_its_law(law: str, said: str) -> None:
    broken = {result.name: result.message for result in check(FAULTS[law][said]) if not result.passed}
    assert broken[law].startswith(said)


def test_every_law_has_a_planted_fault() -> None:
    assert set(LAWS) == set(FAULTS)


def test_the_table_of_the_documentation_is_these_laws() -> None:
    text = (Path(__file__).parents[2] / "docs" / "extend" / "laws.md").read_text(encoding="utf-8")
    table = text.partition("| law | what it says |")[2].partition("\n\n")[0]
    told = dict(re.findall(r"^\| ([^|`]+?) \| .*? \| `([^`|]+)` \|$", table, flags=re.MULTILINE))
    assert list(told) == list(LAWS)
    assert {law: said for law, said in told.items() if said not in FAULTS[law]} == {}


def test_padding_and_crowds_as_background_are_not_the_strategies_business(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert broken.keys() == {"declares itself"}
    assert broken["declares itself"].startswith("option k says no type: write k: int = … (")
    broken = {result.name: result.message for result in check(strategy(unchanged, presets=())) if not result.passed}
    assert broken.keys() == {"declares itself"}


class Reading(Assigner):
    """`Plain`, weighed by what a layer of its own reads off the pyramid."""

    head = Plain.head
    source = "none"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.read = nn.Conv2d(setting.channels, 1, 3, padding=1)

    def forward(self, priors: Priors, targets: Targets, predictions: Predictions) -> Assignment:
        pairs = Plain(self.setting)(priors, targets).pairs
        score = torch.cat([self.read(level).flatten(1) for level in predictions.pyramid], dim=1).sigmoid()
        weight = score[targets.image[pairs.object], pairs.location]
        record = hard_assignment(pairs.object, pairs.location, targets)
        return replace(record, pairs=replace(pairs, weight=weight))


def test_a_strategy_that_reads_the_pyramid_is_told_one() -> None:
    assert [result for result in check(Reading) if not result.passed] == []


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3)])
def test_a_constructor_that_raises_is_one_law(error: BaseException) -> None:
    class Broken(Late):
        def __init__(self, setting: Setting, *, sure: bool = False) -> None:
            super().__init__(setting)
            if not sure:
                raise error

        presets = {
            "fine": Preset("none", Head(), PairLoss(), options={"sure": True}),
            "odd": Preset("none", Head(), PairLoss()),
        }

    results = check(Broken)
    broken = {result.name: result.message for result in results if result.name.startswith("is built")}
    assert broken.keys() == {"is built", "is built (odd)"}
    assert re.fullmatch(rf"raises {type(error).__name__}: {error} \(.*test_laws\.py:\d+\)", broken["is built"])
    assert {result.name for result in results if result.name.endswith("(fine)")} >= {"deterministic (fine)"}


def test_a_rule_that_ends_the_program_breaks_laws() -> None:
    def leave(*_: Any) -> Assignment:
        raise SystemExit(3)

    broken = [result.message for result in check(strategy(leave)) if not result.passed]
    assert re.match(r"raises SystemExit: 3 \(.*test_laws\.py:\d+\)", broken[0])


def test_protocols_and_presets_are_tried_alone() -> None:
    def suffixes(**wanted: Any) -> list[str]:
        return sorted({trial.name.partition(" (")[2].rstrip(")") for trial in trials(ATSS, **wanted)})

    presets = sorted(ATSS.presets)
    assert suffixes() == ["", *presets]
    assert suffixes(protocol="controlled") == suffixes(options={"k": 3}) == [""]
    assert suffixes(protocol="published") == presets
    assert suffixes(protocol="published", preset="mmdet", options={"k": 3}) == ["mmdet"]
    (trial,) = [one for one in trials(ATSS, {"k": 3}, (), "published", "mmdet") if "deterministic" in one.name]
    assert (trial.subject.build().k, trial.subject.loss) == (3, ATSS.presets["mmdet"].loss)
    assert trial.subject.case((1,))[1].head == replace(ATSS.presets["mmdet"].head, extras=ATSS.head.extras)
