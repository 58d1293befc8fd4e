"""How a process computes on this machine: threads, how they wait for each other, loader processes.

None of it decides a result beyond rounding, so none of it is part of a run's name. It has to be settled before torch
is loaded, and so nothing here imports torch: OpenMP's library reads its variables once, when it is loaded.

Threads of libgomp, which torch's wheels bring along, spin some milliseconds before they sleep. Beside any other
program that is ruinous: the thread that all wait for gets no core, because those that wait hold it. Spinning as long
as it takes to fall asleep and to be woken costs little where the machine is quiet, and nothing where it is not.
"""

import math
import os
import signal
from collections.abc import Mapping, MutableMapping
from pathlib import Path

# signals that a scheduler sends to all processes of a job before it takes the machine away
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
SPINS = "1000"  # some tens of microseconds; libgomp's own choice is 300 000
THREADS, SPINNING = "OMP_NUM_THREADS", "GOMP_SPINCOUNT"
WAITING = (SPINNING, "OMP_WAIT_POLICY", "KMP_BLOCKTIME")  # a user who sets one of them has chosen
MOST_WORKERS = 8  # more loader processes than these were never needed to keep a GPU busy
BUSY = 1.5  # programs that want a core, for each of them, from which on work takes visibly longer
ENOUGH = 4  # cores of a process from where one of them may load pictures for the others


def settle(environment: MutableMapping[str, str], launched_with: Mapping[str, str], cores: int) -> None:
    """Choose threads and waiting, where the user has not.

    Args:
        environment: of this process; changed in place, before torch is loaded.
        launched_with: what the user had set: ``environment`` itself, or that of the launcher that made it from its own.
        cores: that this process and those beside it may use, as `usable_cores` has them.
    """
    if THREADS not in launched_with and "MKL_NUM_THREADS" not in launched_with:
        environment[THREADS] = str(share(cores, environment))
    if not any(name in launched_with for name in WAITING):
        environment[SPINNING] = SPINS


def share(cores: int, environment: Mapping[str, str]) -> int:
    """Cores of one process, of those that a launcher started here."""
    local = environment.get("LOCAL_WORLD_SIZE", "1")
    return max(1, cores // max(1, int(local) if local.isdecimal() else 1))


def busy(cores: int) -> str | None:
    """Says that other programs want the cores, too; None: they hardly do, or the system does not tell."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"the machine is busy (load {load:.0f} on {cores} cores)" if load > BUSY * cores else None


def waiting(environment: Mapping[str, str]) -> str:
    """How threads wait for each other, as the record has it: "GOMP_SPINCOUNT=1000"."""
    return ", ".join(f"{name}={environment[name]}" for name in WAITING if name in environment) or "OpenMP's default"


def loader_processes(workers: int | str, cores: int, *, on_gpu: bool) -> int:
    """``data.workers`` as a number.

    Beside a GPU the cores are there to load. On a CPU they compute, and a loader process takes from them.

    Args:
        workers: of the recipe: a number, which is taken as it is, or auto.
        cores: of this process.
        on_gpu: whether a GPU trains.
    """
    if isinstance(workers, int):
        return workers
    if on_gpu:
        return min(MOST_WORKERS, cores)
    return 1 if cores >= ENOUGH else 0


def usable_cores(affinity: int, proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """CPU cores that this process can really have: those it is bound to, within the quota of its control groups.

    Args:
        affinity: cores it is bound to.
        proc: the process's groups.
        root: where control groups are mounted.
    """
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return affinity
    quotas = [quota for line in lines for quota in _quotas(line, root)]
    return max(1, min(affinity, *(math.ceil(quota) for quota in quotas), affinity))


def own_cores() -> int:
    """CPU cores that this process can really have beside those that were started with it."""
    return share(usable_cores(bound_to()), os.environ)


def bound_to() -> int:
    """CPU cores that this process is bound to."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(line: str, root: Path) -> list[float]:
    """Cores that the group ``number:controllers:path`` and those around it allow; a container may not show all."""
    _, controllers, path = line.split(":", 2)
    if controllers == "":  # version 2
        return [quota for folder in _upwards(root, path) if (quota := _unified(folder)) is not None]
    if "cpu" not in controllers.split(","):
        return []
    mounts = dict.fromkeys((root / controllers, root / "cpu", root / "cpu,cpuacct"))
    return [quota for mount in mounts for folder in _upwards(mount, path) if (quota := _divided(folder)) is not None]


def _upwards(mount: Path, path: str) -> list[Path]:
    inner = mount / path.strip("/")
    return [inner, *(folder for folder in inner.parents if folder.is_relative_to(mount))]


def _unified(folder: Path) -> float | None:
    """Of version 2: ``cpu.max`` holds "quota period", or "max period"."""
    words = _words(folder / "cpu.max")
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _divided(folder: Path) -> float | None:
    """Of version 1: a quota of −1 is none."""
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    return int(quota[0]) / int(period[0]) if quota and period and int(quota[0]) > 0 else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []
