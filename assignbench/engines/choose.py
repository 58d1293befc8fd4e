"""Which engine computes the runs, by what was asked for and what this machine has."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from assignbench.engines.engine import ENGINES, Engine
from assignbench.engines.job import Needs, needs_of
from assignbench.engines.local import Local, slots
from assignbench.errors import UsageError
from assignbench.machine import THREADS, own_cores
from assignbench.run.training.device import device_of
from assignbench.suggest import did_you_mean


def engine_of(on: str, jobs: int | None, needs: Sequence[str], *, device: str, precision: str) -> Engine | None:
    """The engine of that name; None: this process itself computes.

    Args:
        on: local, slurm, ray or ray:ADDRESS.
        jobs: local: how many runs at a time; None: one for each GPU, else one.
        needs: of a job, as `needs_of` reads them.
        device: auto, cpu or cuda.
        precision: of the recipe, as it is written.

    Raises:
        UsageError: there is no such engine, or it does not have what is asked for.
        SystemProblem: the engine is not installed, or cannot be reached.
    """
    wanted, (name, colon, address) = needs_of(needs), on.partition(":")
    if name not in ("local", "slurm", "ray") or bool(colon) != bool(address) or (address and name != "ray"):
        raise UsageError(f"--on {on}: no engine is called so{did_you_mean(on, ENGINES)}\nknown: {', '.join(ENGINES)}")
    if name == "local":
        return local(jobs, wanted, device)
    if jobs is not None:
        raise UsageError(f"--jobs is for --on local: {name} itself decides how many run at a time")
    if (name == "slurm" or address) and precision == "auto":
        raise UsageError(
            "train.precision is auto, which the machine that trains settles, and this one cannot ask it; "
            "add --set train.precision=bf16 (or no)"
        )
    if name == "ray" and (other := wanted.beside("cpus", "gpus")):
        raise UsageError(f"--needs {', '.join(other)}: --on slurm alone knows that; --on ray knows cpus and gpus")
    if name == "slurm":
        from assignbench.engines.slurm import Slurm

        return Slurm(wanted)
    from assignbench.engines.ray import OnRay

    return OnRay(address or None, wanted)


def local(jobs: int | None, needs: Needs, device: str) -> Local | None:
    """Jobs on this machine; None: there is one at a time, on the CPU, which needs no process of its own."""
    if other := needs.beside("cpus"):
        raise UsageError(f"--needs {', '.join(other)}: for --on slurm, and gpus for --on ray; this machine knows cpus")
    gpus = visible_gpus() if device_of(device).type == "cuda" else []
    if jobs is None and needs.cpus is None and not gpus:
        return None
    threads = {} if needs.cpus is None else {THREADS: str(needs.cpus)}
    return Local(slots(jobs, gpus, threads, own_cores()))


def visible_gpus() -> list[str]:
    """The GPUs that torch sees, as CUDA_VISIBLE_DEVICES names them."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] if named else [str(number) for number in range(count)]
