"""What a job asks for, and its command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from assignbench.engines.job import Job, Needs, needs_of
from assignbench.errors import UsageError
from assignbench.machine import own_cores


def test_needs_come_from_options_and_files_and_the_later_one_decides(tmp_path: Path) -> None:
    file = tmp_path / "gpu.yaml"
    file.write_text("partition: gpu\ntime: 8:00:00\ngpus: 2\nmore:\n  qos: low\n  exclusive: true\n")
    found = needs_of([str(file), "gpus=1", "more.qos=high", "memory=32G", "account=12"])
    assert found == Needs(
        partition="gpu", time="8:00:00", gpus=1, memory="32G", account="12", more={"qos": "high", "exclusive": True}
    )
    assert needs_of([]) == Needs()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partion=gpu", "partition"),
        ("gpus=two", 'gpus = "two" must be a whole number'),
        ("gpus=-1", "≥ 0"),
        ("cpus=0", "> 0"),
        ("cpus=99999999999999999999", "≤ 4096"),
        ("gpus", "its value is missing"),
        ("cpus=true", "must be a whole number"),
        ("away.yaml", "away.yaml"),
    ],
)
def test_wrong_needs_are_told(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        needs_of([text])


@pytest.mark.parametrize(("stated", "threads"), [("3", "3"), ("4,2", "4"), ("abc", "own"), ("0", "own"), ("", "own")])
def test_threads_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch, stated: str, threads: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert Needs().threads == (str(own_cores()) if threads == "own" else threads)
    assert Needs(cpus=5).threads == "5"
    assert Needs(gpus=1).threads is None


def test_a_folder_that_this_process_does_not_import_from_is_on_no_job_s_path(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("r", "t", ("run",), Path("/r"))
    monkeypatch.setattr(sys, "path", ["/somewhere"])
    assert job.command()[1:] == ["-P", "-m", "assignbench", "run"]
    monkeypatch.setattr(sys, "path", ["", "/somewhere"])
    assert job.command()[1:] == ["-m", "assignbench", "run"]


def test_a_name_of_two_lines_is_refused_and_any_other_stands_as_it_is() -> None:
    with pytest.raises(UsageError, match="control character"):
        _ = Job("r", "t", ("run", "--output", "a\nb"), Path("/r")).line
    assert shlex.split(Job("r", "t", ("--output", "خانه\u200cها 'ö"), Path("/r")).line)[2] == "خانه\u200cها 'ö"


def test_the_line_of_a_job_is_one_command_for_a_shell() -> None:
    job = Job("r", "t", ("run", "--assigner", "autoassign[tau=0.5]", "--output", "my runs", "--only", "r"), Path("/r"))
    assert shlex.split(job.line) == ["assignbench", *job.arguments]
    assert job.command()[-len(job.arguments) :] == [*job.arguments]
