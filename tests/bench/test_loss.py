from dataclasses import asdict

import pytest
import torch

from assignbench.bench.loss import bench_loss, problem_of
from assignbench.bench.problem import Case, leaves
from assignbench.bench.strategies import UNUSED
from assignbench.core.parts import PairLoss
from assignbench.run.training.learner import bare_learner

CPU = torch.device("cpu")


@pytest.fixture
def problem(one, small):
    def problem(text: str, case: Case = small):
        return problem_of(bare_learner(one(text), UNUSED, case.classes), case, CPU)

    return problem


@pytest.mark.parametrize("text", ["plain", "retinanet", "fcos", "atss", "freeanchor", "autoassign"])
def test_gradients_reach_every_output_and_are_dropped(problem, text):
    tried = problem(text)
    tried.charge()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in leaves(tried.raw))
    assert tried.raw.logits.grad.count_nonzero() > 0.9 * tried.raw.logits.numel()
    tried.forget()
    parameters = tried.learner.assigner.parameters()
    assert all(tensor.grad is None for tensor in (*leaves(tried.raw), *parameters))


@pytest.mark.parametrize("text", ["atss", "retinanet"])
def test_the_floor_is_background_on_the_same_logits(problem, text):
    tried = problem(text)
    tried.floor()
    own = tried.raw.logits.grad
    logits = tried.raw.logits.detach().clone().requires_grad_()
    PairLoss().classes.background(logits).sum().backward()
    assert torch.equal(own, logits.grad)
    assert tried.raw.regression.grad is None


def test_without_objects_only_background_is_left(problem):
    tried = problem("atss", Case(objects=0, height=128, width=128, batch=2, classes=5))
    tried.charge()
    charged = tried.raw.logits.grad.clone()
    tried.forget()
    tried.floor()
    assert torch.allclose(charged, 0.75 * tried.raw.logits.grad)


def test_rows(one, small, monkeypatch):
    asked = []
    monkeypatch.setattr("assignbench.bench.loss.in_fresh_process", lambda what, *rest: asked.append(rest) or 2_550_000)
    told: list[str] = []
    cases = [small, Case(objects=0, height=64, width=96, batch=1, classes=5)]
    done: list[str] = []
    rows = bench_loss(
        [one("fcos[radius=0]")],
        cases,
        device=CPU,
        repeat=1,
        progress=told.append,
        done=lambda row: done.append(f"{len(told)} {row}"),
    )
    assert [list(asdict(row)) for row in rows] == [
        ["strategy", "objects", "image", "batch", "ms", "floor_ms", "ratio", "peak_extra_mb"]
    ] * 2
    first = rows[0]
    assert (first.strategy, first.objects, first.image, first.batch) == ("fcos[radius=0]", 3, "64x96", 2)
    assert first.peak_extra_mb == pytest.approx(2.55, abs=0.051)
    assert first.ratio == pytest.approx(first.ms / first.floor_ms, rel=0.02)
    assert first.floor_ms > 0
    assert rows[1].objects == 0
    assert [rest[1:] for rest in asked] == [("fcos[radius=0]", "controlled", None, case) for case in cases]
    assert told == [f"fcos[radius=0]: {case}" for case in cases]
    assert done == [f"1 {rows[0]}", f"2 {rows[1]}"]  # each before the next is measured
    text = f"fcos[radius=0]: batch 2 of 64x96 with 3 objects: {first.ms} ms, {first.ratio} times the floor, "
    assert str(first) == f"{text}{first.peak_extra_mb} MB"
