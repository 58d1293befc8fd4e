"""What goes on beside a training must not move it: random numbers, modes and buffers come back as they were."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def same_randomness(device: torch.device | None = None) -> Iterator[None]:
    """After the block the generators of Python, numpy and torch stand where they stood before.

    Args:
        device: of the training; None: nothing in the block draws on a GPU.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - whoever draws from it is to draw the same
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextlib.contextmanager
def evaluating(model: nn.Module, device: torch.device) -> Iterator[None]:
    """In the block a model that trains is in evaluation mode and has no gradient; afterwards nothing of it has changed.

    What a strategy keeps from step to step lies in its buffers, where checkpoints find it, too.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with same_randomness(device), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            model.train()
            for buffer, before in buffers:
                buffer.copy_(before)
