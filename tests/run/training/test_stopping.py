"""A signal of the system: a checkpoint at the next iteration, an exit code of its own, and the same bytes at last."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from assignbench.errors import Stopped
from assignbench.run.results.names import CHECKPOINTS, DETECTIONS, FAILURES, LOSSES, STATISTICS, WEIGHTS
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring import detect
from assignbench.run.training import stopping
from assignbench.run.training.checkpoint import checkpoints
from assignbench.run.training.step import Trainer
from assignbench.run.training.stopping import kept_for_the_loop, listening, stop_asked

Go = Callable[..., tuple[RunRecord, Path]]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """``signalled(2, SIGTERM)``: while the second iteration is at work, this process gets the signal."""

    def signalled(iteration: int, number: int) -> None:
        real, calls = Trainer.update, []

        def update(self: Trainer) -> None:
            calls.append(1)
            if len(calls) == iteration:
                send(number)
            real(self)

        monkeypatch.setattr(Trainer, "update", update)

    return signalled


def same_files(one: Path, other: Path) -> None:
    for name in (WEIGHTS, DETECTIONS, LOSSES, STATISTICS):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_in_training_saves_a_checkpoint_at_the_next_iteration(
    small_run: Go, finished_run: Go, signalled: Callable[[int, int], None], tmp_path: Path, number: int
) -> None:
    _, straight = finished_run("autoassign")
    signalled(1, number)
    with listening(), pytest.raises(Stopped, match=signal.Signals(number).name):
        small_run("autoassign", output=tmp_path)
    folder = tmp_path / straight.name
    assert [path.name for path in checkpoints(folder / CHECKPOINTS)] == ["iteration-0000002"]
    assert not (folder / FAILURES).exists()
    assert not (folder / ".lease").exists()
    small_run("autoassign", output=tmp_path, resume=True)
    same_files(straight, folder)


def test_a_signal_in_the_last_iteration_goes_no_further(
    small_run: Go, finished_run: Go, signalled: Callable[[int, int], None], tmp_path: Path
) -> None:
    _, straight = finished_run("autoassign")
    signalled(4, signal.SIGTERM)
    with listening(), pytest.raises(Stopped):
        small_run("autoassign", output=tmp_path)
    folder = tmp_path / straight.name
    assert [path.name for path in checkpoints(folder / CHECKPOINTS)] == ["iteration-0000004"]
    assert not (folder / DETECTIONS).exists()


def test_a_signal_in_evaluation_ends_it_at_once(
    small_run: Go, finished_run: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, straight = finished_run("autoassign")
    real = detect.detect_images

    def detect_images(*given: object, **more: object) -> object:
        send(signal.SIGTERM)
        return real(*given, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(detect, "detect_images", detect_images)
        with listening(), pytest.raises(Stopped):
            small_run("autoassign", output=tmp_path)
    folder = tmp_path / straight.name
    assert not (folder / DETECTIONS).exists()
    small_run("autoassign", output=tmp_path, resume=True)
    same_files(straight, folder)


def test_a_matrix_stops_as_a_whole(
    small_runs: Callable[..., object], signalled: Callable[[int, int], None], tmp_path: Path
) -> None:
    signalled(2, signal.SIGTERM)
    with listening(), pytest.raises(Stopped):
        small_runs(strategies=("plain", "fcos"), output=tmp_path)
    assert len(list(tmp_path.glob("*/losses.jsonl"))) == 1


def test_outside_the_loop_a_signal_ends_the_block_at_once() -> None:
    with pytest.raises(Stopped, match="SIGUSR1"), listening():
        send(signal.SIGUSR1)
    assert stop_asked() is None
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_in_the_loop_the_first_is_kept_and_a_later_one_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(), kept_for_the_loop():
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # of the same wish: to the process and to its group
        assert stop_asked() == "SIGTERM"
        monkeypatch.setattr(stopping, "SAME", 0.0)
        with pytest.raises(Stopped, match="SIGTERM"):
            send(signal.SIGUSR1)


def test_other_threads_leave_the_handlers_alone() -> None:
    seen = []

    def look() -> None:
        with listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
