"""How far a run is, for others to read: whole or not there, and never a reason to stop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assignbench.run.results import progress
from assignbench.run.results.progress import FILE, ProgressFile, progress_of
from assignbench.run.results.record import RunRecord
from assignbench.run.training.step import Trainer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def clock(seconds: float) -> None:
        now[0] = seconds

    return clock


def test_it_says_where_a_run_stands_every_two_seconds(tmp_path: Path, clock: Callable[[float], None]) -> None:
    file, said = ProgressFile(tmp_path, 100), []
    for seconds, iteration in ((0.0, 10), (1.0, 15), (1.9, 19), (4.0, 30), (5.0, 35)):
        clock(seconds)
        file.tell("training", iteration)
        found = progress_of(tmp_path)
        assert found is not None
        said.append((found.iteration, found.seconds_per_iteration))
    assert said == [(10, None), (10, None), (10, None), (30, 0.2), (30, 0.2)]
    assert (found.iterations, found.phase, found.host, found.pid) == (
        100,
        "training",
        socket.gethostname(),
        os.getpid(),
    )
    file.tell("evaluating", 100)  # another phase is said at once
    found = progress_of(tmp_path)
    assert found is not None
    assert (found.iteration, found.phase, found.seconds_per_iteration) == (100, "evaluating", 0.2)
    file.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"iteration": "x"}', b"\xff\xfe"])
def test_a_damaged_one_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert progress_of(tmp_path) is None
    assert progress_of(tmp_path / "nowhere") is None


def test_what_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path / "gone", 3)
    file.tell("training", 1)
    file.remove()
    nobody = ProgressFile(None, 3)
    nobody.tell("training", 1)
    nobody.remove()


def test_a_run_says_where_it_stands_and_leaves_nothing(
    small_run: Callable[..., tuple[RunRecord, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = Trainer.update, []

    def update(self: Trainer) -> None:
        (folder,) = tmp_path.iterdir()
        seen.append(progress_of(folder))
        real(self)

    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(Trainer, "update", update)
    _, folder = small_run("plain", output=tmp_path)
    assert [(one.phase, one.iteration, one.iterations) for one in seen if one] == [
        ("reading", 0, 4),
        ("training", 1, 4),
        ("training", 2, 4),
        ("training", 3, 4),
    ]
    assert not list(folder.glob("*progress*"))


def test_reading_it_does_not_load_torch() -> None:
    script = "import sys, assignbench.run.results.progress as p; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
