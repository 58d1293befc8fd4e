"""Where a step waits for the GPU, and a timeline of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from assignbench.errors import SystemProblem
from assignbench.files import written

SYNCHRONISES = "called a synchronizing CUDA operation"  # how torch's warning begins


def host_syncs(run: Callable[[], object]) -> tuple[str, ...]:
    """Where a function makes the host wait for the GPU, once for each time: ``file.py:line``.

    torch knows of copies to the host and of operations whose output has a size that depends on the data; it does
    not count `torch.cuda.synchronize`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return tuple(
        f"{Path(one.filename).name}:{one.lineno}" for one in caught if str(one.message).startswith(SYNCHRONISES)
    )


def write_trace(run: Callable[[], object], file: Path) -> None:
    """Profile one call and write the timeline: JSON for chrome://tracing or ui.perfetto.dev.

    Raises:
        SystemProblem: the file cannot be written.
    """
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with profile(activities=activities) as profiler:
        run()
    try:
        with written(file) as temporary:
            profiler.export_chrome_trace(str(temporary))
    except RuntimeError as error:
        raise SystemProblem(f"--trace {file} cannot be written: {error}") from error
