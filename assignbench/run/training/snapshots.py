"""Weights as they were at chosen iterations of a training: kept for pictures of it, never read by a training.

``snapshots/iteration-000200.safetensors`` holds what ``weights.safetensors`` does, 200 iterations in. A file appears by
one rename, says in its metadata which run and iteration it is of and what the digest of its tensors is, and stays when
the run has finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from assignbench.errors import RunError
from assignbench.run.results.names import SNAPSHOTS
from assignbench.run.training.checkpoint import load_tensors, save_tensors
from assignbench.sealed import as_metadata, facts_in

START = 0  # iteration of the snapshot that is taken before the first


def snapshot_file(folder: Path, iteration: int) -> Path:
    """Where a run's folder keeps the weights of an iteration."""
    return folder / SNAPSHOTS / f"iteration-{iteration:06d}.safetensors"


def save_snapshot(folder: Path, tensors: Mapping[str, Tensor], iteration: int, run_id: str) -> Path:
    """Keep weights, whole or not at all; a file that is there already is replaced.

    Args:
        folder: of the run.
        tensors: state of the learner.
        iteration: optimizer steps done.
        run_id: what they belong to.

    Raises:
        SystemProblem: the disk is full or read-only.
    """
    final = snapshot_file(folder, iteration)
    facts = {"run_id": run_id, "iteration": str(iteration), "sha256": digest_of(tensors)}
    save_tensors(final, tensors, as_metadata(facts))
    return final


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def snapshots(folder: Path) -> dict[int, Path]:
    """Iteration → file of every snapshot in a run's folder, in order."""
    files = (folder / SNAPSHOTS).glob("iteration-*.safetensors")
    found = [(path.stem.removeprefix("iteration-"), path) for path in files]
    return dict(sorted((int(number), path) for number, path in found if number.isdecimal()))


def load_snapshot(file: Path, iteration: int, run_id: str) -> dict[str, Tensor]:
    """The weights of a snapshot.

    Raises:
        RunError: the file is damaged or altered, or of another run or iteration than its place says.
    """
    tensors = load_tensors(file)
    try:
        with safe_open(file, framework="pt") as opened:
            said = facts_in(opened.metadata())
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{file} is missing or damaged: {error}") from error
    stated = said.pop("sha256", None)  # None: written before there was one
    if stated not in (None, digest_of(tensors)):
        raise RunError(f"{file} is damaged: its sha256 does not fit; remove it, or repeat the run elsewhere")
    if said != {"run_id": run_id, "iteration": str(iteration)}:
        raise RunError(f"{file} is not of iteration {iteration} of {run_id}; remove it, or repeat the run elsewhere")
    return tensors
