import pytest
import torch

from assignbench.bench.measure import Task, clock_of, least_seconds, memory_advice, one_thread
from assignbench.errors import SystemProblem


class FakeClock:
    """Time passes when a task says so."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self) -> float:
        return self.now

    def task(self, name: str, *seconds: float, preparation: float = 0.0) -> Task:
        spent = iter(seconds)

        def run():
            self.log.append(name)
            self.now += next(spent)

        def prepare():
            self.now += preparation

        return Task(run, prepare)


def test_the_least_of_the_repeats_counts_and_the_warm_up_does_not():
    clock = FakeClock()
    tasks = [clock.task("a", 1, 5, 3, 4), clock.task("b", 1, 7, 9, 8)]
    assert least_seconds(tasks, 3, clock) == (3, 7)


def test_tasks_take_turns():
    clock = FakeClock()
    least_seconds([clock.task("floor", *[1] * 3), clock.task("strategy", *[1] * 3)], 2, clock)
    assert clock.log == ["floor", "strategy"] * 3


def test_preparation_is_not_timed():
    clock = FakeClock()
    assert least_seconds([clock.task("a", 2, 2, 2, preparation=50)], 2, clock) == (2,)


def test_several_runs_in_a_sample_are_averaged():
    clock = FakeClock()
    assert least_seconds([clock.task("a", 9, 1, 3, 2, 4)], 2, clock, times=2) == (2,)


def test_the_clock_of_the_cpu_does_not_run_while_we_wait(monkeypatch):
    monkeypatch.setattr("time.process_time", lambda: 7.0)
    assert clock_of(torch.device("cpu"))() == 7.0


def test_one_thread_and_back():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_short_memory_becomes_advice(error):
    message = r"^atss: batch 9 does not fit.*lower --batch or --image"
    with pytest.raises(SystemProblem, match=message), memory_advice("atss: batch 9"):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shape"), memory_advice("atss"):
        raise RuntimeError("shape")


def test_the_cpu_allocator_really_says_so():
    with pytest.raises(SystemProblem), memory_advice("this"):
        torch.empty(1 << 60)
