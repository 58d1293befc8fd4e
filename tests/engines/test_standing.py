"""How runs stand, by what their folders hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assignbench.engines import history
from assignbench.engines.engine import Look
from assignbench.engines.job import Job
from assignbench.engines.standing import standing, standings
from assignbench.engines.view import left
from assignbench.errors import UsageError
from assignbench.lock import exclusive
from assignbench.run.results.names import LOCK
from assignbench.run.results.progress import ProgressFile, RunProgress
from assignbench.run.results.record import RunRecord, write_record


def job_in(folder: Path) -> Job:
    return Job(folder.name, "mine", ("run",), folder)


def test_a_run_is_done_by_a_whole_record_alone(tmp_path: Path, make_record: Callable[[], RunRecord]) -> None:
    folder = tmp_path / "run"
    write_record(folder, make_record())
    found = standing(folder)
    assert found is not None
    assert found.state == "done"
    (folder / "record.json").write_text("{}")
    found = standing(folder)
    assert found is not None
    assert found.state == "failed"
    assert "damaged" in found.cause


def test_whoever_holds_the_folder_runs_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with exclusive(tmp_path / LOCK, bool):
        ProgressFile(tmp_path, 10).tell("training", 3)
        found = standing(tmp_path)
    assert found is not None
    assert (found.state, found.progress and (found.progress.iteration, found.progress.iterations)) == (
        "running",
        (3, 10),
    )
    assert found.where.startswith("process ")
    assert getattr(standing(tmp_path), "state", None) == "stopped"


@pytest.mark.parametrize(
    ("event", "look", "state"),
    [
        (history.SUBMITTED, Look("queued"), "queued"),
        (history.RUNNING, Look("running", "node"), "running"),
        (history.AGAIN, Look("ended", "node"), "queued"),
        (history.FAILED, Look("ended", "node", 3), "failed"),
    ],
)
def test_of_a_job_the_last_that_happened_counts(tmp_path: Path, event: str, look: Look, state: str) -> None:
    history.note(job_in(tmp_path), event, "slurm", "7_1", look, "no such file" if state == "failed" else "")
    found = standing(tmp_path)
    assert found is not None
    assert found.state == state
    assert found.cause == ("no such file" if state == "failed" else "")


def test_jobs_of_a_command_that_has_died_are_stopped(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    history.note(job_in(tmp_path), history.SUBMITTED, "local", "run")
    log = tmp_path / "jobs.jsonl"
    row = json.loads(log.read_text())
    row["conductor"] = row["conductor"].partition(":")[0] + f":{int(dead.stdout)}"
    log.write_text(json.dumps(row) + "\n")
    (tmp_path / "checkpoints" / "iteration-0000250").mkdir(parents=True)
    found = standing(tmp_path)
    assert found is not None
    assert (found.state, found.cause) == ("stopped", "with a checkpoint of iteration 250")


def test_odd_numbers_in_odd_files_stop_nobody_s_look(tmp_path: Path) -> None:
    history.note(job_in(tmp_path), history.RUNNING, "local", "run")
    log = tmp_path / "jobs.jsonl"
    row = json.loads(log.read_text())
    row["conductor"] = row["conductor"].partition(":")[0] + ":" + "9" * 30
    log.write_text(json.dumps(row) + "\n")
    assert getattr(standing(tmp_path), "state", None) == "stopped"
    for pace in (1e308, -1.0, 1e300):
        assert left(RunProgress(1, 10**9, pace, "training", "host", 1, datetime.now(UTC))) == ""


def test_a_failure_is_said_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "failures.jsonl").write_text(json.dumps({"error": "no luck"}) + "\n")
    found = standing(tmp_path)
    assert found is not None
    assert (found.state, found.cause) == ("failed", "no luck")


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").touch()
    assert standings(tmp_path) == []
    with pytest.raises(UsageError, match="there is no folder"):
        standings(tmp_path / "away")


def test_one_run_is_no_folder_of_runs(tmp_path: Path, make_record: Callable[[], RunRecord]) -> None:
    record = make_record()
    write_record(tmp_path / record.run_id, record)
    with pytest.raises(UsageError, match="is one run; name the folder that it lies in"):
        standings(tmp_path / record.run_id)
