"""Snapshots: kept at the iterations asked for, equal to an uninterrupted run's, and without effect on any result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from assignbench.config import load_recipe
from assignbench.errors import RunError, SystemProblem, UsageError
from assignbench.run.results.names import DETECTIONS, LOSSES, WEIGHTS
from assignbench.run.results.record import RunRecord
from assignbench.run.training import checkpoint, snapshots
from assignbench.run.training.checkpoint import load_tensors
from assignbench.run.training.snapshots import load_snapshot, save_snapshot, snapshot_file

KEPT = ("train.checkpoint_every=2", "train.snapshots=[1,3,4]")

Run = Callable[..., tuple[RunRecord, Path]]
Interrupted = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def straight(finished_run: Run) -> tuple[RunRecord, Path]:
    return finished_run("autoassign", *KEPT)


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


def test_they_change_nothing(finished_run: Run, straight: tuple[RunRecord, Path]) -> None:
    record, folder = straight
    bare, other = finished_run("autoassign")
    assert bare.run_id == record.run_id
    assert bare.metrics == record.metrics
    assert equal(other / WEIGHTS, folder / WEIGHTS)
    for name in (LOSSES, DETECTIONS):
        assert (other / name).read_bytes() == (folder / name).read_bytes()
    assert not (other / "snapshots").exists()


@pytest.mark.parametrize("stop", [1, 3])
def test_resume_equals_going_on(
    small_run: Run, straight: tuple[RunRecord, Path], tmp_path: Path, interrupted: Interrupted, stop: int
) -> None:
    with interrupted(stop):
        small_run("autoassign", *KEPT, output=tmp_path)
    if stop == 3:  # the crash took the one behind the checkpoint at 2 with it
        (folder,) = tmp_path.iterdir()
        snapshot_file(folder, 3).unlink()
    _, folder = small_run("autoassign", *KEPT, output=tmp_path, resume=True)
    kept, wanted = snapshots.snapshots(folder), snapshots.snapshots(straight[1])
    assert list(kept) == list(wanted)
    for iteration, file in kept.items():
        assert equal(file, wanted[iteration]), iteration


def test_what_was_asked_for_too_late_is_said(small_run: Run, tmp_path: Path, interrupted: Interrupted) -> None:
    often = "train.checkpoint_every=2"
    with interrupted(3):
        small_run("autoassign", often, output=tmp_path)
    record, folder = small_run("autoassign", often, "train.snapshots=[1,2,3]", output=tmp_path, resume=True)
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
        ("[1300]", "beyond train.iterations = 1200"),
        ("[0]", "≥ 1"),
    ],
)
def test_impossible_lists_are_refused(value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe("tiny", (f"train.snapshots={value}",))
    assert load_recipe("tiny", ("train.snapshots=200",)).recipe.train.snapshots == (200,)
