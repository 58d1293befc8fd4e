"""Jobs on this machine: one for each GPU, or as many as are asked for on its CPUs, each a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assignbench.engines.engine import Look
from assignbench.engines.job import Job
from assignbench.engines.tether import PATIENCE, let_go, start
from assignbench.errors import SystemProblem
from assignbench.machine import THREADS


@dataclass(frozen=True)
class Slot:
    """Room for one job at a time."""

    name: str  # for the screen: "GPU 3", "CPU"
    environment: Mapping[str, str]  # beside this process's own


@dataclass(frozen=True)
class _Working:
    slot: Slot
    process: subprocess.Popen[bytes]


class Local:
    """Processes of this machine; a job's output goes to ``job.log`` in its run's folder."""

    name = "local"
    survives = False
    poll = 0.2

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._free = deque(slots)
        self._waiting: dict[str, Job] = {}
        self._working: dict[str, _Working] = {}

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """As `Engine.submit`."""
        self._waiting |= {job.run_id: job for job in jobs}
        return [job.run_id for job in jobs]

    def look(self, handles: Sequence[str]) -> list[Look]:
        """As `Engine.look`."""
        found = {handle: self._look(handle) for handle in handles}  # those that have ended make room first
        while self._free and self._waiting:
            handle = next(iter(self._waiting))
            found[handle] = self._start(handle, self._waiting.pop(handle), self._free.popleft())
        return [found[handle] for handle in handles]

    def stop(self, handles: Sequence[str]) -> None:
        """As `Engine.stop`."""
        for handle in handles:
            self._waiting.pop(handle, None)
        processes = [self._working[handle].process for handle in handles if handle in self._working]
        for process in processes:
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        for process in processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """As `Engine.close`."""
        self.stop([*self._waiting, *self._working])

    def _start(self, handle: str, job: Job, slot: Slot) -> Look:
        try:
            process = start(job, slot.environment)
        except SystemProblem as error:  # of this job's folder; those of others may be well
            self._free.append(slot)
            return Look("ended", slot.name, error.exit_code, str(error))
        self._working[handle] = _Working(slot, process)
        return _running(self._working[handle])

    def _look(self, handle: str) -> Look:
        if handle in self._waiting:
            return Look("queued")
        working = self._working.get(handle)
        if working is None:
            return Look("ended", cause="this process does not know it")
        code = working.process.poll()
        if code is None:
            return _running(working)
        del self._working[handle]
        let_go(working.process)
        self._free.append(working.slot)
        if code < 0:
            return Look("ended", _place(working), 128 - code, f"killed by {signal.Signals(-code).name}")
        return Look("ended", _place(working), code)


def slots(jobs: int | None, gpus: Sequence[str], threads: Mapping[str, str], cores: int) -> list[Slot]:
    """The room that this machine has.

    Args:
        jobs: how many are asked for; None: one for each GPU, else one.
        gpus: names for CUDA_VISIBLE_DEVICES; none: the CPUs compute.
        threads: variables by which every job on a CPU has the same threads, however many run beside each other:
            threads decide how sums are rounded.
        cores: of this machine; jobs on GPUs share them.
    """
    if not gpus:
        return [Slot("CPU", threads) for _ in range(jobs or 1)]
    count = jobs or len(gpus)
    return [
        Slot(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu, THREADS: str(max(1, cores // count))})
        for gpu in (gpus[place % len(gpus)] for place in range(count))
    ]


def _running(working: _Working) -> Look:
    return Look("running", _place(working))


def _place(working: _Working) -> str:
    return f"{working.slot.name} of {socket.gethostname()}, process {working.process.pid}"
