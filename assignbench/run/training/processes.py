"""Several processes: sums over them, and work for the main one that does not leave the others waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor

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
    failed = summed(torch.tensor(float(failure is not None), device=accelerator.device), accelerator)
    if failure is not None:
        raise failure
    if failed.item():
        raise RunError("another process failed; its message says why")


def summed(values: Tensor, accelerator: Accelerator) -> Tensor:
    """Sum over processes, the same on all of them; every process must call it."""
    total = accelerator.reduce(values, "sum")
    assert isinstance(total, Tensor)  # noqa: S101 - for the type checker: tensors give tensors
    return total


def from_main(word: int, accelerator: Accelerator) -> int:
    """The main process's word, on all of them: what a look at the disk says may change between two looks."""
    spoken = float(word) if accelerator.is_main_process else 0.0
    return int(summed(torch.tensor(spoken, device=accelerator.device), accelerator).item())


def all_rows(table: Tensor, accelerator: Accelerator) -> Tensor:
    """Rows of every process's table ``[row, column]``, on all of them; columns must be ≥ 0 in the first place.

    Shorter tables are padded with −1 on the way; those rows are dropped again.
    """
    rows = accelerator.gather(accelerator.pad_across_processes(table, dim=0, pad_index=-1))
    assert isinstance(rows, Tensor)  # noqa: S101 - as above
    return rows[rows[:, 0] >= 0]
