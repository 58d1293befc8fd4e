"""Runs whose clock is set and whose folder is taken away while they are at work."""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from assignbench.run.matrix.matrix import MatrixOutcome
from assignbench.run.results.names import CONFIG, DETECTIONS, WEIGHTS
from assignbench.run.results.record import FILE, RunRecord
from assignbench.run.training import stopwatch, train
from assignbench.run.training.checkpoint import checkpoints
from assignbench.run.training.step import Trainer

Go = Callable[..., tuple[MatrixOutcome, str]]


@pytest.fixture
def go(small_runs: Go, tmp_path: Path) -> Go:
    return partial(small_runs, output=tmp_path / "runs", strategies=("fcos",))


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int, Callable[[Path], object]], None]:
    """Something that happens to the run's folder after so many iterations."""

    def meanwhile(after: int, happens: Callable[[Path], object]) -> None:
        real, calls = Trainer.update, []

        def update(self: Trainer) -> None:
            real(self)
            calls.append(1)
            if len(calls) == after:
                (folder,) = (tmp_path / "runs").iterdir()
                happens(folder)

        monkeypatch.setattr(Trainer, "update", update)

    return meanwhile


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_clock_that_is_set_during_a_run_loses_no_record(go: Go, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    def clock() -> Iterator[timedelta]:
        yield timedelta()
        while True:
            yield timedelta(hours=hours)

    ahead = clock()

    class Set(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + next(ahead)

    monkeypatch.setattr(stopwatch, "datetime", Set)
    outcome, text = go()
    assert outcome.exit_code == 0, text
    (record,) = outcome.records
    assert timedelta() < record.finished - record.started < timedelta(minutes=10)
    way = "back" if hours < 0 else "forward"
    said = f"the clock was set {way} by 24:00:00 while the run was at work; its times are counted from its start"
    assert said in record.notes


def test_a_clock_that_runs_is_not_spoken_of(finished_run: Callable[..., tuple[RunRecord, Path]]) -> None:
    record, _ = finished_run("fcos")
    assert not any("clock" in note for note in record.notes)
    assert record.finished >= record.started


def remade(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("happens", "file"),
    [
        (shutil.rmtree, train.LOSSES),
        (lambda folder: folder.rename(folder.parent.parent / "elsewhere"), train.LOSSES),
        (lambda folder: shutil.rmtree(folder.parent), train.LOSSES),
        (remade, train.LOSSES),
        (lambda folder: (folder / train.LOSSES).unlink(), train.LOSSES),
        (lambda folder: (folder / train.LOSSES).write_text(""), train.LOSSES),
        (lambda folder: (folder / train.STATISTICS).unlink(), train.STATISTICS),
        (lambda folder: (folder / CONFIG).unlink(), CONFIG),
    ],
    ids=["deleted", "moved", "with all others", "made anew", "losses", "cut", "statistics", "config"],
)
@pytest.mark.parametrize("after", [2, 4])
def test_a_run_whose_files_are_taken_away_fails_and_looks_unfinished(
    go: Go, meanwhile: Callable[[int, Callable[[Path], object]], None], tmp_path: Path, happens, file: str, after: int
) -> None:
    meanwhile(after, happens)
    outcome, text = go("train.checkpoint_every=1")
    assert outcome.errors == (1,), text
    assert f"{file} was removed or changed while the run was at work" in " ".join(text.split())
    assert not list(tmp_path.rglob(FILE))


def test_a_log_that_lost_rows_before_a_run_goes_on_is_refused(
    go: Go, interrupted: Callable[[int], AbstractContextManager[None]], tmp_path: Path
) -> None:
    with interrupted(3):
        go("train.checkpoint_every=1")
    (folder,) = (tmp_path / "runs").iterdir()
    losses = folder / train.LOSSES
    before = losses.read_text().splitlines(keepends=True)
    for rows in ("", "".join(before[1:])):
        losses.write_text(rows)
        outcome, text = go("train.checkpoint_every=1", resume=True)
        assert outcome.errors == (1,)
        said = f"{losses} was cut or altered after the checkpoint at iteration {len(before)}"
        assert said in " ".join(text.split())
        assert checkpoints(folder / train.CHECKPOINTS)
        assert not (folder / FILE).exists()
    losses.write_text("".join(before))
    assert go("train.checkpoint_every=1", resume=True)[0].exit_code == 0


def test_every_file_of_a_run_has_the_mode_that_the_umask_gives(go: Go, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        outcome, text = go("train.snapshots=[2]")
    finally:
        os.umask(before)
    assert outcome.exit_code == 0, text
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    assert WEIGHTS in modes
    assert "iteration-000002.safetensors" in modes
    assert modes == dict.fromkeys(modes, 0o640)


@pytest.mark.parametrize("name", [FILE, WEIGHTS, DETECTIONS, train.LOSSES, CONFIG, "assignment.jsonl"])
def test_a_pipe_in_a_run_s_folder_is_refused_before_anything_trains(go: Go, tmp_path: Path, name: str) -> None:
    outcome, text = go(dry_run=True)
    (run_id,) = set(re.findall(r"\S+-fcos-tiny-s0-[0-9a-f]{10}", text.replace("/", " ")))
    (tmp_path / "runs" / run_id).mkdir(parents=True)
    os.mkfifo(tmp_path / "runs" / run_id / name)
    outcome, text = go()
    assert len(outcome.errors) == 1
    assert name in text
    assert "a device or a pipe, not a file" in " ".join(text.split())
    assert "1/4" not in text
