"""Jobs of a SLURM cluster, submitted as arrays by submitit; all machines see the output folder.

A job that is pre-empted, or whose time is nearly up, gets a signal, saves a checkpoint and queues itself again. So a
run goes on when nobody watches any more. What a job prints is in ``job.log`` in its run's folder; submitit's own files
and logs are in ``.slurm`` beside these folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assignbench.engines.ends import furthest
from assignbench.engines.engine import Look
from assignbench.engines.job import Job, Needs
from assignbench.engines.tether import let_go, start
from assignbench.errors import DeviceFault, Stopped, SystemProblem, UsageError
from assignbench.files import make_folder
from assignbench.machine import THREADS

if TYPE_CHECKING:
    from submitit import SlurmExecutor

FILES = ".slurm"  # beside the folders of runs: what submitit writes
SELDOM = 10.0  # seconds between two questions to a controller
PATIENCE = 300.0  # seconds for cancelled jobs to end; SLURM itself kills them after 30, unless their node is lost
LARGEST_ARRAY = 1000  # SLURM's own limit, unless the cluster has another
NOTICE = signal.SIGUSR2  # tells a job to leave
AHEAD = 120  # seconds before the end of its time at which it does
WIDTHS = {"JobArrayID": 64, "State": 24, "exit_code": 12, "NodeList": 128}  # columns of squeue
QUEUED = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "CONFIGURING", "SPECIAL_EXIT", "SUSPENDED")
RUNNING = ("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED")
LOST = {
    "TIMEOUT": "its time was up",
    "PREEMPTED": "pre-empted",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
}


class Slurm:
    """The cluster that this machine submits to."""

    name = "slurm"
    survives = True
    poll = 1.0  # at first; a controller is not asked so often for days
    tries = 30  # times that a command of SLURM's is repeated, `SELDOM` apart, while the controller is away

    def __init__(self, needs: Needs) -> None:
        """Raises SystemProblem without submitit or SLURM, UsageError if a need makes no sense."""
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise SystemProblem("--on slurm needs submitit: pip install 'assignbench[slurm]'") from None
        absent = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]
        if absent:
            raise SystemProblem(f"--on slurm: no {', '.join(absent)} here; log in to a machine of the cluster")
        if "array" in needs.more:
            raise UsageError("--needs more.array: the jobs are the array; leave it out")
        self._needs = needs

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """As `Engine.submit`; jobs of one folder become arrays."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        handles = []
        for first in range(0, len(jobs), LARGEST_ARRAY):
            part = jobs[first : first + LARGEST_ARRAY]
            try:
                taken = self._executor(part[0]).map_array(work, part, [self._needs.threads] * len(part))
            except (FailedJobError, FailedSubmissionError) as error:
                words = [line.strip() for line in str(error).splitlines() if line.startswith("sbatch:")]
                raise SystemProblem(f"sbatch refuses the jobs: {'; '.join(words) or error}") from None
            handles += [one.job_id for one in taken]
        return handles

    def look(self, handles: Sequence[str]) -> list[Look]:
        """As `Engine.look`."""
        self.poll = min(1.1 * self.poll, SELDOM)
        own = ["--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
        format_ = ",".join(f"{name}:{width}" for name, width in WIDTHS.items())
        found = queued(self._asked("squeue", *own, "--Format", format_))
        if forgotten := [handle for handle in handles if handle not in found]:
            found = accounted(self._remembered(forgotten)) | found
        return [found.get(handle, Look("ended", cause="SLURM does not know it any more")) for handle in handles]

    def stop(self, handles: Sequence[str]) -> None:
        """As `Engine.stop`."""
        if handles:
            self._asked("scancel", "--quiet", *handles)
        end = time.monotonic() + PATIENCE
        while any(look.state != "ended" for look in self.look(handles)) and time.monotonic() < end:
            time.sleep(min(1.0, self.poll))

    def close(self) -> None:
        """As `Engine.close`: jobs go on."""

    def _executor(self, job: Job) -> SlurmExecutor:
        """What submits jobs beside this one, with what is needed."""
        import submitit

        folder = job.folder.parent / FILES
        make_folder(folder)
        needs, threads = self._needs, self._needs.threads
        gpus = needs.gpus or 0
        given = {"time": needs.time, "mem": needs.memory, "partition": needs.partition, "account": needs.account}
        given |= {"requeue": True, "signal": f"{NOTICE.value}@{AHEAD}", "gpus-per-node": gpus or None, **needs.more}
        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(
            job_name="assignbench",
            time=None,  # the partition's, unless it is given: submitit's own choice is five minutes
            wckey=None,
            nodes=needs.nodes,
            ntasks_per_node=max(1, gpus),
            cpus_per_task=None if threads is None else int(threads),
            stderr_to_stdout=True,
            srun_args=["--kill-on-bad-exit=1"],
            additional_parameters={
                key: value for key, value in given.items() if value is not None and value is not False
            },
        )
        return executor

    def _asked(self, *command: str) -> str:
        """What a command of SLURM's says."""
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  # no shell
        for _ in range(self.tries):
            if done.returncode == 0:
                return done.stdout
            time.sleep(SELDOM)
            done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        raise SystemProblem(f"{command[0]} fails: {done.stderr.strip() or done.returncode}; the jobs go on")

    def _remembered(self, handles: Sequence[str]) -> str:
        """What the accounting, if the cluster has one, knows of jobs that the controller has forgotten."""
        if shutil.which("sacct") is None:
            return ""
        columns = "--format=JobID,State,ExitCode,NodeList"
        command = ["sacct", "-X", "--noheader", "--parsable2", columns, f"--jobs={','.join(handles)}"]
        return subprocess.run(command, capture_output=True, text=True).stdout  # noqa: S603


def queued(text: str) -> dict[str, Look]:
    """Looks by handle, from what squeue prints in columns of `WIDTHS`."""
    found = {}
    for line in text.splitlines():
        cells, start = [], 0
        for width in WIDTHS.values():
            cells.append(line[start : start + width].strip())
            start += width
        handle, state, status, nodes = cells
        found[handle] = _look(state, os.waitstatus_to_exitcode(int(status)) if status.isdecimal() else 0, nodes)
    return found


def accounted(text: str) -> dict[str, Look]:
    """Looks by handle, from what sacct prints: ``12_3|FAILED|75:0|node1``."""
    found = {}
    for line in text.splitlines():
        handle, state, status, nodes = line.split("|")
        code, _, by = status.partition(":")
        found[handle] = _look(state.partition(" ")[0], -int(by) if by not in ("", "0") else int(code), nodes)
    return found


def _look(state: str, code: int, nodes: str) -> Look:
    """A job as SLURM has it; ``code`` is negative where a signal ended it."""
    if state in QUEUED:
        return Look("queued")
    if state in RUNNING:
        return Look("running", nodes)
    if state == "OUT_OF_MEMORY":
        return Look("ended", nodes, DeviceFault.exit_code, "it needs more memory; --needs memory=")
    if state == "CANCELLED":
        return Look("ended", nodes, 1, "cancelled")
    if state in LOST or code < 0:
        return Look("ended", nodes, None, LOST.get(state, f"killed by signal {-code}"))
    return Look("ended", nodes, code)


def work(job: Job, threads: str | None) -> None:
    """On a node: one process of a job; it leaves with the job's exit code.

    Args:
        job: what to do.
        threads: of each process; None: as many as the cores it has.
    """
    import submitit

    place = submitit.JobEnvironment()
    before = furthest(job.folder)
    signal.pthread_sigmask(signal.SIG_BLOCK, [NOTICE])  # SLURM sends it to all processes; this one is to hear it
    process = start(job, {THREADS: threads, **_together(place)})
    for number in (signal.SIGTERM, NOTICE):  # in place of submitit's handlers
        signal.signal(number, lambda *_: let_go(process))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [NOTICE])
    code = process.wait()
    if code == Stopped.exit_code and place.global_rank == 0 and furthest(job.folder) > before:
        _go_on_later(place.job_id)
    sys.exit(code if code >= 0 else 128 - code)


def _go_on_later(handle: str) -> None:
    """Queue this job again, unless it was cancelled or its time is over: SLURM would do it even then."""
    asked = ["squeue", "--noheader", f"--jobs={handle}", "--Format=State"]
    state = subprocess.run(asked, capture_output=True, text=True).stdout.strip()  # noqa: S603
    if state == "RUNNING":  # one that was cancelled is COMPLETING
        subprocess.run(["scontrol", "requeue", handle])  # noqa: S603, S607


def _together(place: Any) -> dict[str, str]:
    """By which processes of several nodes or GPUs find each other, as torchrun would say it; none for one alone."""
    if place.num_tasks == 1:
        return {}
    from submitit.helpers import TorchDistributedEnvironment

    meeting = TorchDistributedEnvironment()
    return {
        "RANK": str(meeting.rank),
        "WORLD_SIZE": str(meeting.world_size),
        "LOCAL_RANK": str(meeting.local_rank),
        "LOCAL_WORLD_SIZE": str(meeting.local_world_size),
        "MASTER_ADDR": os.environ.get("SLURM_LAUNCH_NODE_IPADDR", meeting.master_addr),  # of the first node
        "MASTER_PORT": str(meeting.master_port),
    }
