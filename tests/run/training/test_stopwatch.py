"""Time by part: of the process on a CPU, of the queue on a GPU."""

import pytest
import torch

from assignbench.run.training.stopwatch import Stopwatch

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock on the wall says: one number that tests move."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


class Queue:
    """A GPU that works its queue off beside the host; events note when it comes by."""

    def __init__(self, time: list[float]) -> None:
        self.time, self.free = time, time[0]

    def work(self, seconds: float) -> None:
        self.free = max(self.free, self.time[0]) + seconds


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, time: list[float]) -> Queue:
    queue = Queue(time)

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = max(queue.free, time[0])

        def query(self) -> bool:
            return time[0] >= self.at

        def elapsed_time(self, other: "Event") -> float:
            return 1e3 * (other.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    return queue


def test_parts_add_up_and_go_on_from_before(time: list[float]) -> None:
    clock = Stopwatch({"total": 50.0, "data": 7.0}, CPU)
    for _ in range(2):
        with clock.measure("data"):
            time[0] += 1
        with clock.measure("network"):
            time[0] += 3
        clock.count()
    clock.sample("assignment", 0.5)
    assert clock.parts() == {"total": 58.0, "data": 9.0, "network": 6.0, "assignment": 1.0}
    assert clock.rate(4) == 1.0
    assert clock.lap(4) == (1.0, 0.25)


def test_data_that_the_gpu_did_not_wait_for_costs_nothing(time: list[float], gpu: Queue) -> None:
    clock = Stopwatch({}, GPU)
    for loading in (2.0, 2.0, 9.0):
        with clock.measure("data"):
            time[0] += loading  # the host waits for the loader
        with clock.measure("network"):
            time[0] += 0.1  # it only queues
            gpu.work(5)
        clock.count()
    time[0] += 20
    # idle for 2 s before the first batch, not before the second, and before the third from 112.1, when it is done
    # with the second, to 113.2, when the third is there; it begins 0.1 s after the first and the third
    parts = clock.parts()
    assert parts["data"] == pytest.approx(2.0 + 0.0 + (113.2 - 112.1))
    assert parts["network"] == pytest.approx(3 * 5 + 2 * 0.1)


def test_a_queue_is_not_waited_for(time: list[float], gpu: Queue) -> None:
    clock = Stopwatch({}, GPU)
    with clock.measure("network"):
        gpu.work(5)
    clock.count()
    assert "network" not in clock.parts()
    time[0] += 5
    assert clock.parts()["network"] == 5


def test_a_block_that_fails_is_not_counted(time: list[float]) -> None:
    clock = Stopwatch({}, CPU)
    with pytest.raises(KeyError), clock.measure("network"):
        raise KeyError
    assert clock.parts() == {"total": 0.0}
