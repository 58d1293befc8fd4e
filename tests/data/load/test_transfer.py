"""Batches on their way to a device."""

from contextlib import contextmanager

import pytest
import torch

from assignbench.bench.problem import Case
from assignbench.bench.step import random_batch
from assignbench.data.load.batch import Batch
from assignbench.data.load.transfer import on_device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def batch() -> Batch:
    return random_batch(Case(objects=2, height=32, width=32, batch=1, classes=2), CPU)


def test_on_a_cpu_batches_are_as_they_come():
    given = [batch(), batch()]
    assert [one.images.data_ptr() for one in on_device(given, CPU)] == [one.images.data_ptr() for one in given]


def test_a_batch_lies_in_page_locked_memory_whole(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    given = batch()
    moved = given.pin_memory()
    assert len(pinned) == len(given.tensors()) == 7
    assert {id(tensor) for tensor in pinned} == {id(tensor) for tensor in given.tensors()}
    assert not {id(tensor) for tensor in pinned} & {id(tensor) for tensor in moved.tensors()}
    assert all(torch.equal(*pair) for pair in zip(given.tensors(), moved.tensors(), strict=True))


def test_to_a_gpu_batches_are_copied_beside_the_work_and_not_ahead_of_being_asked_for(monkeypatch):
    given, log = [batch(), batch()], []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            log.append(f"{self.name} waits for {other.name}")

    @contextmanager
    def stream(one):
        log.append(f"on {one.name}")
        yield
        log.append("back")

    work = Stream("work")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("copies"))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: work)
    monkeypatch.setattr(Batch, "to", lambda self, device: log.append("copy") or self)
    kept = []
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, user: kept.append((id(tensor), user.name)))

    moving = on_device(given, GPU)
    assert next(moving) is given[0]
    assert log == ["on copies", "copy", "back", "work waits for copies"]
    assert kept == [(id(tensor), "work") for tensor in given[0].tensors()]
    assert list(moving) == given[1:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_real_gpu_nothing_is_lost():
    given = [batch().pin_memory() for _ in range(5)]
    for one, moved in zip(given, on_device(given, GPU), strict=True):
        for here, there in zip(one.tensors(), moved.tensors(), strict=True):
            assert there.device.type == "cuda"
            assert torch.equal(here, there.cpu())
