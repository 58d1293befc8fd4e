"""Checkpoints: tensors in safetensors, the rest in a JSON manifest with digests. No pickle.

A checkpoint is a folder ``iteration-0000250`` that appears by one rename, whole or not at all; the newest
two are kept. What is not in it need not be: order and augmentation of the data are functions of seed and
iteration, and so is the learning rate.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from assignbench.errors import RunError, SystemProblem
from assignbench.files import require_regular, sha256_of, written, written_folder
from assignbench.machine import STOPS
from assignbench.sealed import read_sealed, write_sealed

KEPT = 2
MODEL, OPTIMIZER, MANIFEST = "model.safetensors", "optimizer.safetensors", "manifest.json"


@dataclass(frozen=True)
class Progress:
    """Where a training stands; everything but the tensors."""

    iteration: int  # optimizer steps done
    run_id: str  # hash of what determines the run: a checkpoint continues that run only
    seconds: Mapping[str, float]  # spent so far
    tally: tuple[tuple[float, ...], ...]  # statistics of the unfinished epoch, of each process
    scaler: Mapping[str, Any]  # state of the loss scaler; {} without fp16
    logs: Mapping[str, str]  # name → digest of each log of the training, as it was then
    threads: int  # of a process; on a CPU they decide how sums are rounded


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, and texts about them, whole or not at all.

    Raises:
        SystemProblem: the disk is full or read-only.
    """
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        with written(path) as temporary:
            save_file(plain, temporary, dict(metadata) if metadata else None)
    except SafetensorError as error:  # what it says of a disk that is full
        raise SystemProblem(f"cannot write {path}: {error}; check space and permissions") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        require_regular(path)
        with uninterrupted():
            return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} is missing or damaged: {getattr(error, 'strerror', None) or error}") from error


def require_finite(tensors: Mapping[str, Tensor], whose: str) -> None:
    """Refuse weights that are no numbers: such a network finds nothing, and its AP of 0 would look like a result.

    Infinity is refused in the detector alone: a strategy may keep it, as AutoAssign does for a σ that is switched off.

    Raises:
        RunError: names the first of them.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        odd = ~tensor.isfinite() if name.startswith("detector.") else tensor.isnan()
        if count := int(odd.sum()):
            raise RunError(f"{whose}: {count} of {tensor.numel()} numbers of {name} are not finite; it cannot be used")


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and a stop wait for the end of the block: while safetensors reads, they would look like a damaged file."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears of it
        yield
        return
    heard: list[int] = []
    numbers = (signal.SIGINT, *STOPS)
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in heard:
            signal.raise_signal(number)


def save_checkpoint(folder: Path, model: nn.Module, optimizer: Optimizer, progress: Progress) -> Path:
    """Write a checkpoint below ``folder`` and drop all but the newest `KEPT`."""
    final = folder / f"iteration-{progress.iteration:07d}"
    with written_folder(final) as temporary:
        save_tensors(temporary / MODEL, model.state_dict())
        save_tensors(temporary / OPTIMIZER, optimizer_tensors(optimizer))
        write_sealed(
            temporary / MANIFEST,
            {
                "iteration": progress.iteration,
                "run_id": progress.run_id,
                "seconds": dict(progress.seconds),
                "tally": [list(row) for row in progress.tally],
                "scaler": dict(progress.scaler),
                "logs": dict(progress.logs),
                "threads": progress.threads,
                "files": {name: sha256_of(temporary / name) for name in (MODEL, OPTIMIZER)},
            },
        )
        shutil.rmtree(final, ignore_errors=True)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path.parent for path in folder.glob(f"iteration-*/{MANIFEST}"))


def iteration_in(path: Path) -> int:
    """Of a checkpoint, by its folder's name."""
    return int(path.name.removeprefix("iteration-"))


def load_newest(
    folder: Path, model: nn.Module, optimizer: Optimizer, run_id: str
) -> tuple[Progress | None, tuple[str, ...]]:
    """Restore the newest checkpoint that is whole.

    Returns:
        Where it stands (None: there is none), and a note for each damaged one that was passed over.

    Raises:
        RunError: checkpoints exist and all are damaged, or they belong to another run.
    """
    notes = []
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            progress = read_progress(path)
            model_tensors, optimizer_state = load_tensors(path / MODEL), load_tensors(path / OPTIMIZER)
        except RunError as error:
            notes.append(f"damaged checkpoint passed over: {error}")
            continue
        if progress.run_id != run_id:
            raise RunError(
                f"{path} belongs to another run (settings, data or strategy changed); choose another --output"
            )
        model.load_state_dict(model_tensors)
        restore_optimizer(optimizer, optimizer_state)
        return progress, tuple(notes)
    if found:
        raise RunError(f"no checkpoint in {folder} is whole:\n" + "\n".join(notes))
    return None, ()


def read_progress(path: Path) -> Progress:
    """A checkpoint's manifest, which is checked against its digest, as its files are.

    Raises:
        RunError: something is missing, damaged or altered.
    """
    manifest = read_sealed(path / MANIFEST, "a manifest", "remove this checkpoint")
    try:
        for name in (MODEL, OPTIMIZER):
            if sha256_of(path / name) != manifest["files"][name]:
                raise RunError(f"{path / name} does not have the digest its manifest states")
        return Progress(
            manifest["iteration"],
            manifest["run_id"],
            manifest["seconds"],
            tuple(tuple(row) for row in manifest["tally"]),
            manifest["scaler"],
            manifest["logs"],
            manifest["threads"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path / MANIFEST} is not a manifest: {error}") from error


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, flat: ``12.exp_avg`` is what it keeps of its parameter 12."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, entries in state.items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`; groups and rates are those of the recipe.

    A file has no memory format. Fused optimizers take states to lie in memory as their parameters do, and do not look.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def remove(folder: Path) -> None:
    """Drop all checkpoints of a finished run; another process may be doing so, too."""
    shutil.rmtree(folder, ignore_errors=True)


def total_parameters(model: nn.Module) -> int:
    """Numbers in all parameters, trained and frozen."""
    return sum(parameter.numel() for parameter in model.parameters())
