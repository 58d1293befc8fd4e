"""What a job asks for, and its command."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from assignbench.engines.job import Job, Needs, needs_of
from assignbench.errors import UsageError


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
        ("cpus=true", "must be a whole number"),
        ("away.yaml", "away.yaml"),
    ],
)
def test_wrong_needs_are_told(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        needs_of([text])


def test_the_line_of_a_job_is_one_command_for_a_shell() -> None:
    job = Job("r", "t", ("run", "--assigner", "autoassign[tau=0.5]", "--output", "my runs", "--only", "r"), Path("/r"))
    assert shlex.split(job.line) == ["assignbench", *job.arguments]
    assert job.command()[1:] == ["-m", "assignbench", *job.arguments]
