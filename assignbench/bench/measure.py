"""Times: the least of several repeats, tasks taking turns, so that a noisy machine is as noisy for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from assignbench.run.training import device
from assignbench.run.training.learner import now


def nothing() -> None:
    """The preparation of a task that needs none."""


@dataclass(frozen=True)
class Task:
    """Something to be timed."""

    run: Callable[[], object]
    prepare: Callable[[], object] = nothing  # before every sample, not timed


def least_seconds(
    tasks: Sequence[Task], repeat: int, clock: Callable[[], float], *, times: int = 1
) -> tuple[float, ...]:
    """The least time that one run of each task took.

    All run once to warm up; then each is timed in turn, and that ``repeat`` times: a, b, a, b, … The least is the
    estimate with the least noise in it: other processes only ever add.

    Args:
        tasks: what to time.
        repeat: samples of each task, at least 1.
        clock: seconds; see `clock_of`.
        times: runs in a sample. More than one lets the host work ahead of a GPU, as in training.
    """
    for task in tasks:
        task.prepare()
        task.run()
    samples: list[list[float]] = [[] for _ in tasks]
    for _ in range(repeat):
        for task, seconds in zip(tasks, samples, strict=True):
            task.prepare()
            start = clock()
            for _ in range(times):
                task.run()
            seconds.append((clock() - start) / times)
    return tuple(map(min, samples))


def clock_of(where: torch.device) -> Callable[[], float]:
    """CPU: time of this process, whatever others do; GPU: wall time, once everything queued is done."""
    return time.process_time if where.type == "cpu" else partial(now, where)


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which torch computes in one thread: process time then is work, not work times threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def memory_advice(what: str) -> AbstractContextManager[None]:
    """Say in a block what to change where torch says that memory is short; see `assignbench.run.training.device`."""
    return device.memory_advice(does_not_fit(what))


def does_not_fit(what: str) -> str:
    """The message for a benchmark that is too large for this machine."""
    return f"{what} does not fit into memory; lower --batch or --image"
