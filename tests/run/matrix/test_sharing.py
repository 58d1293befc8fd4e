"""Commands that share an output folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import Accelerator
from rich.console import Console

from assignbench.errors import RunError, SystemProblem
from assignbench.lock import Rhythm, exclusive
from assignbench.run.matrix import matrix
from assignbench.run.matrix.sharing import claimed, trained_by
from assignbench.run.results.names import LOCK


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[Path, threading.Event]]:
    """A run's folder that another command holds until the event."""
    folder, release, held = tmp_path / "run", threading.Event(), threading.Event()
    folder.mkdir()

    def hold() -> None:
        with exclusive(folder / LOCK, bool):
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    yield folder, release
    release.set()
    thread.join()


def nobody(holder: str) -> None:
    pytest.fail(f"waited for {holder}")


def test_a_free_folder_is_held_and_made(tmp_path: Path, accelerator: Accelerator, often: Rhythm) -> None:
    folder = tmp_path / "deep" / "run"
    with claimed(folder, accelerator, nobody, often):
        assert trained_by(folder) is not None
    assert trained_by(folder) is None


def test_what_is_taken_is_waited_for(elsewhere: tuple[Path, threading.Event], accelerator: Accelerator) -> None:
    folder, release = elsewhere
    told: list[str] = []

    def say(holder: str) -> None:
        told.append(holder)
        release.set()

    with claimed(folder, accelerator, say, Rhythm(poll=0.02)):
        pass
    assert len(told) == 1
    assert told[0].startswith("process ")


def test_whoever_is_at_work_is_not_waited_for_longer_than_the_dead(tmp_path: Path, accelerator: Accelerator) -> None:
    told: list[str] = []
    lively = Rhythm(poll=0.02, beat=0.1, dead=0.4)
    mine = claimed(tmp_path, accelerator, told.append, lively)
    with (
        exclusive(tmp_path / LOCK, bool, lively),
        pytest.raises(RunError, match=r"is at this run, .*; repeat the"),
        mine,
    ):
        pytest.fail("two hold one folder")
    assert len(told) == 1
    assert told[0].startswith("process ")


def test_an_error_gives_the_folder_back(tmp_path: Path, accelerator: Accelerator, often: Rhythm) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, accelerator, nobody, often):
        raise ZeroDivisionError
    with claimed(tmp_path, accelerator, nobody, often):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, accelerator: Accelerator) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemProblem, match="file"), claimed(tmp_path / "file" / "run", accelerator, nobody):
        pass


def test_a_run_that_another_command_finishes_meanwhile_is_found_done(
    elsewhere: tuple[Path, threading.Event], accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, release = elsewhere
    monkeypatch.setattr(matrix, "to_score_again", lambda run, folder: None)
    monkeypatch.setattr(matrix, "execute", lambda *_, **__: pytest.fail("trained twice"))
    run = SimpleNamespace(title="mine", run_id=folder.name, content=None)
    text = StringIO()

    class Other(Console):
        """When it is waited for, the other command ends with a record."""

        def print(self, *objects: object, **named: object) -> None:
            super().print(*objects, **named)  # type: ignore[arg-type]
            if "waiting for" in str(objects[0]):
                (folder / matrix.FILE).touch()
                release.set()

    console = Other(file=text, width=200)
    assert matrix.state_in_words(run, folder.parent).startswith("trained by process")  # type: ignore[arg-type]
    ended = matrix.attempt(run, folder.parent, accelerator, resume=False, console=console)  # type: ignore[arg-type]
    assert ended == matrix.Ended(0)
    assert "done already" in text.getvalue()
    assert matrix.state_in_words(run, folder.parent) == matrix.DONE  # type: ignore[arg-type]
