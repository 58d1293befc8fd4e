"""Strategies that ask for the progress of training, and for branches beside the main one; see asking.py."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from assignbench.config import Matrix, load_recipe
from assignbench.data.specs import open_dataset
from assignbench.detector.head import DenseHead
from assignbench.run.matrix.execute import DETECTIONS, WEIGHTS
from assignbench.run.matrix.matrix import run_matrix
from assignbench.run.results.json_lines import read_lines
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.detections import write_detections
from assignbench.run.scoring.reopen import open_run
from assignbench.run.training.checkpoint import load_tensors
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.snapshots import snapshot_file
from assignbench.run.training.step import Trainer
from assignbench.run.training.train import LOSSES

SMALL = (
    "model.channels=32",
    "model.towers=1",
    "data.short_side=64",
    "data.long_side=96",
    "data.workers=0",
    "train.batch=2",
    "train.warmup=1",
    "train.log_every=1",
    "train.statistics_every=1",
    "train.checkpoint_every=2",
    "train.precision=no",
    "evaluate.score_threshold=0.005",
)

Go = Callable[..., tuple[RunRecord, Path]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "mini.yaml").write_text(
        "format: shapes\ndescription: a few\nseed: 3\ntrain: 5\nevaluation: 2\n"
        "short_side: 64\nlong_side: 96\nsmallest: 12\nlargest: 50\n"
    )
    return folder


@pytest.fixture
def go(data: Path, tmp_path: Path) -> Go:
    def go(strategy: str, *overrides: str, output: Path = tmp_path, resume: bool = False) -> tuple[RunRecord, Path]:
        matrix = Matrix(
            strategies=(f"{Path(__file__).with_name('asking.py')}:{strategy}",),
            datasets=(str(data / "mini.yaml"),),
            recipe=load_recipe("tiny", (*SMALL, *overrides)),
            seeds=(0,),
            protocol="controlled",
            preset=None,
            data_root=data,
            output=output,
            resume=resume,
            device="cpu",
        )
        text = StringIO()
        outcome = run_matrix(matrix, Console(file=text, width=200))
        assert outcome.exit_code == 0, text.getvalue()
        return outcome.records[0], output / outcome.records[0].run_id

    return go


def told(folder: Path) -> list[float]:
    """The progress that each iteration's strategy was told."""
    return [row["progress"] for row in read_lines(folder / LOSSES)]


def test_progress_is_iterations_done_of_all(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [0.0, 0.25, 0.5, 0.75]
    _, folder = go("Watching", "train.iterations=4", output=tmp_path / "straight")
    assert told(folder) == wanted

    real, calls = Trainer.update, []

    def interrupted(self: Trainer) -> None:
        calls.append(1)
        if len(calls) > 3:  # behind the checkpoint at 2
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(Trainer, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go("Watching", "train.iterations=4", output=tmp_path / "resumed")
    monkeypatch.setattr(Trainer, "update", real)
    _, folder = go("Watching", "train.iterations=4", output=tmp_path / "resumed", resume=True)
    assert told(folder) == wanted


def test_progress_of_micro_steps_is_their_iteration_s(go: Go) -> None:
    _, folder = go("Watching", "train.iterations=2", "train.accumulation=2")
    assert told(folder) == [0.0, 0.5]


def test_a_branch_learns_and_does_not_speak(
    go: Go, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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

    learner = open_run(folder).learner
    assert isinstance(learner.detector.branches["dense"], DenseHead)

    def silent(*_: object) -> None:
        raise AssertionError("a branch was asked at test")

    monkeypatch.setattr(learner.detector.branches["dense"], "forward", silent)
    dataset = open_dataset(str(data / "mini.yaml"), data).evaluation
    recipe = load_recipe("tiny", SMALL).recipe
    accelerator = build_accelerator("cpu", "no")
    found = detections_of(learner.detector, dataset, accelerator, data=recipe.data, settings=recipe.evaluate)
    assert write_detections(dataset, found, tmp_path / "again.json") > 0
    assert (tmp_path / "again.json").read_bytes() == (folder / DETECTIONS).read_bytes()
