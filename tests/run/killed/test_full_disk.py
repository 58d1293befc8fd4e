"""A disk that is really full, at the worst moments: said, nothing looks whole, and the same bytes once there is room.

The disk is a tmpfs, which only root may mount; elsewhere these tests are skipped.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assignbench.run.matrix import execute
from assignbench.run.results.json_lines import Log
from assignbench.run.results.names import CHECKPOINTS, DETECTIONS, LOSSES, STATISTICS, WEIGHTS
from assignbench.run.results.record import FILE, RunRecord
from assignbench.run.training import train
from assignbench.run.training.checkpoint import checkpoints
from assignbench.run.training.snapshots import snapshots

OVERRIDES = ("train.checkpoint_every=1", "train.snapshots=[1]")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mounting, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no disk can be mounted: {error}")
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


@pytest.mark.parametrize(
    ("module", "function", "call", "whole"),
    [
        pytest.param(train, "save_checkpoint", 1, 0, id="first checkpoint"),
        pytest.param(train, "save_checkpoint", 3, 2, id="later checkpoint"),
        pytest.param(Log, "append", 3, 2, id="log"),
        pytest.param(execute, "write_detections", 1, 2, id="detections"),
        pytest.param(execute, "write_record", 1, 2, id="record"),
    ],
)
def test_a_full_disk_loses_nothing(
    disk: Path,
    finished_run: Callable[..., tuple[RunRecord, Path]],
    small_runs: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    function: str,
    call: int,
    whole: int,
) -> None:
    real, calls = getattr(module, function), []

    def full(*given: object, **more: object) -> object:
        calls.append(1)
        if len(calls) == call:
            fill(disk)
        return real(*given, **more)

    straight, wanted = finished_run("autoassign", *OVERRIDES)
    folder = disk / "runs" / straight.run_id
    with monkeypatch.context() as patch:
        patch.setattr(module, function, full)
        outcome, text = small_runs(*OVERRIDES, output=disk / "runs")
    assert outcome.errors == (4,)
    assert "No space left on device" in text
    assert len(checkpoints(folder / CHECKPOINTS)) == whole
    assert not (folder / FILE).exists()
    assert [path.name for path in disk.rglob("*.tmp")] == []
    assert not (folder / "progress.json").exists()
    assert not (folder / ".lease").exists()
    if function == "write_detections":
        assert not (folder / DETECTIONS).exists()

    (disk / "ballast").unlink()
    outcome, text = small_runs(*OVERRIDES, output=disk / "runs", resume=True)
    assert outcome.exit_code == 0, text
    for name in (WEIGHTS, DETECTIONS, LOSSES, STATISTICS):
        assert (folder / name).read_bytes() == (wanted / name).read_bytes(), name
    for iteration, file in snapshots(wanted).items():
        assert snapshots(folder)[iteration].read_bytes() == file.read_bytes()
    with contextlib.suppress(FileNotFoundError):  # what failed is logged where there was room for it
        (folder / "failures.jsonl").unlink()
    assert {path.name for path in folder.iterdir()} == {path.name for path in wanted.iterdir()}
