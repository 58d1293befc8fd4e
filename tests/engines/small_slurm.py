"""A real SLURM of this machine alone: one controller and two node daemons on loopback, in a folder of their own.

    python tests/engines/small_slurm.py sinfo          # starts it, runs the command with it, stops it

Debian and Ubuntu have it: apt-get install slurm-wlm munge. It needs no configuration of the machine, no systemd, no
accounting and no control groups, and nothing of it is left when it has stopped.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "setpriv")
NODES = ("node1", "node2")
REQUEUED = 6  # seconds until a requeued job starts again; SLURM's own choice is 120
KILL_WAIT = 10  # seconds between SIGTERM and SIGKILL
PATIENCE = 30.0  # seconds for the daemons to start

CONFIGURATION = """\
ClusterName=small
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={requeued}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=300
KillWait={kill_wait}
NodeName={nodes[0]} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus[0]} RealMemory=1000
NodeName={nodes[1]} NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus[1]} RealMemory=1000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""


@dataclass(frozen=True)
class SmallSlurm:
    """A SLURM that runs."""

    folder: Path
    environment: Mapping[str, str]  # what its commands need beside this process's own

    def ask(self, *command: str) -> str:
        """Standard output of a command of SLURM's."""
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def logs(self) -> str:
        """What the daemons said last."""
        return "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in sorted(self.folder.glob("*.log")))


def missing() -> str:
    """Why there can be no SLURM here; "": there can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return f"no {', '.join(absent)} here; Debian: apt-get install slurm-wlm munge" if absent else ""


@contextmanager
def small_slurm(cpus: tuple[int, int] = (2, 2)) -> Iterator[SmallSlurm]:
    """A SLURM of two nodes.

    Args:
        cpus: of each node, as SLURM counts them: so many jobs of one CPU run there at once.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)  # munged refuses a socket that others cannot reach
        (folder / "munge").mkdir(mode=0o755)
        (folder / "state").mkdir()
        key = folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        words = {"folder": folder, "user": getpass.getuser(), "nodes": NODES, "cpus": cpus, "ports": _free_ports(3)}
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(**words, requeued=REQUEUED, kill_wait=KILL_WAIT))
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        slurm = SmallSlurm(folder, {"SLURM_CONF": str(configuration), "PATH": path})

        def start(name: str, *command: str) -> None:
            stack.enter_context(_daemon(folder / f"{name}.log", command, slurm))

        steps: set[psutil.Process] = set()
        stack.callback(_kill, steps)  # last of all: those that did not leave
        files = (f"--{name}-file={folder}/munge/{name}" for name in ("key", "pid", "log", "seed"))
        start("munged", "munged", "--foreground", f"--socket={folder}/munge/socket", *files)
        _wait(lambda: (folder / "munge" / "socket").exists(), slurm)
        start("slurmctld", "slurmctld", "-D")
        for node in NODES:
            start(node, "slurmd", "-D", "-N", node)
        _wait(lambda: slurm.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split() == ["idle", "idle"], slurm)
        stack.callback(_cancel_all, slurm, steps)
        yield slurm


@contextmanager
def _daemon(log: Path, command: Sequence[str], slurm: SmallSlurm) -> Iterator[None]:
    """A daemon in the foreground; it ends with this process, however that ends."""
    with log.open("w") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],
            env={**os.environ, **slurm.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _cancel_all(slurm: SmallSlurm, steps: set[psutil.Process]) -> None:
    """Jobs, and whoever submits them, end before their nodes do: without a controller their steps would wait for it."""
    jobs = _started_for(slurm.environment["SLURM_CONF"])
    steps |= {parent for job in jobs if (parent := _step_of(job)) is not None}
    slurm.ask("scancel", "--user", getpass.getuser())
    _kill(jobs)
    end = time.monotonic() + PATIENCE
    while slurm.ask("squeue", "-h").strip() and time.monotonic() < end:
        time.sleep(0.2)


def _started_for(configuration: str) -> set[psutil.Process]:
    """Processes with the environment of this SLURM, but for its daemons' own steps, which write over theirs."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("SLURM_CONF") == configuration and process.name() not in PROGRAMS:
                found.add(process)
    return found - {psutil.Process()}


def _step_of(process: psutil.Process) -> psutil.Process | None:
    with suppress(psutil.Error):
        parent = process.parent()
        return parent if parent is not None and parent.name().startswith("slurmstepd") else None
    return None


def _kill(processes: set[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _wait(ready: Callable[[], bool], slurm: SmallSlurm) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if ready():
                return
        except AssertionError:  # the controller does not answer yet
            pass
        if time.monotonic() > end:
            raise RuntimeError(f"SLURM did not start within {PATIENCE:.0f} s\n{slurm.logs()}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    if missing():
        sys.exit(missing())
    with small_slurm() as running:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, **running.environment}).returncode)
