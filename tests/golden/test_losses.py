"""A race of the reference is settled, and nothing else is: contested entries only, to what a claimant says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from assignbench.core import Assignment, Discounts
from assignbench.errors import DataError
from assignbench.golden.losses import replay_losses, run, undo_race
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import Tensors, read_tensors, targets_of
from assignbench.golden.verify import Subject

# three objects of one class over each other, and one of another class; a second image with a pair
OBJECTS = (
    *((0, 0, (20.0, 16, 84, 72)), (0, 0, (36.0, 20, 100, 80)), (0, 0, (30.0, 28, 110, 60)), (0, 1, (10.0, 8, 120, 90))),
    *((1, 2, (30.0, 30, 90, 66)), (1, 2, (44.0, 26, 102, 70))),
)
Key = tuple[int, int, int]
AUTOASSIGN = origin_of("autoassign")


def entries(discounts: Discounts) -> dict[Key, float]:
    discounts = discounts.counted()
    keys = zip(discounts.image.tolist(), discounts.location.tolist(), discounts.label.tolist(), strict=True)
    return dict(zip(keys, discounts.factor.tolist(), strict=True))


def with_factors(record: Assignment, table: dict[Key, float]) -> Assignment:
    """The record with some factors replaced."""
    mine = entries(record.discounts) | table
    factor = torch.tensor([mine[key] for key in entries(record.discounts)])
    return replace(record, discounts=replace(record.discounts.counted(), factor=factor))


@pytest.fixture
def autoassign(subject: Callable[..., Subject]) -> Subject:
    return subject("autoassign")


def read(path: Path) -> Tensors:
    return read_tensors(path, torch.device("cpu"))


def replayed(path: Path, subject: Subject, **options: object) -> tuple[dict[str, bool], list[str]]:
    checks, notes = replay_losses(read(path), subject.cls, {**subject.options, **options}, subject.protocol, AUTOASSIGN)
    return {check.group: check.passed for check in checks}, notes


def ours(path: Path, subject: Subject, backwards: bool = False) -> dict[Key, float]:
    """Our factors of a file's problem; ``backwards``: with the objects of each image listed the other way round."""
    file = read(path)

    def turned(name: str) -> list[Tensor]:
        return [file[f"{name}.{image}"].flip(0) if backwards else file[f"{name}.{image}"] for image in range(2)]

    targets = targets_of(turned("boxes"), turned("labels"))
    return entries(run(file, subject.cls, subject.options, subject.protocol, AUTOASSIGN, targets).assignment.discounts)


@pytest.fixture
def contested(write, autoassign: Subject) -> dict[Key, float]:
    """Entries for which it matters who is listed last → what the first claimant says."""
    plain = write.losses("autoassign", "plain", objects=OBJECTS)
    forth, back = ours(plain, autoassign), ours(plain, autoassign, backwards=True)
    assert forth.keys() == back.keys()
    return {key: back[key] for key in forth if back[key] != forth[key]}


def test_a_race_is_settled_and_said(write, autoassign: Subject, contested: dict[Key, float]) -> None:
    assert 20 < len(contested) < len(ours(write.folder / "losses/autoassign/plain.safetensors", autoassign))
    raced = dict(list(contested.items())[::3])
    path = write.losses("autoassign", "raced", objects=OBJECTS, change=lambda record: with_factors(record, raced))
    passed, notes = replayed(path, autoassign)
    assert passed == {"losses": True, "gradients": True}
    assert len(notes) == 1
    # an entry whose two claims are all but equal may stay as it is
    assert 0.9 * len(raced) <= int(notes[0].split()[0]) <= len(raced)
    assert "decided by another object than the last" in notes[0]


def test_only_contested_entries_change_and_only_to_what_an_object_says(
    write, autoassign: Subject, contested: dict[Key, float]
) -> None:
    """Even if the golden gradient asks for more: here every entry was changed, a little beyond what objects say."""

    def everything(record: Assignment) -> Assignment:
        beyond = {key: 0.99 * value for key, value in (entries(record.discounts) | contested).items()}
        return with_factors(record, beyond)

    path = write.losses("autoassign", "wild", objects=OBJECTS, change=everything)
    file = read(path)
    targets = targets_of([file["boxes.0"], file["boxes.1"]], [file["labels.0"], file["labels.1"]])
    arguments = (file, autoassign.cls, autoassign.options, autoassign.protocol, AUTOASSIGN, targets)
    own = run(*arguments)
    before, after = entries(own.assignment.discounts), entries(undo_race(*arguments, own)[0].assignment.discounts)
    moved = {key for key in before if before[key] != after[key]}
    assert moved
    three_claims = {key for key in before if key[0] == 0 and key[2] == 0}
    assert moved <= set(contested) | three_claims
    for key in moved - three_claims:  # two claimants: the other one's word
        assert after[key] == contested[key]
    passed, notes = replayed(path, autoassign)
    assert passed == {"losses": False, "gradients": False}
    assert notes == []


@pytest.mark.parametrize("where", ["contested", "undisputed"])
def test_a_value_that_no_object_claims_fails(
    write, autoassign: Subject, contested: dict[Key, float], where: str
) -> None:
    def change(record: Assignment) -> Assignment:
        mine = entries(record.discounts)
        inside = contested if where == "contested" else mine.keys() - contested.keys()
        strongest = max(inside, key=lambda key: mine[key])
        return with_factors(record, {strongest: mine[strongest] / 2})

    passed, notes = replayed(write.losses("autoassign", where, objects=OBJECTS, change=change), autoassign)
    assert not all(passed.values())
    assert notes == []


@pytest.mark.parametrize(
    "options", [{"tau": 0.3}, {"same_class": "strongest"}, {"center_loss": 0.7}, {"detach_weights": True}]
)
def test_settling_does_not_hide_another_change(
    write, autoassign: Subject, contested: dict[Key, float], options: dict[str, object]
) -> None:
    raced = dict(list(contested.items())[::3])
    path = write.losses("autoassign", "raced", objects=OBJECTS, change=lambda record: with_factors(record, raced))
    for file in (path, write.folder / "losses/autoassign/plain.safetensors"):
        passed, notes = replayed(file, autoassign, **options)
        assert not all(passed.values()), file
        assert notes == []


def test_a_strategy_without_a_race_has_nothing_to_settle(write, subject: Callable[..., Subject]) -> None:
    atss = subject("atss")
    path = write.losses("atss", objects=OBJECTS)
    passed, notes = replayed(path, atss, k=5)
    assert not passed["losses"]
    assert notes == []


def test_mmdetections_own_race(shared: Path, autoassign: Subject) -> None:
    """Its crowded case was written by several threads; without settling it does not pass."""
    file = read(shared / "losses" / "autoassign" / "crowded.safetensors")
    targets = targets_of([file["boxes.0"], file["boxes.1"]], [file["labels.0"], file["labels.1"]])
    own = run(file, autoassign.cls, autoassign.options, autoassign.protocol, AUTOASSIGN, targets)
    settled, count = undo_race(file, autoassign.cls, autoassign.options, autoassign.protocol, AUTOASSIGN, targets, own)
    before, after = own.assignment.discounts.counted(), settled.assignment.discounts
    assert 0 < count == int((before.factor != after.factor).sum()) < 0.05 * len(before)


def test_terms_that_are_not_ours_are_refused(write, subject: Callable[..., Subject]) -> None:
    path = write.losses("atss")
    file = read(path)
    atss = subject("atss")
    for changed, message in (
        ({**file.tensors, "loss.dfl": torch.ones(1)}, "loss terms .* do not fit ours .*: dfl"),
        ({name: one for name, one in file.tensors.items() if name != "loss.bbox"}, "do not fit ours .*: box"),
    ):
        with pytest.raises(DataError, match=message):
            replay_losses(replace(file, tensors=changed), atss.cls, atss.options, atss.protocol, origin_of("atss"))
