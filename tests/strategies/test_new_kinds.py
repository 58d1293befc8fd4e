"""Strategies of kinds that the built-in ones do not have: each keeps the laws, trains three steps and is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from assignbench.contract.laws import check
from assignbench.core import Assigner
from assignbench.core.parts import Distribution
from assignbench.plugins import load_class, resolve
from assignbench.run.results.json_lines import read_lines
from assignbench.run.results.names import LOSSES
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.reopen import open_run

HERE = Path(__file__).parent
SETTINGS = ("train.iterations=3", "evaluate.score_threshold=0.001")
KINDS = {
    "two branches": ("two_branches.py:TwoBranches", ()),
    "predicted priors": ("predicted_priors.py:PredictedPriors", ()),
    "progress": ("curriculum.py:Curriculum", ()),
    "quality focal": ("soft_quality.py:SoftQuality", ("loss.class=quality_focal",)),
    "varifocal": ("soft_quality.py:SoftQuality", ("loss.class=varifocal", "loss.box=ciou")),
    "distribution": ("soft_quality.py:SoftQuality", ("loss.class=quality_focal", "loss.box=giou_distribution")),
}

Run = Callable[..., tuple[RunRecord, Path]]


def loaded(text: str) -> type[Assigner]:
    return load_class(resolve(f"{HERE / text}"))


@pytest.fixture
def run(finished_run: Run) -> Callable[[str], tuple[RunRecord, Path]]:
    """The finished run of a kind."""

    def run(kind: str) -> tuple[RunRecord, Path]:
        text, settings = KINDS[kind]
        return finished_run(f"{HERE / text}", *SETTINGS, *settings)

    return run


@pytest.mark.parametrize("text", sorted({text for text, _ in KINDS.values()}))
def test_it_keeps_the_laws(text: str) -> None:
    assert [f"{one.name}: {one.message}" for one in check(loaded(text)) if not one.passed] == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_three_steps_and_is_evaluated(run: Run, kind: str) -> None:
    record, folder = run(kind)
    rows = read_lines(folder / LOSSES)
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert all(row["total"] > 0 for row in rows)
    assert record.detections > 0
    assert record.metrics["AP"] is not None


def test_branches_are_logged_by_name_and_stand_in_the_record(run: Run) -> None:
    record, folder = run("two branches")
    assert {"class", "box", "background", "one_to_many.class", "one_to_many.box"} <= read_lines(folder / LOSSES)[
        0
    ].keys()
    assert (record.branches, record.suppression) == (("main", "one_to_many"), False)
    assert run("progress")[0].suppression


def test_a_detached_branch_leaves_the_pyramid_alone() -> None:
    from assignbench.recipe import ModelSettings
    from assignbench.run.training.learner import build_learner

    model = ModelSettings(backbone="miniature", weights="none", channels=32, towers=0)
    learner = build_learner(loaded(KINDS["two branches"][0]), {}, model, classes=2, seed=0)
    seen = learner.detector.every_branch(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]]))
    weight = learner.detector.pyramid.p7.weight
    for name, taught in (("main", False), ("one_to_many", True)):
        (gradient,) = torch.autograd.grad(seen[name][0].outputs.sum(), [weight], allow_unused=True, retain_graph=True)
        assert (gradient is not None) == taught


def test_a_distribution_is_put_out_where_the_box_loss_asks_for_it(run: Run) -> None:
    finished = open_run(run("distribution")[1])
    assert finished.learner.head.coding == Distribution()
    assert finished.learner.detector.head.box_output.out_channels == 4 * Distribution().bins


def test_predicted_priors_differ_from_image_to_image(run: Run) -> None:
    learner = open_run(run("predicted priors")[1]).learner
    images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    _, priors = learner.detector(images, torch.tensor([[64, 64], [64, 64]]))
    assert priors.boxes.shape == (2, len(priors), 4)
    assert not torch.equal(priors.boxes[0], priors.boxes[1])
