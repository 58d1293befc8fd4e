"""Doing something on the main process alone, without leaving the others waiting when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from assignbench.errors import RunError


@contextmanager
def main_process(accelerator: Accelerator) -> Iterator[bool]:
    """Yields whether this process is to act; afterwards all processes go on, or all fail.

    Raises:
        RunError: on the other processes, when the main one failed; there its own error goes on.
    """
    failure: BaseException | None = None
    try:
        yield accelerator.is_main_process
    except BaseException as error:
        failure = error
    failed = accelerator.reduce(torch.tensor(float(failure is not None), device=accelerator.device), "sum")
    if failure is not None:
        raise failure
    if failed.item():
        raise RunError("another process failed; its message says why")
