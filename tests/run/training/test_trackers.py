"""Trackers are told how a run goes; whatever they do, the run is the same."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import tracking

from assignbench.errors import UsageError
from assignbench.run.matrix.matrix import MatrixOutcome
from assignbench.run.results.json_lines import read_rows
from assignbench.run.results.names import DETECTIONS, LOSSES, STATISTICS, WEIGHTS
from assignbench.run.results.record import RunRecord
from assignbench.run.training import trackers
from assignbench.run.training.trackers import Trackers, check_trackers

Go = Callable[..., tuple[MatrixOutcome, str]]
Run = Callable[..., tuple[RunRecord, Path]]
MOMENTS = ("__init__", "start", "store_init_configuration", "log", "finish")
ON = "train.validate_every=1"


class Noted:
    """A tracker that keeps what it is told, and fails when it is asked to; it moves what it can move."""

    requires_logging_directory = True
    made: list[Noted] = []
    fails: str | None = None

    def __init__(self, run_name: str, logging_dir: str) -> None:
        self.run_name, self.folder = run_name, Path(logging_dir)
        self.told: list[tuple[int, dict[str, float]]] = []
        self.settings: dict[str, Any] = {}
        self.finished = False
        self.made.append(self)
        self.moment("__init__")

    def moment(self, name: str) -> None:
        random.seed(1)
        torch.rand(3)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.fails == name:
            raise OSError("No space left on device")

    def start(self) -> None:
        self.moment("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values
        self.moment("store_init_configuration")

    def log(self, values: dict[str, float], step: int) -> None:
        self.told.append((step, values))
        self.moment("log")

    def finish(self) -> None:
        self.finished = True
        self.moment("finish")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Noted]]:
    """A tracker by the name of a package that is always installed."""
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "json", Noted)
    monkeypatch.setattr(Noted, "made", [])
    yield Noted
    monkeypatch.undo()


def same_files(one: Path, other: Path) -> None:
    for name in (WEIGHTS, DETECTIONS, STATISTICS, LOSSES):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_it_is_told_what_the_log_is_told(small_runs: Go, finished_run: Run, noted: type[Noted], tmp_path: Path) -> None:
    straight, bare = finished_run("autoassign", ON)
    before = signal.getsignal(signal.SIGTERM)
    outcome, text = small_runs(ON, output=tmp_path, trackers=("json",))
    assert outcome.exit_code == 0, text
    assert "tracker" not in text
    folder = tmp_path / bare.name
    same_files(bare, folder)
    assert signal.getsignal(signal.SIGTERM) is before
    (one,) = noted.made
    rows = read_rows(folder / LOSSES)
    assert [step for step, _ in one.told] == [*(row["iteration"] for row in rows), 4]
    assert one.told[0][1]["train/total"] == rows[0]["total"]
    assert one.told[0][1]["lr"] == rows[0]["lr"]
    (judged,) = [values for _, values in one.told if "common/total" in values]
    assert judged["validation/total"] == rows[-1]["validation/total"]
    assert one.told[-1][1] == {name: value for name, value in straight.metrics.items() if value is not None}
    assert one.settings["train.iterations"] == 4
    assert all(isinstance(value, (int, float, str)) for value in one.settings.values())
    assert one.folder == folder / "trackers"
    assert one.finished


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_that_fails_is_said_once_and_left_out(
    noted: type[Noted], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, moment: str
) -> None:
    """Whenever it fails; another one goes on."""
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "csv", type("Failing", (Noted,), {"fails": moment}))
    said: list[str] = []
    state = torch.get_rng_state(), random.getstate(), signal.getsignal(signal.SIGTERM)
    told = Trackers(("csv", "json"), tmp_path / "trackers", "run-1", {"train.steps": (3, 4)}, said.append)
    told.start(0)
    for step in (1, 2, 3):
        told.log({"lr": 0.1, "odd": None}, step)
    told.finish()
    (only,) = said
    assert only.startswith("tracker csv failed and is left out from here on: OSError: No space left on device")
    assert only.endswith("; the run goes on")
    whole = noted.made[-1]
    assert whole.told == [(step, {"lr": 0.1}) for step in (1, 2, 3)]
    assert whole.settings == {"train.steps": "(3, 4)"}
    assert whole.finished
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert signal.getsignal(signal.SIGTERM) is state[2]


@pytest.mark.parametrize("error", [OSError("no network"), SystemExit(1), RuntimeError()])
def test_a_run_outlives_its_tracker(
    small_runs: Go,
    finished_run: Run,
    noted: type[Noted],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: BaseException,
) -> None:
    _, bare = finished_run("autoassign", ON)

    def log(self: Noted, values: dict[str, float], step: int) -> None:
        self.told.append((step, values))
        if step == 2:
            raise error

    monkeypatch.setattr(noted, "log", log)
    outcome, text = small_runs(ON, output=tmp_path, trackers=("json",))
    assert outcome.exit_code == 0
    assert text.count("tracker json failed") == 1
    assert [step for step, _ in noted.made[0].told] == [1, 2]
    same_files(bare, tmp_path / bare.name)


def test_a_run_that_goes_on_tells_what_comes(
    small_runs: Go,
    noted: type[Noted],
    interrupted: Callable[[int], AbstractContextManager[None]],
    tmp_path: Path,
) -> None:
    often = "train.checkpoint_every=2"
    with interrupted(3):
        small_runs(often, output=tmp_path, trackers=("json",))
    small_runs(often, output=tmp_path, trackers=("json",), resume=True)
    first, second = noted.made
    assert [step for step, _ in first.told] == [1, 2, 3]
    assert first.finished  # whatever has ended it
    assert [step for step, _ in second.told] == [3, 4, 4]


def test_unknown_and_missing_ones_are_refused_before_training(
    small_runs: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"--tracker tensorbord: Accelerate knows aim.*; did you mean tensorboard\?"):
        small_runs(output=tmp_path / "out", trackers=("tensorbord",))
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="--tracker wandb: its package is not installed; pip install wandb"):
        check_trackers(["wandb"])


def test_arguments_fit_the_trackers_that_there_are(tmp_path: Path) -> None:
    """Those of Accelerate, which takes them by name."""
    for name, cls in tracking.LOGGER_TYPE_TO_CLASS.items():
        given = trackers.arguments(name, tmp_path, "run-1", 0)
        if cls.requires_logging_directory:
            given["logging_dir"] = str(tmp_path)
        cls(**given)


def test_tensorboard_has_the_numbers_of_a_run_that_went_on(
    small_runs: Go, interrupted: Callable[[int], AbstractContextManager[None]], tmp_path: Path
) -> None:
    """Where it is installed; what the first process said of later iterations counts no more."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    changes = ("train.checkpoint_every=2", ON)
    with interrupted(3):
        small_runs(*changes, output=tmp_path, trackers=("tensorboard",))
    outcome, text = small_runs(*changes, output=tmp_path, trackers=("tensorboard",), resume=True)
    assert "tracker" not in text
    folder = tmp_path / outcome.records[0].run_id
    events = EventAccumulator(str(folder / "trackers" / "tensorboard"))
    events.Reload()
    rows = read_rows(folder / LOSSES)
    found = [(one.step, one.value) for one in events.Scalars("train/total")]
    assert found == [(row["iteration"], pytest.approx(row["total"])) for row in rows if "lr" in row]
    (common,) = events.Scalars("common/total")
    assert (common.step, common.value) == (4, pytest.approx(rows[-1]["common/total"]))
    assert {"lr", "AP", "AP50"} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize("place", ["a file", "read-only"])
def test_tensorboard_without_a_place_to_write_stops_nothing(tmp_path: Path, place: str) -> None:
    pytest.importorskip("tensorboard")
    folder = tmp_path / "trackers"
    if place == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / "tensorboard").symlink_to("/dev/full")
    said: list[str] = []
    told = Trackers(("tensorboard",), folder, "run-1", {}, said.append)
    told.start(0)
    told.log({"lr": 0.1}, 1)
    told.finish()
    (only,) = said
    assert "tracker tensorboard failed" in only
