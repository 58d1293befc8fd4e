"""Where the time of a training goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import torch

from assignbench.run.training.reporter import clock

NOTICED = 10.0  # seconds that a clock may be set by without a word


def _steadily() -> float:
    """Seconds that no setting of the clock changes; time asleep counts, where the system says it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Began:
    """A beginning, and the time since then, which goes forward whatever becomes of the clock on the wall."""

    def __init__(self) -> None:
        self.started, self._steady = datetime.now(UTC), _steadily()

    def now(self) -> datetime:
        """The time by the clock of the beginning."""
        return self.started + timedelta(seconds=_steadily() - self._steady)

    def notes(self) -> tuple[str, ...]:
        """What is to be said when the clock was set meanwhile."""
        set_by = (datetime.now(UTC) - self.now()).total_seconds()
        if abs(set_by) < NOTICED:
            return ()
        way = "back" if set_by < 0 else "forward"
        by = clock(abs(set_by))
        return (f"the clock was set {way} by {by} while the run was at work; its times are counted from its start",)


class Stopwatch:
    """Adds up time by name. Parts measured on samples only are scaled up to all iterations.

    On a CPU wall time of the process. A GPU works on a queue, so there it is the time between two points of the
    queue: waiting for data that the queue's work hid is not counted.
    """

    def __init__(self, spent: Mapping[str, float], device: torch.device) -> None:
        self.start = time.perf_counter()
        self.queued = device.type == "cuda"
        self.before = dict(spent)  # by earlier processes of the same run
        self.spent: dict[str, float] = {}
        self.open: deque[tuple[str, torch.cuda.Event, torch.cuda.Event]] = deque()  # in the order of the queue
        self.samples: dict[str, tuple[float, int]] = {}
        self.iterations = 0
        self.untrained = 0.0
        self.lap_start, self.lap_iterations, self.lap_data = self.start, 0, 0.0

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Time a block."""
        if self.queued:
            events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            events[0].record()
            yield
            events[1].record()
            self.open.append((part, *events))
            return
        start = time.perf_counter()
        yield
        self.add(part, time.perf_counter() - start)

    @contextmanager
    def apart(self, part: str) -> Iterator[None]:
        """Time a block in which nothing is trained, and leave it out of the speed of training."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.add(part, seconds)
        self.untrained += seconds
        self.lap_start += seconds

    def add(self, part: str, seconds: float) -> None:
        """Note time spent."""
        self.spent[part] = self.spent.get(part, 0.0) + seconds

    def settle(self) -> None:
        """Add up the blocks that a GPU is done with; waits for none."""
        while self.open and self.open[0][2].query():
            part, start, end = self.open.popleft()
            self.add(part, start.elapsed_time(end) / 1e3)  # from milliseconds

    def sample(self, part: str, seconds: float) -> None:
        """Note one measurement of something that happens in every iteration."""
        total, count = self.samples.get(part, (0.0, 0))
        self.samples[part] = (total + seconds, count + 1)

    def count(self) -> None:
        """One more iteration is done."""
        self.iterations += 1
        self.settle()

    def parts(self) -> dict[str, float]:
        """Seconds by part, earlier processes of the run included."""
        self.settle()
        sampled = {part: total / count * self.iterations for part, (total, count) in self.samples.items()}
        own = {"total": time.perf_counter() - self.start, **self.spent, **sampled}
        return {part: self.before.get(part, 0.0) + own.get(part, 0.0) for part in own.keys() | self.before.keys()}

    def rate(self, batch: int) -> float:
        """Images per second over this process's iterations; 0 when it did none."""
        return self.iterations * batch / max(1e-9, time.perf_counter() - self.start - self.untrained)

    def lap(self, batch: int) -> tuple[float, float]:
        """Images per second, and the fraction of the time spent waiting for data, since the last call."""
        self.settle()
        now, data = time.perf_counter(), self.spent.get("data", 0.0)
        seconds = max(1e-9, now - self.lap_start)
        rate = (self.iterations - self.lap_iterations) * batch / seconds
        waiting = (data - self.lap_data) / seconds
        self.lap_start, self.lap_iterations, self.lap_data = now, self.iterations, data
        return rate, waiting
