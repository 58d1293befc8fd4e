"""Strategies that ask for the progress of training, and for branches beside the main one; see asking.py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from assignbench.data.spec.locate import open_dataset
from assignbench.detector.head import DenseHead
from assignbench.run.results.json_lines import read_lines
from assignbench.run.results.names import DETECTIONS, LOSSES, WEIGHTS
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.detections import write_detections
from assignbench.run.scoring.reopen import open_run
from assignbench.run.training.checkpoint import load_tensors
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.snapshots import snapshot_file

Go = Callable[..., tuple[RunRecord, Path]]


@pytest.fixture
def go(small_run: Go, tmp_path: Path) -> Go:
    """A small run of a strategy of asking.py."""

    def go(strategy: str, *overrides: str, output: Path = tmp_path, resume: bool = False) -> tuple[RunRecord, Path]:
        text = f"{Path(__file__).with_name('asking.py')}:{strategy}"
        return small_run(text, "train.checkpoint_every=2", *overrides, output=output, resume=resume)

    return go


def told(folder: Path) -> list[float]:
    """The progress that each iteration's strategy was told."""
    return [row["progress"] for row in read_lines(folder / LOSSES)]


def test_progress_is_iterations_done_of_all(
    go: Go, tmp_path: Path, interrupted: Callable[[int], AbstractContextManager[None]]
) -> None:
    wanted = [0.0, 0.25, 0.5, 0.75]
    _, folder = go("Watching", output=tmp_path / "straight")
    assert told(folder) == wanted
    with interrupted(3):  # behind the checkpoint at 2
        go("Watching", output=tmp_path / "resumed")
    _, folder = go("Watching", output=tmp_path / "resumed", resume=True)
    assert told(folder) == wanted


def test_progress_of_micro_steps_is_their_iteration_s(go: Go) -> None:
    _, folder = go("Watching", "train.iterations=2", "train.accumulation=2")
    assert told(folder) == [0.0, 0.5]


def test_a_branch_learns_and_does_not_speak(
    go: Go, few_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = go("Branching", "train.iterations=3", "train.snapshots=[3]")
    rows = read_lines(folder / LOSSES)
    terms = ("class", "box", "background")
    names = [*terms, *(f"{branch}.{name}" for branch in ("dense", "again") for name in terms)]
    assert [set(row) for row in rows] == [{"iteration", "lr", "total", *names}] * 3
    for row in rows:
        assert row["total"] == pytest.approx(sum(row[name] for name in names))
        assert row["again.class"] != row["class"]  # the same outputs, taught other locations

    start, end = load_tensors(snapshot_file(folder, 0)), load_tensors(folder / WEIGHTS)
    branch = [name for name in end if name.startswith("detector.branches.dense.") and name.endswith("output.weight")]
    assert len(branch) == 2
    assert not any(torch.equal(start[name], end[name]) for name in branch)
    assert record.assignment["positives"] <= 5  # of the branch that speaks: one a level

    finished = open_run(folder)
    learner, recipe = finished.learner, finished.recipe.recipe
    assert isinstance(learner.detector.branches["dense"], DenseHead)

    def silent(*_: object) -> None:
        raise AssertionError("a branch was asked at test")

    monkeypatch.setattr(learner.detector.branches["dense"], "forward", silent)
    dataset = open_dataset(str(few_pictures), few_pictures.parent).evaluation
    accelerator = build_accelerator("cpu", "no")
    found = detections_of(learner.detector, dataset, accelerator, data=recipe.data, settings=recipe.evaluate)
    assert write_detections(dataset, found, tmp_path / "again.json") > 0
    assert (tmp_path / "again.json").read_bytes() == (folder / DETECTIONS).read_bytes()
