"""Losses on the evaluation split: beside a training, without effect on it, and the same however they are computed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from assignbench.config import load_recipe
from assignbench.core import Targets
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import Stopped
from assignbench.plugins import known_strategies
from assignbench.recipe import TrainSettings
from assignbench.run.matrix.plan import candidate
from assignbench.run.results.json_lines import is_validation, read_rows
from assignbench.run.results.names import DETECTIONS, LOSSES, STATISTICS, WEIGHTS
from assignbench.run.results.record import RunRecord
from assignbench.run.training import train, validation
from assignbench.run.training.learner import Learner, build_learner
from assignbench.run.training.stopping import listening
from assignbench.run.training.train import validates, validations
from assignbench.run.training.undisturbed import evaluating
from assignbench.run.training.validation import validation_losses

Go = Callable[..., tuple[RunRecord, Path]]
ON = "train.validate_every=1"  # of 7 pictures, 2 a step: after the fourth and the last
STRATEGIES = [*(one.name for one in known_strategies()), "fcos+implicit_objectness"]
OFTEN = ("train.iterations=5", "train.checkpoint_every=3", ON)  # a checkpoint before, and one behind

RESTLESS = '''
import random
from dataclasses import replace

import torch

from assigners.plain import Plain


class Restless(Plain):
    """Draws numbers, and keeps a moving average, in evaluation too."""

    def __init__(self, setting):
        super().__init__(setting)
        random.seed(0)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, priors, targets):
        self.mean += 0.1 * (len(targets) + torch.rand(()) + random.random() - self.mean)
        record = super().forward(priors, targets)
        weight = record.pairs.weight * (1 + 0.1 * self.mean.clone())
        return replace(record, pairs=replace(record.pairs, weight=weight))
'''


def rows_of(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of training, and of validation."""
    rows = read_rows(folder / LOSSES)
    return [row for row in rows if not is_validation(row)], [row for row in rows if is_validation(row)]


@pytest.fixture(scope="module")
def restless(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("strategy") / "restless.py"
    file.write_text(RESTLESS)
    return f"{file}:Restless"


@pytest.mark.parametrize("strategy", ["autoassign", "metaanchor", "restless"])
def test_a_run_with_it_is_the_run_without(finished_run: Go, restless: str, strategy: str) -> None:
    """Parameters and draws of a strategy's own; and one whose buffer and draws evaluation would move."""
    name = restless if strategy == "restless" else strategy
    (_, bare), (record, folder) = (finished_run(name, "train.iterations=5", *more) for more in ((), (ON,)))
    assert bare.name == folder.name
    for file in (WEIGHTS, DETECTIONS, STATISTICS):
        assert (bare / file).read_bytes() == (folder / file).read_bytes(), file
    (alone, none), (beside, losses) = rows_of(bare), rows_of(folder)
    assert alone == beside
    assert not none
    assert [row["iteration"] for row in losses] == [4, 5]
    assert record.seconds.evaluation > 0


@pytest.fixture(scope="module")
def looked(few_pictures: Path) -> Callable[..., dict[str, float | None] | None]:
    """The losses of the evaluation split of `few_pictures`, by a learner and an ``evaluate.batch``."""
    splits = open_dataset(str(few_pictures), few_pictures.parent)

    def looked(learner: Learner, batch: int = 3, **changes: Any) -> dict[str, float | None] | None:
        changes = {"score_threshold": 0.005, **changes}
        recipe = load_recipe("tiny", ["data.short_side=64", "data.long_side=96", "data.workers=0"]).recipe
        settings = recipe.evaluate.model_copy(update={"batch": batch, **changes})
        return validation_losses(
            learner, splits.evaluation, Accelerator(cpu=True), data=recipe.data, settings=settings, progress=0.5
        )

    return looked


def learner_of(name: str, classes: int = 7) -> Learner:
    changes = ("model.backbone=miniature", "model.channels=32", "model.towers=1")
    one, model = candidate(name), load_recipe("tiny", changes).recipe.model
    return build_learner(
        one.cls, one.options, model, classes=classes, seed=0, protocol=one.protocol, extras=one.extras
    ).train()


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_judged_and_stays_as_it_was(looked: Callable[..., Any], name: str) -> None:
    """And neither the batch nor what comes before shows in the numbers."""
    learner = learner_of(name)
    state = {key: value.clone() for key, value in learner.state_dict().items()}
    modes = [module.training for module in learner.modules()]
    drawn = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    together, one_by_one = looked(learner, 5), looked(learner, 1)
    assert together == pytest.approx(one_by_one, rel=1e-4, abs=1e-6)
    assert all(value is not None and value >= 0 for value in together.values())
    assert {"common/class", "common/box", "common/background", "common/total", "validation/total"} <= together.keys()
    assert all(torch.equal(value, state[key]) for key, value in learner.state_dict().items())
    assert [module.training for module in learner.modules()] == modes
    assert random.getstate() == drawn[0]
    assert np.random.get_state()[1].tolist() == drawn[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), drawn[2])


@pytest.mark.parametrize("name", STRATEGIES)
def test_sums_of_pictures_are_what_one_batch_costs(name: str) -> None:
    """Divided once, as training divides a batch; one of the pictures is empty."""
    learner = learner_of(name).eval()
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (3, 3, 64, 96), generator=draw, dtype=torch.uint8)
    sizes = torch.tensor([[64, 96], [60, 90], [64, 96]])
    corner, side = (torch.rand(6, 2, generator=draw) * most for most in (30.0, 25.0))
    targets = Targets(
        boxes=torch.cat((corner, corner + side + 8), dim=1),
        labels=torch.arange(6),
        image=torch.tensor([0, 0, 0, 0, 2, 2]),
        images=3,
    )
    with torch.no_grad():
        whole = learner.charge(learner.detector.every_branch(images, sizes, 0.5), targets, progress=0.5).losses
        parts = [
            learner.tried(
                learner.detector.every_branch(images[one : one + 1], sizes[one : one + 1], 0.5),
                targets.of_image(one),
                0.5,
            )
            for one in range(3)
        ]
    added = {branch: reduce(add, (part[branch].settled() for part in parts)) for branch in parts[0]}
    found = learner.losses(added)
    assert found.keys() == whole.keys()
    for term, value in whole.items():
        assert found[term].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-6), term


def test_killed_and_resumed_it_says_the_same(
    small_run: Go, finished_run: Go, interrupted: Callable[[int], AbstractContextManager[None]], tmp_path: Path
) -> None:
    _, straight = finished_run("autoassign", *OFTEN)
    with interrupted(4):
        small_run("autoassign", *OFTEN, output=tmp_path)
    _, folder = small_run("autoassign", *OFTEN, output=tmp_path, resume=True)
    assert (folder / LOSSES).read_bytes() == (straight / LOSSES).read_bytes()


def test_a_stop_puts_it_off(
    small_run: Go,
    finished_run: Go,
    interrupted: Callable[[int], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It leaves with a checkpoint and no line; the next process says it first, and so does one after a kill."""
    _, straight = finished_run("autoassign", *OFTEN)
    real = validation.part_of

    def part_of(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(validation, "part_of", part_of)
        with listening(), pytest.raises(Stopped):
            small_run("autoassign", *OFTEN, output=tmp_path)
    folder = tmp_path / straight.name
    assert (folder / "checkpoints" / "iteration-0000004").is_dir()
    assert rows_of(folder)[1] == []
    with interrupted(0):
        small_run("autoassign", *OFTEN, output=tmp_path, resume=True)
    assert [row["iteration"] for row in rows_of(folder)[1]] == [4]
    small_run("autoassign", *OFTEN, output=tmp_path, resume=True)
    for file in (WEIGHTS, DETECTIONS, STATISTICS, LOSSES):
        assert (folder / file).read_bytes() == (straight / file).read_bytes(), file


def test_what_is_not_finite_is_no_number(
    finished_run: Go, small_run: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And it ends no run."""
    real = validation.common_charges

    def common_charges(*given: Any) -> Any:
        found = real(*given)
        return type(found)(float("inf"), found.box, found.background, found.objects)

    monkeypatch.setattr(validation, "common_charges", common_charges)
    _, folder = small_run("autoassign", ON, output=tmp_path)
    (row,) = rows_of(folder)[1]
    assert row["common/class"] is row["common/total"] is None
    assert row["common/box"] > 0
    assert "Infinity" not in (folder / LOSSES).read_text()


@pytest.mark.parametrize(
    ("every", "batch", "pictures", "iterations", "wanted"),
    [
        (0, 2, 7, 8, []),
        (1, 2, 7, 8, [4, 7, 8]),  # 8, 14 and 16 pictures
        (2, 2, 7, 8, [7, 8]),
        (1, 2, 8, 8, [4, 8]),
        (9, 2, 7, 8, [8]),
        (1, 20, 7, 3, [1, 2, 3]),  # several passes a step
        (1, 1, 5, 1, [1]),
    ],
)
def test_ends_of_epochs(every: int, batch: int, pictures: int, iterations: int, wanted: list[int]) -> None:
    recipe = load_recipe("tiny").recipe.train
    settings: TrainSettings = recipe.model_copy(
        update={"validate_every": every, "batch": batch, "iterations": iterations}
    )
    assert [done for done in range(1, iterations + 1) if validates(settings, done, pictures)] == wanted
    assert validations(settings, pictures) == len(wanted)


def test_modes_come_back_when_it_fails() -> None:
    model = torch.nn.BatchNorm1d(1)

    def failing() -> None:
        with evaluating(model, torch.device("cpu")):
            assert not model.training
            for buffer in model.buffers():
                buffer += 1
            raise ZeroDivisionError

    before = [buffer.clone() for buffer in model.buffers()]
    with pytest.raises(ZeroDivisionError):
        failing()
    assert model.training
    assert list(model.buffers()) == before


def test_it_is_said_on_the_screen() -> None:
    losses = {"validation/total": 1.25, "common/total": None}
    assert train.validation_line(4, losses) == "4: evaluation split: total 1.250  common not finite"
