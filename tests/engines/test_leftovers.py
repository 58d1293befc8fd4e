"""Leftovers are named before they go; what is at work, and what a stranger wrote, stays as it is."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.cli.main import main
from assignbench.engines.leftovers import find, remove
from assignbench.files import written
from assignbench.lock import exclusive
from assignbench.run.results.record import write_record

SETTINGS = {"assigner.text": {"value": "atss", "origin": "default"}}
NAME = "shapes-atss-tiny-s0-0123456789"


def dead_lease(folder: Path) -> Path:
    """A lock whose process is gone without having let it go."""
    script = (
        "import os, sys; from pathlib import Path; from assignbench.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1]), lambda _: False): os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(folder / ".lease")], check=True)
    return folder / ".lease"


def half_written(file: Path, size: int = 100) -> Path:
    """What a process that is killed while it writes leaves."""
    script = (
        "import os, sys; from pathlib import Path; from assignbench.files import written\n"
        "with written(Path(sys.argv[1])) as file: file.write_bytes(b'x' * int(sys.argv[2])); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(file), str(size)], check=True)
    return file.with_name(f".{file.name}.tmp")


@pytest.fixture
def finished(tmp_path: Path, make_record: Callable) -> Path:
    record = make_record()
    write_record(tmp_path / record.run_id, record)
    return tmp_path / record.run_id


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    run = tmp_path / NAME
    (run / "checkpoints" / "iteration-0000100").mkdir(parents=True)
    (run / "checkpoints" / "iteration-0000100" / "manifest.json").write_text("{}")
    (run / "config.json").write_text(json.dumps(SETTINGS))
    (run / "losses.jsonl").write_text("")
    (run / "trackers" / "tensorboard").mkdir(parents=True)
    (run / "trackers" / "tensorboard" / "events.out").write_text("")
    return run


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def cleaned(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["clean", *arguments]) == 0
    return capsys.readouterr().out


def test_leftovers_of_a_finished_run(finished, capsys):
    before = tree(finished)
    (finished / "checkpoints" / "iteration-0000100").mkdir(parents=True)
    (finished / "checkpoints" / "iteration-0000100" / "model.safetensors").write_bytes(b"x" * 1000)
    (finished / "progress.json").write_text("{}")
    lease, half = dead_lease(finished), half_written(finished / "detections.json")
    root = str(finished.parent)
    with_them = tree(finished)
    planned = cleaned(root, "--dry-run", capsys=capsys)
    assert tree(finished).keys() == with_them.keys()
    for path, why in (
        (finished / "checkpoints", "checkpoints of a finished run"),
        (finished / "progress.json", "last word of a process that died"),
        (lease, "lock of a process that died"),
        (half, "half-written detections.json of a process that died"),
    ):
        assert f"{path}: {why}" in planned
    assert "1.0 kB" in planned
    assert planned.splitlines()[-1].startswith("4 leftovers, 1.")
    assert planned.endswith("would be removed\n")
    done = cleaned(root, capsys=capsys)
    assert done.replace(", removed", ", would be removed") == planned
    assert tree(finished) == before
    assert cleaned(root, capsys=capsys) == "nothing to remove\n"


def test_an_unfinished_run_goes_only_when_that_is_asked(stopped, capsys):
    before = tree(stopped)
    assert "1 unfinished run stays" in cleaned(str(stopped.parent), capsys=capsys)
    assert tree(stopped) == before
    (stopped / "mine.txt").write_text("a stranger's")
    out = cleaned(str(stopped.parent), "--unfinished", capsys=capsys)
    assert f"{stopped}: unfinished run, stopped: with a checkpoint of iteration 100" in out
    assert [path.name for path in tree(stopped)] == ["mine.txt"]
    (stopped / "mine.txt").unlink()
    (stopped / "config.json").write_text(json.dumps(SETTINGS))
    cleaned(str(stopped.parent), "--unfinished", capsys=capsys)
    assert not stopped.exists()


def test_a_run_that_is_computed_is_left_alone(stopped, finished, capsys):
    (finished / "checkpoints").mkdir()
    half = half_written(stopped / "weights.safetensors")
    with exclusive(stopped / ".lease", lambda _: False), exclusive(finished / ".lease", lambda _: False):
        before = tree(stopped.parent)
        out = cleaned(str(stopped.parent), "--unfinished", capsys=capsys)
        assert tree(stopped.parent) == before
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert f"left alone: {stopped}: {who}" in out
    assert f"left alone: {finished}: {who}" in out
    assert half.exists()


def test_a_run_that_began_meanwhile_stays(stopped, finished):
    (finished / "checkpoints").mkdir()
    found = find(stopped.parent, unfinished=True).leftovers
    assert len(found) == 2
    before = tree(stopped.parent)
    for one in found:
        with exclusive(one.run / ".lease", lambda _: False):
            assert not remove(one)
    assert tree(stopped.parent) == before
    (ended,) = [one for one in found if one.unfinished]
    (stopped / "record.json").write_text("{}")  # it was brought to its end in between
    assert not remove(ended)
    assert (stopped / "checkpoints").exists()


def test_a_file_that_is_being_written_stays(tmp_path, finished, capsys):
    with written(tmp_path / "table.csv") as own, written(finished / "evaluation.json") as other:
        own.write_text("half")
        other.write_text("half")
        assert cleaned(str(tmp_path), capsys=capsys) == "nothing to remove\n"
    assert (tmp_path / "table.csv").read_text() == "half"


def test_files_beside_runs_and_in_the_folder_of_reproduce(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    halves = [half_written(tmp_path / "runs" / "a.csv"), half_written(tmp_path / "report.html")]
    out = cleaned(str(tmp_path), capsys=capsys)
    assert all(f"{half}: half-written" in out for half in halves)
    assert not any(half.exists() for half in halves)


STRANGERS = (
    ".notes.tmp/notes",
    ".cache.tmp",
    "a.tmp",
    "model/config.json",
    "model/checkpoints/iteration-0000001/manifest.json",
    "model/progress.json",
    "model/.lease",
    "model/record.json",
    f"{NAME}/thesis.txt",
    f"{NAME}/checkpoints/iteration-0000001/manifest.json",
    f"{NAME}/losses.jsonl",
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(files=st.sets(st.sampled_from(STRANGERS), min_size=1))
def test_what_a_stranger_wrote_is_never_touched(files, tmp_path_factory, capsys):
    files = {*files, f"{NAME}/thesis.txt"}  # a folder of a run's name that is none
    root = tmp_path_factory.mktemp("folder")
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text('{"a": 1}')
    (root / "elsewhere").symlink_to(tmp_path_factory.mktemp("other"))
    before = tree(root)
    cleaned(str(root), "--unfinished", capsys=capsys)
    assert tree(root) == before


@pytest.fixture
def linked(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Checkpoints that lie on another disk."""
    far = tmp_path_factory.mktemp("far")
    (far / "model.safetensors").write_text("x")
    (finished / "checkpoints").symlink_to(far)
    yield far
    assert (far / "model.safetensors").exists()


def test_links_are_not_followed(linked, finished, capsys):
    assert cleaned(str(finished.parent), capsys=capsys) == "nothing to remove\n"
    assert (finished / "checkpoints").is_symlink()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_cannot_be_named_does_not_go(finished):
    (finished / "checkpoints").mkdir()
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "assignbench", "clean", str(finished.parent)]
        assert subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False).returncode == 4
    assert (finished / "checkpoints").is_dir()


def test_the_document_says_the_same(finished, stopped, capsys):
    (finished / "checkpoints").mkdir()
    assert main(["clean", str(finished.parent), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    (one,) = found["leftovers"]
    assert (one["path"], one["removed"], found["dry_run"]) == (str(finished / "checkpoints"), True, False)
    assert found["unfinished"] == [str(stopped)]
    assert f"{finished / 'checkpoints'}: checkpoints of a finished run" in err


def test_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["clean", str(tmp_path / "no")]) == 2
    assert "there is no folder" in capsys.readouterr().err
