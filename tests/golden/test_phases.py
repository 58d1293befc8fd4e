"""A trajectory of several phases of training: each is replayed as far on as it says, and none is passed over."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from assignbench.errors import DataError
from assignbench.golden import trajectory
from assignbench.golden.checks import Check
from assignbench.golden.reference import origin_of
from assignbench.golden.trajectory import replay_trajectory, steps
from assignbench.golden.vectors import targets_of
from assignbench.golden.verify import Subject
from assignbench.run.training.learner import Learner, build_learner

BOXES = [[[10.0, 12, 40, 50], [30.0, 30, 60, 44]], [[5.0, 8, 58, 60]]]
LABELS = [[0, 2], [1]]
IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
TOOD = origin_of("tood")


@pytest.fixture
def build(subject: Callable[..., Subject]) -> Callable[[], Learner]:
    one = subject("tal")

    def learner() -> Learner:
        return build_learner(
            one.cls,
            one.options,
            one.recipe.recipe.model,
            classes=3,
            seed=0,
            protocol=one.protocol,
            pretrained=False,
        )

    return learner


@pytest.fixture
def content(build: Callable[[], Learner]) -> dict[str, object]:
    targets = targets_of([torch.tensor(one) for one in BOXES], [torch.tensor(one) for one in LABELS])
    found: dict[str, object] = {"boxes": BOXES, "labels": LABELS}
    for key, progress in (("steps", 1.0), ("initial_steps", 0.0)):
        each = steps(build(), IMAGE, targets, [["cls", "bbox"]] * 2, "here", TOOD, progress)
        found[key] = [{name: loss.item() for name, loss in step.items()} for step in each]
    return found


def failed(content: dict[str, object], build: Callable[[], Learner]) -> list[Check]:
    checks, _ = replay_trajectory(content, Path("here.json"), IMAGE, build, TOOD)
    assert {check.group for check in checks} >= {"first step", "later steps"}
    return [check for check in checks if not check.passed]


def test_both_phases_pass(content: dict[str, object], build: Callable[[], Learner]) -> None:
    assert failed(content, build) == []


@pytest.mark.parametrize("key", ["steps", "initial_steps"])
def test_each_phase_is_looked_at(content: dict[str, object], build: Callable[[], Learner], key: str) -> None:
    both = content[key]
    assert isinstance(both, list)
    both[0]["cls"] *= 1.001
    (check,) = failed(content, build)
    assert check.group == "first step"
    assert check.worst.name == ("cls, step 1" if key == "steps" else "initial, cls, step 1")


def test_a_phase_is_replayed_as_far_on_as_it_is(
    content: dict[str, object], build: Callable[[], Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectory, "STARTS", 1)
    (check,) = [
        one for one in failed({**content, "initial_steps": content["steps"]}, build) if one.group == "first step"
    ]
    assert check.worst.name.startswith("initial, ")


def test_a_phase_that_nobody_knows_is_named(content: dict[str, object], build: Callable[[], Learner]) -> None:
    with pytest.raises(DataError, match=r"here\.json holds last_steps, a phase of training that the strategy does not"):
        failed({**content, "last_steps": content["steps"]}, build)
