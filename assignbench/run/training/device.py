"""One Accelerator for a recipe, or a message that says what the machine lacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from assignbench.config import ResolvedRecipe
from assignbench.errors import DeviceFault, SystemProblem, UsageError
from assignbench.machine import bound_to, loader_processes, own_cores
from assignbench.recipe import DataSettings
from assignbench.run.training.surroundings import (
    REFUSED,
    REFUSED_ON_GPU,
    cpu_was_asked_for,
    refuse,
    refuse_half_a_launch,
    set_aside,
)

_FAULTS = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()  # since torch 2.8


def settle_precision(recipe: ResolvedRecipe, device: str) -> ResolvedRecipe:
    """The recipe with ``train.precision = auto`` replaced by what this machine is good at; its origin says so.

    bf16 on GPUs that have it and on CPUs with AMX, float32 elsewhere. Runs are told apart by the answer.
    """
    if recipe.recipe.train.precision != "auto":
        return recipe
    on_gpu = device_of(device).type == "cuda"
    native = torch.cuda.is_bf16_supported() if on_gpu else has_amx()
    train = recipe.recipe.train.model_copy(update={"precision": "bf16" if native else "no"})
    origin = f"{recipe.origins['train.precision']}: auto, settled by the {'GPU' if on_gpu else 'CPU'}"
    return replace(
        recipe,
        recipe=recipe.recipe.model_copy(update={"train": train}),
        origins={**recipe.origins, "train.precision": origin},
    )


def has_amx() -> bool:
    """Whether this CPU has a matrix unit for bf16; without one, bf16 on a CPU is slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8", errors="replace")


def device_of(name: str) -> torch.device:
    """``auto`` (a GPU where there is one, unless the launcher was told to use the CPU), ``cpu`` or ``cuda``.

    Raises:
        UsageError: another name, or cuda under ``accelerate launch --cpu``.
        SystemProblem: cuda is asked for and there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}; known: auto, cpu, cuda")
    cpu_only = cpu_was_asked_for(os.environ)
    if name == "cuda" and cpu_only:
        raise UsageError("accelerate launch was told to use the CPU, and --device is cuda; leave one of them out")
    if name == "cuda" and not torch.cuda.is_available():
        raise SystemProblem("no CUDA device can be used by torch here; leave --device at auto or set it to cpu")
    return torch.device("cuda" if name != "cpu" and not cpu_only and torch.cuda.is_available() else "cpu")


def workers_of(data: DataSettings, device: torch.device) -> int:
    """How many loader processes a process of this run really starts."""
    return min(loader_processes(data.workers, own_cores(), on_gpu=device.type == "cuda"), bound_to())


def build_accelerator(device: str, precision: str) -> Accelerator:
    """The processes and devices of this run, as `accelerate launch` or `torchrun` set them up; nothing else of theirs.

    Args:
        device: auto (a GPU where there is one), cpu or cuda.
        precision: of the network: no, bf16 or fp16.

    Raises:
        SystemProblem: cuda is asked for and there is none.
        UsageError: a precision that the device does not have, or a variable that would decide in the recipe's place.
    """
    on_cpu = device_of(device).type == "cpu"
    if on_cpu and precision == "fp16":
        raise UsageError("train.precision = fp16 needs a GPU; on a CPU take no or bf16")
    if precision == "bf16" and not on_cpu and not torch.cuda.is_bf16_supported():
        raise SystemProblem("this GPU has no bf16; set train.precision=fp16 or no")
    refuse_half_a_launch(os.environ)
    refuse(os.environ, REFUSED if on_cpu else (*REFUSED, *REFUSED_ON_GPU))
    for line in set_aside(os.environ, precision):
        if os.environ.get("RANK", "0") == "0":
            sys.stderr.write(f"{line}\n")
    # Every parameter has a gradient in every step, so nothing has to be searched for.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=False, gradient_as_bucket_view=True)
    return Accelerator(cpu=on_cpu, mixed_precision=precision, kwargs_handlers=[parallel])


@contextmanager
def memory_advice(message: str) -> Iterator[None]:
    """Say what to change where torch says that memory is short, on the GPU or the host, or that a device failed.

    Raises:
        DeviceFault: with the message where memory is short, with torch's where a device failed, in place of its error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if short:
            raise DeviceFault(message) from error
        if isinstance(error, _FAULTS):
            raise DeviceFault(f"{str(error).partition(chr(10))[0]}; the next process starts the device anew") from error
        raise
