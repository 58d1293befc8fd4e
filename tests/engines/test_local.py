"""The engine of this machine: whatever happens to its processes, runs end in the bytes of one undisturbed process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from assignbench.engines.job import Job, Needs
from assignbench.engines.local import Local, slots
from assignbench.engines.tether import let_go, start
from assignbench.errors import Stopped

TWO = ("--jobs", "2", "--needs", "cpus=1")


def jobs_of(conductor: int) -> list[psutil.Process]:
    """The jobs of a command that have begun to train or soon will."""
    found = []
    for child in psutil.Process(conductor).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            found += [child] if "--tethered" in child.cmdline() else []
    return found


def checkpoints(output: Path) -> list[Path]:
    return sorted(output.glob("*/checkpoints/iteration-*"))


def begun(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_whoever_is_killed_or_stopped_nothing_is_lost(command, facts, undisturbed, eventually, tmp_path) -> None:
    with command.braked() as release:
        for how, code in ((signal.SIGKILL, -9), (signal.SIGTERM, Stopped.exit_code)):
            before = checkpoints(tmp_path)
            process = begun(command(tmp_path, *TWO, "--resume"))
            eventually(lambda before=before: len(set(checkpoints(tmp_path)) - set(before)) >= 2, "new checkpoints")
            jobs = jobs_of(process.pid)
            process.send_signal(how)
            output, _ = process.communicate(timeout=120)
            assert process.returncode == code, output
            eventually(lambda jobs=jobs: not any(map(psutil.Process.is_running, jobs)), "the jobs have left")
            assert "0 done, 3 to do" in output
        process = begun(command(tmp_path, *TWO, "--resume"))
        eventually(lambda: jobs_of(process.pid), "jobs")
        jobs_of(process.pid)[0].kill()
        release()
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "killed by SIGKILL; it goes on" in output
    assert facts(tmp_path) == undisturbed


def test_jobs_on_gpus_share_the_cores_and_have_one_gpu_each() -> None:
    found = slots(None, ["0", "GPU-8f3a"], {}, cores=9)
    assert [slot.name for slot in found] == ["GPU 0", "GPU GPU-8f3a"]
    assert [dict(slot.environment) for slot in found] == [
        {"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "4"},
        {"CUDA_VISIBLE_DEVICES": "GPU-8f3a", "OMP_NUM_THREADS": "4"},
    ]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(3, ["0", "1"], {}, 8)] == ["0", "1", "0"]


def test_how_many_run_beside_each_other_changes_no_threads() -> None:
    assert {tuple(slot.environment.items()) for slot in slots(3, [], {}, 8)} == {()}
    assert Needs().threads == os.environ.get("OMP_NUM_THREADS", Needs().threads)


def test_a_job_that_cannot_start_has_failed_and_says_why(tmp_path) -> None:
    engine = Local(slots(1, [], {}, 1))
    job = Job("r", "r", ("run", "--assigner", "nonesuch", "--only", "r"), tmp_path / "r")
    (handle,) = engine.submit([job])
    end = time.monotonic() + 60
    while (look := engine.look([handle])[0]).state != "ended" and time.monotonic() < end:
        time.sleep(0.1)
    assert look.code == 2
    assert "nonesuch" in (job.folder / "job.log").read_text()
    engine.close()


def test_a_job_leaves_when_its_worker_lets_go(tmp_path, command, eventually) -> None:
    (job, *_) = command.jobs(tmp_path)
    with command.braked():
        process = start(job, {})
        eventually(lambda: checkpoints(tmp_path), "a checkpoint")
        let_go(process)
        assert process.wait(60) == Stopped.exit_code
