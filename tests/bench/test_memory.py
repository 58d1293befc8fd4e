import os
import platform
from functools import partial

import pytest
import torch

from assignbench.bench.loss import extra_bytes, peak_extra
from assignbench.bench.memory import in_fresh_process, peak_bytes
from assignbench.bench.problem import Case
from assignbench.data.load.heap import keep_freed
from assignbench.errors import SystemProblem

CPU = torch.device("cpu")
PLANTED = 64_000_000
SMALLER = 16_000_000  # which glibc may keep
LIBRARIES = 16e6  # what torch may take at its first operation in a fresh process

GREEDY = """
import torch
from assignbench.core import Assigner, Head, hard_assignment

class Greedy(Assigner):
    head = Head()

    def __init__(self, setting, *, numbers: int = 0):
        super().__init__(setting)
        self.numbers = numbers

    def forward(self, predictions, priors, targets):
        torch.ones(self.numbers)
        nobody = torch.zeros(0, dtype=torch.int64)
        return hard_assignment(nobody, nobody, targets)
"""


def test_a_planted_allocation_is_seen_though_it_is_gone_at_the_end():
    seen = in_fresh_process("this", peak_bytes, partial(torch.ones, PLANTED // 4), CPU)
    assert seen == pytest.approx(PLANTED, abs=LIBRARIES)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak cannot be reset here")
def test_what_was_allocated_before_is_not_counted():
    seen = in_fresh_process("this", peak_after_more)
    assert seen == pytest.approx(PLANTED, abs=LIBRARIES)


def peak_after_more() -> int:
    torch.ones(3 * PLANTED // 4)
    return peak_bytes(partial(torch.ones, PLANTED // 4), CPU)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps what it likes")
def test_what_was_freed_before_is_not_handed_out_again():
    assert in_fresh_process("this", peak_after_freeing, kept=False) == pytest.approx(SMALLER, rel=0.1)
    assert in_fresh_process("this", peak_after_freeing, kept=True) < 0.5 * SMALLER


def peak_after_freeing(kept: bool) -> int:
    if kept:
        keep_freed(1 << 30)
    torch.ones(SMALLER // 4)  # once it is freed, glibc takes as large ones from its heap
    tensors = [torch.ones(SMALLER // 4) for _ in range(3)]
    last = torch.ones(SMALLER // 8)  # lies above them there, so that they cannot be given back
    del tensors
    seen = peak_bytes(partial(torch.ones, SMALLER // 4), CPU)
    del last
    return seen


def test_a_strategy_takes_as_much_each_time():
    case = Case(objects=50, height=256, width=256, batch=2, classes=80)
    peaks = [in_fresh_process("this", peak_extra, "fcos", "controlled", None, case) for _ in range(3)]
    assert max(peaks) - min(peaks) < 0.5e6


def test_what_a_strategy_allocates_is_seen(tmp_path):
    (tmp_path / "greedy.py").write_text(GREEDY)
    case = Case(objects=1, height=64, width=64, batch=1, classes=2)
    text = f"{tmp_path / 'greedy.py'}:Greedy[numbers={PLANTED // 4}]"
    seen = in_fresh_process(str(case), peak_extra, text, "controlled", None, case)
    assert seen == pytest.approx(PLANTED, abs=LIBRARIES)


def test_raw_outputs_and_gradients_are_not_counted(one, monkeypatch):
    case = Case(objects=1, height=256, width=256, batch=1, classes=80)
    gradients = 1364 * (80 + 4) * 4  # locations of 32², 16², 8², 4², 2² cells
    monkeypatch.setattr("assignbench.bench.loss.peak_bytes", lambda run, device: gradients + 5)
    assert extra_bytes(one("plain"), case, CPU) == 5


def test_a_killed_process_is_explained():
    with pytest.raises(SystemProblem, match="atss does not fit into memory; lower --batch or --image"):
        in_fresh_process("atss", os._exit, 1)


def test_errors_come_back():
    with pytest.raises(ValueError, match="invalid literal"):
        in_fresh_process("int", int, "x")
