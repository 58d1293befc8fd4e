"""Peak memory of a function.

On a CPU it is what the operating system counts, the resident set: torch's own counters miss what other libraries
take and what the allocator does not give back. Two traps. The peak is a high-water mark, so what came before hides
what is asked for: the mark is reset where Linux allows it. And memory that this process once freed may be handed out
again without growing the resident set: so each measurement needs a process of its own, `in_fresh_process`, whose C
library keeps nothing that is freed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import ParamSpec, TypeVar

import psutil
import torch

from assignbench.bench.measure import does_not_fit
from assignbench.data.load.heap import keep_nothing
from assignbench.errors import SystemProblem

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Most memory in use while a function runs, beyond what is in use before: bytes ≥ 0.

    On a GPU these are torch's allocations there; on a CPU the resident set, to a few hundred kilobytes.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with contextlib.suppress(OSError):  # not Linux, or not allowed: the peak so far stays
        _CLEAR.write_text("5", encoding="ascii")
    before = psutil.Process().memory_info().rss
    run()
    return max(0, highest_resident() - before)


def highest_resident() -> int:
    """High-water mark of this process's resident set in bytes.

    Not `getrusage` on Linux: its mark survives exec, so a process starts with that of whoever started it.
    """
    if _STATUS.is_file():
        line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def in_fresh_process(
    what: str, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Call a function of a module, with plain arguments, in a new process; its exceptions come back.

    Raises:
        SystemProblem: the process was killed, which is what systems do when memory is short.
    """
    with ProcessPoolExecutor(1, mp_context=_fresh_processes(), initializer=_made_ready) as pool:
        try:
            return pool.submit(function, *arguments, **named).result()
        except BrokenProcessPool as error:
            raise SystemProblem(does_not_fit(what)) from error


def _made_ready() -> None:
    """What libraries and their threads take at a first operation is not the function's that is asked about."""
    torch.ones(1 << 18).sum()
    keep_nothing()


def _fresh_processes() -> BaseContext:
    """Processes that have computed nothing yet: where the system can, forks of one that has imported torch."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["assignbench.bench.loss"])
    return context
