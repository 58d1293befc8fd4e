"""The SLURM engine, on a real SLURM of two nodes; what its commands print is also read from text."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from assignbench.engines.engine import Look
from assignbench.engines.job import Job, Needs
from assignbench.engines.slurm import WIDTHS, Slurm, accounted, queued
from assignbench.errors import DeviceFault, SystemProblem, UsageError


def row(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS.values(), strict=True))


def test_states_are_read_from_squeue() -> None:
    rows = {
        "7": ("PENDING", "0", "", Look("queued")),
        "8_0": ("RUNNING", "0", "node1", Look("running", "node1")),
        "8_1": ("COMPLETING", "19200", "node1", Look("running", "node1")),
        "8_2": ("COMPLETED", "0", "node2", Look("ended", "node2", 0)),
        "8_3": ("FAILED", "19200", "node2", Look("ended", "node2", 75)),
        "8_4": ("FAILED", "9", "node2", Look("ended", "node2", None, "killed by signal 9")),
        "8_5": ("TIMEOUT", "15", "node2", Look("ended", "node2", None, "its time was up")),
        "8_6": ("NODE_FAIL", "0", "node[1-2]", Look("ended", "node[1-2]", None, "its node failed")),
        "8_7": ("CANCELLED", "15", "node1", Look("ended", "node1", 1, "cancelled")),
        "8_8": ("PREEMPTED", "15", "node1", Look("ended", "node1", None, "pre-empted")),
    }
    text = "\n".join(row(handle, *cells[:3]) for handle, cells in rows.items())
    assert queued(text) == {handle: cells[3] for handle, cells in rows.items()}


def test_states_are_read_from_the_accounting() -> None:
    text = "8_0|COMPLETED|0:0|node1\n8_1|FAILED|75:0|node1\n8_2|CANCELLED by 1000|0:15|node1\n8_3|FAILED|0:9|node1\n"
    assert accounted(text) == {
        "8_0": Look("ended", "node1", 0),
        "8_1": Look("ended", "node1", 75),
        "8_2": Look("ended", "node1", 1, "cancelled"),
        "8_3": Look("ended", "node1", None, "killed by signal 9"),
    }
    (short,) = accounted("9|OUT_OF_MEMORY|0:125|node1\n").values()
    assert short.code == DeviceFault.exit_code


def test_without_slurm_it_is_said_where_to_go(monkeypatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        SystemProblem, match="no sbatch, srun, squeue, scancel here; log in to a machine of the cluster"
    ):
        Slurm(Needs())


def test_the_array_is_not_the_user_s(slurm) -> None:
    with pytest.raises(UsageError, match=r"--needs more\.array: the jobs are the array; leave it out"):
        Slurm(Needs(more={"array": "0-3"}))


def test_what_sbatch_refuses_is_said_in_its_words(slurm, tmp_path) -> None:
    job = Job("r", "r", ("run",), tmp_path / "r")
    with pytest.raises(SystemProblem, match=r"sbatch refuses the jobs: sbatch: error: .*nonesuch"):
        Slurm(Needs(partition="nonesuch")).submit([job, job])


def test_two_nodes_train_one_run(slurm, command, eventually, tmp_path) -> None:
    job = command.jobs(tmp_path)[0]
    engine = Slurm(Needs(cpus=1, nodes=2, time="30"))
    (handle,) = engine.submit([job])
    eventually(lambda: engine.look([handle])[0].state == "ended", "the job ends")
    assert engine.look([handle]) == [Look("ended", "node[1-2]", 0)], (job.folder / "job.log").read_text()
    assert json.loads((job.folder / "record.json").read_text())["environment"]["processes"] == 2


def test_without_submitit_it_is_said_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SystemProblem, match=r"pip install 'assignbench\[slurm\]'"):
        Slurm(Needs())


@pytest.fixture
def engine(slurm) -> Slurm:
    return Slurm(Needs(cpus=1, time="30"))


def iterations(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("iteration-*"))


def test_requeued_timed_out_pre_empted_and_cancelled_jobs_end_in_the_same_bytes(
    slurm, engine, command, facts, undisturbed, eventually, tmp_path
) -> None:
    jobs = command.jobs(tmp_path)
    with command.braked() as release:
        handles = engine.submit(jobs)
        first, second, third = handles
        assert [handle.partition("_")[2] for handle in handles] == ["0", "1", "2"], "they are one array"
        for job in jobs:
            eventually(lambda job=job: iterations(job.folder), f"a checkpoint of {job.run_id}")
        soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 60))  # closer than a job's notice
        slurm.ask("scontrol", "update", f"JobId={second}", f"EndTime={soon}")
        slurm.ask("scontrol", "requeue", first)
        (look,) = engine.look([third])
        urgent = ("--partition=urgent", f"--nodelist={look.where}", "--exclusive", "--output=/dev/null", "--wrap=true")
        slurm.ask("sbatch", *urgent)

        def restarts(handle: str) -> int:
            return int(slurm.ask("squeue", "-h", "-r", "-t", "all", "-j", handle, "-O", "RestartCnt"))

        eventually(lambda: [restarts(handle) for handle in handles] == [1, 1, 1], "all are queued again")
        eventually(lambda: engine.look([third])[0].state == "running", "the job that was pre-empted runs again")
        engine.stop([third])
        (look,) = engine.look([third])
        assert (look.state, look.code, look.cause) == ("ended", 1, "cancelled")
        assert iterations(jobs[2].folder), "a cancelled job keeps its checkpoint"
        assert not (jobs[2].folder / "record.json").exists()
        slurm.ask("scontrol", "update", f"JobId={second}", "TimeLimit=30")
        release()
        eventually(lambda: all(look.state == "ended" for look in engine.look(handles)), "all jobs end")
    assert [look.code for look in engine.look([first, second])] == [0, 0]

    output = command.call(tmp_path, "--resume", "--on", "slurm", "--needs", "cpus=1")
    assert "2 done, 1 to do" in output
    assert facts(tmp_path) == undisturbed
