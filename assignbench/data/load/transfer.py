"""Batches from the loader to the device that computes."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import torch

from assignbench.data.load.batch import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Generator[Batch]:
    """Batches where they are needed.

    To a GPU they are copied on a stream of their own, from page-locked memory: the copy starts when the batch is
    asked for, while the GPU still works on what was queued before, and the host does not wait for it.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch.to(device)
        return
    copies = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = batch.to(device)
        work = torch.cuda.current_stream(device)
        work.wait_stream(copies)
        for tensor in moved.tensors():
            tensor.record_stream(work)  # or its memory might be used for a later copy too early
        yield moved
