"""What follows from an end: the record alone says done; what did nothing wrong goes on, what would fail again fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assignbench.engines import history
from assignbench.engines.conduct import conduct
from assignbench.engines.ends import FAULTS, STANDSTILLS
from assignbench.engines.engine import Look
from assignbench.engines.job import Job
from assignbench.errors import RunError
from assignbench.run.matrix.ended import Ended

RECORD, CHECKPOINT = "record.json", "checkpoints"
Script = Callable[[Path], Look]


class Scripted:
    """An engine whose jobs do what is written: one script a submission, in turn; the last one again and again."""

    name = "scripted"
    poll = 0.0

    def __init__(self, scripts: Sequence[Script], *, survives: bool = False) -> None:
        self.scripts, self.survives = list(scripts), survives
        self.submitted: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.closed = 0

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        handles = [f"{job.run_id}/{len(self.submitted) + place}" for place, job in enumerate(jobs)]
        self.jobs |= dict(zip(handles, jobs, strict=True))
        self.submitted += handles
        return handles

    def look(self, handles: Sequence[str]) -> list[Look]:
        return [self._look(handle) for handle in handles]

    def _look(self, handle: str) -> Look:
        place = min(int(handle.rpartition("/")[2]), len(self.scripts) - 1)
        return self.scripts[place](self.jobs[handle].folder)

    def stop(self, handles: Sequence[str]) -> None:
        raise AssertionError(handles)

    def close(self) -> None:
        self.closed += 1


def ends(code: int | None, cause: str = "") -> Script:
    return lambda _: Look("ended", "node", code, cause)


def finishes(folder: Path) -> Look:
    folder.mkdir(exist_ok=True)
    (folder / RECORD).touch()
    return Look("ended", "node", 0)


def lost_after(*iterations: int) -> list[Script]:
    """Workers that are lost one after another, each having left a checkpoint."""

    def lost(iteration: int) -> Script:
        def look(folder: Path) -> Look:
            (folder / CHECKPOINT / f"iteration-{iteration:07d}").mkdir(parents=True, exist_ok=True)
            return Look("ended", "node")

        return look

    return [lost(iteration) for iteration in iterations]


def go(engine: Scripted, folder: Path, said: list[str] | None = None) -> Ended:
    job = Job("run", "atss on shapes, seed 0", ("run",), folder / "run")
    heard = [] if said is None else said
    done = lambda job: (job.folder / RECORD).exists()  # noqa: E731
    ((_, end),) = conduct([job], engine, done, lambda _job, _look, line: heard.append(line))
    assert engine.closed == 1
    return end


@pytest.mark.parametrize(
    ("first", "times", "code"),
    [
        (ends(0), 1, 1),  # it says that all is well, and has no record
        (ends(1), 1, 1),
        (ends(2), 1, 2),
        (ends(3), 1, 3),
        (ends(4), 1, 4),
        (ends(6), 1 + FAULTS, 6),
        (ends(139), 1 + FAULTS, 139),  # a segmentation fault
        (ends(130), 1, 130),  # somebody has interrupted this job
        (ends(None), 1 + STANDSTILLS, 1),
        (ends(137), 1 + STANDSTILLS, 1),
        (ends(75), 1 + STANDSTILLS, 1),
    ],
    ids=[
        "no record",
        "failed",
        "usage",
        "data",
        "machine",
        "fault",
        "crash",
        "interrupted",
        "lost",
        "killed",
        "stopped",
    ],
)
def test_how_often_each_end_is_tried(tmp_path: Path, first: Script, times: int, code: int) -> None:
    engine = Scripted([first])
    end = go(engine, tmp_path)
    assert (end.code, len(engine.submitted)) == (code, times)
    assert end.reason


@pytest.mark.parametrize("code", [6, None, 137, 143, 75])
def test_what_did_nothing_wrong_goes_on(tmp_path: Path, code: int | None) -> None:
    said: list[str] = []
    engine = Scripted([ends(code), finishes])
    assert go(engine, tmp_path, said) == Ended(0)
    assert len(engine.submitted) == 2
    assert any(line.endswith("it goes on") for line in said)


def test_a_run_that_comes_further_is_never_given_up(tmp_path: Path) -> None:
    engine = Scripted([*lost_after(*range(3 * STANDSTILLS)), finishes])
    assert go(engine, tmp_path).code == 0


def test_a_run_that_comes_no_further_is(tmp_path: Path) -> None:
    engine = Scripted([*lost_after(*[5] * 3 * STANDSTILLS), finishes])
    end = go(engine, tmp_path)
    assert end.code == 1
    assert end.reason == f"its worker was lost, {STANDSTILLS + 1} times without coming further"


def test_the_record_alone_says_done(tmp_path: Path) -> None:
    def dies_behind_its_record(folder: Path) -> Look:
        finishes(folder)
        return Look("ended", "node")

    engine = Scripted([dies_behind_its_record])
    assert go(engine, tmp_path).code == 0
    assert len(engine.submitted) == 1


def test_the_cause_is_the_runs_own_words(tmp_path: Path) -> None:
    def fails(folder: Path) -> Look:
        (folder / "failures.jsonl").write_text(json.dumps({"error": "loss is not finite\nlower train.lr"}) + "\n")
        return Look("ended", "node", 1)

    assert go(Scripted([fails]), tmp_path).reason == "loss is not finite; lower train.lr"


def test_whoever_stops_early_closes_the_engine(tmp_path: Path) -> None:
    engine = Scripted([lambda _: Look("running", "node")])
    job = Job("run", "mine", ("run",), tmp_path / "run")

    def interrupt(_job: Job, _look: Look, _line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(conduct([job], engine, lambda _: False, interrupt))
    assert engine.closed == 1


@pytest.mark.parametrize(("survives", "submissions"), [(True, 1), (False, 2)])
def test_a_later_command_takes_up_what_goes_on(tmp_path: Path, survives: bool, submissions: int) -> None:
    goes_on = Scripted([lambda _: Look("running", "node"), finishes], survives=survives)
    job = Job("run", "mine", ("run",), tmp_path / "run")

    def leave(_job: Job, _look: Look, _line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(conduct([job], goes_on, lambda _: False, leave))
    goes_on.scripts[0] = finishes
    said: list[str] = []
    done = lambda job: (job.folder / RECORD).exists()  # noqa: E731
    ((_, end),) = conduct([job], goes_on, done, lambda _job, _look, line: said.append(line))
    assert end.code == 0
    assert len(goes_on.submitted) == submissions


def test_a_record_that_is_damaged_ends_its_run_and_no_other(tmp_path: Path) -> None:
    def done(job: Job) -> bool:
        if job.run_id == "damaged":
            raise RunError("record.json is damaged")
        return (job.folder / RECORD).exists()

    jobs = [Job(name, name, ("run",), tmp_path / name) for name in ("damaged", "sound")]
    found = dict(conduct(jobs, Scripted([finishes]), done, lambda *_: None))
    assert [found[job] for job in jobs] == [Ended(1, "record.json is damaged"), Ended(0)]


def test_a_log_of_jobs_that_cannot_be_written_or_read_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "run" / "jobs.jsonl").mkdir(parents=True)
    assert go(Scripted([ends(None), finishes], survives=True), tmp_path).code == 0


def test_what_a_job_said_last_is_the_cause(tmp_path: Path) -> None:
    def refuses(folder: Path) -> Look:
        (folder / "job.log").write_text("error: first\nerror: no run of this command is called so\n")
        return Look("ended", "node", 2)

    assert go(Scripted([refuses]), tmp_path).reason == "no run of this command is called so"


def test_the_log_says_who_died_when(tmp_path: Path) -> None:
    go(Scripted([ends(None, "its node failed"), finishes]), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "run" / "jobs.jsonl").read_text().splitlines()]
    assert [row["event"] for row in rows] == ["submitted", "again", "submitted", "done"]
    assert (rows[1]["where"], rows[1]["cause"], rows[1]["code"]) == ("node", "its node failed", None)
    newest = history.newest(tmp_path / "run")
    assert newest is not None
    assert newest.conducted
