"""A flipped bit, a cut or a loss in any file of a run is refused or said, and never ends in other numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from assignbench.errors import RunError
from assignbench.lock import exclusive
from assignbench.report.curves import losses_of, statistics_of
from assignbench.run.results.names import CHECKPOINTS, DETECTIONS, LOCK, LOSSES, STATISTICS, WEIGHTS
from assignbench.run.results.record import RunRecord, read_record, write_record
from assignbench.run.scoring.kept_matches import lacking
from assignbench.run.scoring.reopen import open_run
from assignbench.run.training.checkpoint import (
    MANIFEST,
    MODEL,
    OPTIMIZER,
    checkpoints,
    load_tensors,
    read_progress,
    save_tensors,
)
from assignbench.run.training.snapshots import load_snapshot, snapshot_file
from assignbench.run.training.step import Trainer

Go = Callable[..., Any]
Run = tuple[RunRecord, Path]
CHECKPOINTED = ("train.checkpoint_every=1", "train.snapshots=[2]", "train.batch=4")  # an epoch ends at 2


def flip(file: Path, byte: int, bit: int = 0) -> None:
    """Turn one bit of a file."""
    content = bytearray(file.read_bytes())
    content[byte] ^= 1 << bit
    file.write_bytes(content)


@pytest.fixture(scope="module")
def straight(finished_run: Callable[..., Run]) -> Run:
    return finished_run("autoassign", *CHECKPOINTED)


@pytest.fixture
def copy(straight: Run, tmp_path: Path) -> Path:
    """A finished run, to be damaged."""
    return Path(shutil.copytree(straight[1], tmp_path / straight[1].name))


@pytest.fixture(scope="module")
def begun(
    small_run: Callable[..., Run], straight: Run, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], Path]:
    """Makes a copy of a run that was interrupted behind its checkpoints at 2 and 3, below a folder."""
    output = tmp_path_factory.mktemp("begun")

    real, calls = Trainer.update, []

    def update(self: Trainer) -> None:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", update)
        with pytest.raises(KeyboardInterrupt):
            small_run("autoassign", *CHECKPOINTED, output=output)
    name = straight[1].name
    assert [path.name[-1] for path in checkpoints(output / name / CHECKPOINTS)] == ["2", "3"]

    def begun(below: Path) -> Path:
        return Path(shutil.copytree(output / name, below / name))

    return begun


def same(one: Path, other: Path) -> None:
    first, second = load_tensors(one / WEIGHTS), load_tensors(other / WEIGHTS)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in (DETECTIONS, LOSSES, STATISTICS):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_bit_of_any_character_of_a_manifest_is_noticed(begun: Callable[[Path], Path], tmp_path: Path) -> None:
    newest = checkpoints(begun(tmp_path) / CHECKPOINTS)[-1]
    manifest = newest / MANIFEST
    whole = manifest.read_bytes()
    values = json.loads(whole)
    read_progress(newest)
    missed = []
    for place, character in enumerate(whole):
        if not chr(character).isspace():
            flip(manifest, place)
            try:
                read_progress(newest)
                if json.loads(manifest.read_bytes()) != values:  # two texts may be the same number
                    missed.append((place, chr(character)))
            except RunError:
                pass
            manifest.write_bytes(whole)
    assert missed == []


@pytest.mark.parametrize("name", [MANIFEST, MODEL, OPTIMIZER])
def test_a_damaged_checkpoint_ends_in_the_same_bytes_and_a_note(
    begun: Callable[[Path], Path], small_run: Callable[..., Run], straight: Run, tmp_path: Path, name: str
) -> None:
    folder = begun(tmp_path)
    file = checkpoints(folder / CHECKPOINTS)[-1] / name
    text = file.read_bytes()
    flip(file, text.index(b'"iteration": 3') + 13 if name == MANIFEST else len(text) - 9)
    record, _ = small_run("autoassign", *CHECKPOINTED, output=tmp_path, resume=True)
    assert any("damaged checkpoint passed over" in note for note in record.notes)
    same(straight[1], folder)


@pytest.mark.parametrize("name", [LOSSES, STATISTICS])
@pytest.mark.parametrize("damage", ["bit", "cut", "gone"])
def test_logs_that_are_no_longer_the_checkpoint_s_are_not_continued(
    begun: Callable[[Path], Path], small_runs: Go, tmp_path: Path, name: str, damage: str
) -> None:
    folder = begun(tmp_path)
    file = folder / name
    if damage == "bit":
        flip(file, len(file.read_bytes()) // 4)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[: -len(file.read_bytes()) // 2])
    else:
        file.unlink()
    outcome, text = small_runs(*CHECKPOINTED, output=tmp_path, resume=True)
    assert outcome.errors == (1,)
    assert f"{name} was cut or altered after the checkpoint" in text
    assert not (folder / "record.json").exists()


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_bit_in_a_snapshot_is_noticed(copy: Path, straight: Run, bit: int) -> None:
    file, run_id = snapshot_file(copy, 2), straight[0].run_id
    whole = file.read_bytes()
    load_snapshot(file, 2, run_id)
    header = int.from_bytes(whole[:8], "little")
    # the length of the header, and across it and the numbers
    places = [0, 5, *range(8, 8 + header, max(1, header // 60)), *range(8 + header, len(whole), len(whole) // 20)]
    for place in places:
        if whole[place : place + 1].isspace():  # the header's padding says nothing
            continue
        flip(file, place, bit)
        with pytest.raises(RunError):
            load_snapshot(file, 2, run_id)
        file.write_bytes(whole)


def test_a_snapshot_of_before_there_was_a_digest_is_read(copy: Path, straight: Run) -> None:
    file, run_id = snapshot_file(copy, 2), straight[0].run_id
    tensors = load_tensors(file)
    save_tensors(file, tensors, {"run_id": run_id, "iteration": "2"})
    assert load_snapshot(file, 2, run_id).keys() == tensors.keys()


@pytest.mark.parametrize("name", [WEIGHTS, DETECTIONS, LOSSES, STATISTICS])
def test_a_record_lists_its_files_and_readers_hold_them_against_it(copy: Path, straight: Run, name: str) -> None:
    record = straight[0]
    assert record.files[name].bytes == (copy / name).stat().st_size
    readers: dict[str, Callable[[], object]] = {
        WEIGHTS: lambda: open_run(copy),
        LOSSES: lambda: losses_of(copy, record),
        STATISTICS: lambda: statistics_of(copy, record),
    }
    text = (copy / name).read_bytes()
    flip(copy / name, text.rfind(b"1") if name != WEIGHTS else len(text) - 9)  # another number, and still well formed
    if name == DETECTIONS:
        assert lacking(copy, record) == "its detections are not those of its record"
        return
    with pytest.raises(RunError, match="sha256"):
        readers[name]()


@pytest.mark.parametrize("name", [WEIGHTS, LOSSES, STATISTICS])
@pytest.mark.parametrize("gone", [True, False])
def test_a_finished_run_that_lost_what_cannot_be_made_again_is_not_done(
    copy: Path, small_runs: Go, tmp_path: Path, name: str, gone: bool
) -> None:
    if gone:
        (copy / name).unlink()
    else:
        with (copy / name).open("ab") as file:
            file.write(b"\n")
    outcome, text = small_runs(*CHECKPOINTED, output=tmp_path)
    assert outcome.errors == (1,)
    assert f"{name} {'is gone' if gone else 'has '}" in text
    assert "put it back, or move the folder away" in text
    _, planned = small_runs(*CHECKPOINTED, output=tmp_path, dry_run=True)
    assert "will fail" in planned


@pytest.mark.parametrize("gone", [True, False])
def test_lost_detections_are_made_again_from_the_weights(
    copy: Path, straight: Run, small_runs: Go, tmp_path: Path, gone: bool
) -> None:
    before = (copy / "record.json").read_bytes()
    if gone:
        (copy / DETECTIONS).unlink()
    else:
        (copy / DETECTIONS).write_text("[]")
    outcome, text = small_runs(*CHECKPOINTED, output=tmp_path)
    assert outcome.exit_code == 0
    assert f"its {DETECTIONS} {'is gone' if gone else 'has 2 bytes'}" in text
    same(straight[1], copy)
    assert (copy / "record.json").read_bytes() == before
    _, text = small_runs(*CHECKPOINTED, output=tmp_path)
    assert "done already" in text


def test_a_record_of_before_files_were_listed_is_read(copy: Path, small_runs: Go, tmp_path: Path) -> None:
    write_record(copy, read_record(copy / "record.json").model_copy(update={"files": {}}))
    content = json.loads((copy / "record.json").read_text())
    assert content["files"] == {}
    _, text = small_runs(*CHECKPOINTED, output=tmp_path)
    assert "done already" in text
    (copy / WEIGHTS).unlink()
    outcome, text = small_runs(*CHECKPOINTED, output=tmp_path)
    assert outcome.errors == (1,)
    assert f"{WEIGHTS} is gone" in text


def test_what_a_kill_left_of_a_finished_run_goes(
    copy: Path, begun: Callable[[Path], Path], small_runs: Go, tmp_path: Path
) -> None:
    """Checkpoints, and the lease of a process that is no more; not while another process is at the run."""
    left = begun(tmp_path / "other")
    shutil.copytree(left / CHECKPOINTS, copy / CHECKPOINTS)
    with exclusive(copy / LOCK, bool):
        assert "done already" in small_runs(*CHECKPOINTED, output=tmp_path)[1]
        assert (copy / CHECKPOINTS).is_dir()
    held = (
        "from assignbench.lock import exclusive; one = exclusive(Path(sys.argv[1]), bool); one.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", f"import os, sys; from pathlib import Path; {held}", copy / LOCK], check=True)
    assert (copy / LOCK).is_file()
    assert "done already" in small_runs(*CHECKPOINTED, output=tmp_path)[1]
    assert not (copy / CHECKPOINTS).exists()
    assert not (copy / LOCK).exists()
