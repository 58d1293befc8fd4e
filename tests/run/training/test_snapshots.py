"""Snapshots: kept at the iterations asked for, equal to an uninterrupted run's, and without effect on any result."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors import SafetensorError

from assignbench.config import Matrix, load_recipe
from assignbench.errors import RunError, SystemProblem, UsageError
from assignbench.run.matrix.execute import DETECTIONS, WEIGHTS
from assignbench.run.matrix.matrix import run_matrix
from assignbench.run.results.record import RunRecord
from assignbench.run.training import checkpoint, snapshots
from assignbench.run.training.checkpoint import load_tensors
from assignbench.run.training.snapshots import load_snapshot, save_snapshot, snapshot_file
from assignbench.run.training.step import Trainer
from assignbench.run.training.train import LOSSES

SMALL = (
    "model.channels=32",
    "model.towers=1",
    "data.short_side=64",
    "data.long_side=96",
    "data.workers=0",
    "train.iterations=4",
    "train.batch=2",
    "train.warmup=1",
    "train.log_every=1",
    "train.checkpoint_every=2",
    "train.precision=no",
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


@pytest.fixture(scope="module")
def go(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Go:
    def go(*overrides: str, output: Path | None = None, resume: bool = False) -> tuple[RunRecord, Path]:
        output = output or tmp_path_factory.mktemp("runs")
        matrix = Matrix(
            strategies=("autoassign",),
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


@pytest.fixture(scope="module")
def straight(go: Go) -> tuple[RunRecord, Path]:
    return go("train.snapshots=[1,3,4]")


def equal(one: Path, other: Path) -> bool:
    first, second = load_tensors(one), load_tensors(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_they_lie_where_they_should(straight: tuple[RunRecord, Path]) -> None:
    record, folder = straight
    kept = snapshots.snapshots(folder)
    assert list(kept) == [0, 1, 3, 4]
    assert kept[1] == folder / "snapshots" / "iteration-000001.safetensors"
    assert not equal(kept[0], kept[1])
    assert not equal(kept[1], kept[3])
    assert equal(kept[4], folder / WEIGHTS)
    assert not record.notes or not any("snapshot" in note for note in record.notes)


def test_they_change_nothing(go: Go, straight: tuple[RunRecord, Path]) -> None:
    record, folder = straight
    bare, other = go()
    assert bare.run_id == record.run_id
    assert bare.metrics == record.metrics
    assert equal(other / WEIGHTS, folder / WEIGHTS)
    for name in (LOSSES, DETECTIONS):
        assert (other / name).read_bytes() == (folder / name).read_bytes()
    assert not (other / "snapshots").exists()


@pytest.mark.parametrize("stop", [1, 3])
def test_resume_equals_going_on(
    go: Go, straight: tuple[RunRecord, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    real, calls = Trainer.update, []

    def interrupted(self: Trainer) -> None:
        calls.append(1)
        if len(calls) > stop:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(Trainer, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go("train.snapshots=[1,3,4]", output=tmp_path)
    monkeypatch.setattr(Trainer, "update", real)
    if stop == 3:  # the crash took the one behind the checkpoint at 2 with it
        (folder,) = tmp_path.iterdir()
        snapshot_file(folder, 3).unlink()
    _, folder = go("train.snapshots=[1,3,4]", output=tmp_path, resume=True)
    kept, wanted = snapshots.snapshots(folder), snapshots.snapshots(straight[1])
    assert list(kept) == list(wanted)
    for iteration, file in kept.items():
        assert equal(file, wanted[iteration]), iteration


def test_what_was_asked_for_too_late_is_said(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Trainer.update, []

    def interrupted(self: Trainer) -> None:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(Trainer, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(output=tmp_path)
    monkeypatch.setattr(Trainer, "update", real)
    record, folder = go("train.snapshots=[1,2,3]", output=tmp_path, resume=True)
    assert list(snapshots.snapshots(folder)) == [2, 3]  # 2: where it was resumed
    assert "no snapshots of iterations 0, 1: the run was resumed behind them, from 2" in record.notes


def test_what_is_kept_says_what_it_is(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0)}
    file = save_snapshot(tmp_path, tensors, 20, "run-1")
    assert torch.equal(load_snapshot(file, 20, "run-1")["a"], tensors["a"])
    for iteration, run in ((21, "run-1"), (20, "run-2")):
        with pytest.raises(RunError, match=f"is not of iteration {iteration} of {run}"):
            load_snapshot(file, iteration, run)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(RunError, match="damaged"):
        load_snapshot(file, 20, "run-1")


def test_order_is_that_of_numbers(tmp_path: Path) -> None:
    for iteration in (1_000_000, 90, 500_000):
        save_snapshot(tmp_path, {"a": torch.zeros(1)}, iteration, "run")
    (tmp_path / "snapshots" / "iteration-last.safetensors").touch()
    assert list(snapshots.snapshots(tmp_path)) == [90, 500_000, 1_000_000]


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save_snapshot(tmp_path, {"a": torch.zeros(1)}, 1, "run")

    def full(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("no space left")  # as the library says it

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(SystemProblem, match="no space"):
        save_snapshot(tmp_path, {"a": torch.ones(1)}, 1, "run")
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert load_snapshot(file, 1, "run")["a"].item() == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[3,1]", "must increase"),
        ("[2,2]", "must increase"),
        ("[900]", "beyond train.iterations = 800"),
        ("[0]", "≥ 1"),
    ],
)
def test_impossible_lists_are_refused(value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe("tiny", (f"train.snapshots={value}",))
    assert load_recipe("tiny", ("train.snapshots=200",)).recipe.train.snapshots == (200,)
