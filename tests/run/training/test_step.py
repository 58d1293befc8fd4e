"""One iteration: micro-steps make one batch, nothing waits, and what is not finite is found."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from assignbench.bench.problem import Case
from assignbench.bench.step import random_batch
from assignbench.config import load_recipe
from assignbench.data.load.batch import Batch
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.learner import Step
from assignbench.run.training.optimizer import update_rule
from assignbench.run.training.step import Iteration, NotFinite, Trainer, iteration_of
from assignbench.run.training.stopwatch import Stopwatch

CPU = torch.device("cpu")
NAN, INF = float("nan"), float("inf")


class Line(nn.Module):
    """Two losses of a batch's mean colour, and one number to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(1))

    def forward(self, batch: Batch, timed: bool = False, progress: float = 0.0) -> Step:
        mean = batch.images.float().mean() / 255
        losses = {"class": (self.slope * mean).sum(), "box": self.slope.square().sum()}
        return Step(losses, None, None, 0.5 if timed else None)  # type: ignore[arg-type]


def trainer(**changes: object) -> Trainer:
    settings = load_recipe("tiny").recipe.train.model_copy(update={"optimizer": "sgd", "clip": None, **changes})
    accelerator, model = build_accelerator("cpu", "no"), Line()
    optimizer = update_rule([{"params": list(model.parameters()), "weight_decay": 0.0}], settings)
    model, wrapped = accelerator.prepare(model, optimizer)
    return Trainer(model, wrapped, accelerator, settings, Stopwatch({}, CPU))


def batches(*images: int) -> list[Batch]:
    return [random_batch(Case(objects=1, height=32, width=32, batch=count, classes=2), CPU) for count in images]


def iteration(*losses: Mapping[str, float]) -> Iteration:
    parts = [{name: torch.tensor(value) for name, value in part.items()} for part in losses]
    images = [(10 * micro, 10 * micro + 1) for micro in range(len(parts))]
    return iteration_of(parts, images, build_accelerator("cpu", "no"))


def test_micro_steps_move_the_parameters_once_by_their_mean() -> None:
    two, model = trainer(accumulation=2, lr=0.5), None
    model = two.model
    given = batches(1, 2)
    done = two.iterate(iter(given))
    mean = sum(float(batch.images.float().mean()) / 255 for batch in given) / 2
    assert model.slope.item() == pytest.approx(1 - 0.5 * (mean + 2))
    assert model.slope.grad is None
    assert done.images == ((0,), (0, 1))
    assert done.global_losses() == {"class": pytest.approx(mean), "box": 1.0}


def test_gradients_are_clipped_before_they_move_anything() -> None:
    one = trainer(clip=0.01, lr=1.0)
    one.iterate(iter(batches(1)))
    assert one.model.slope.item() == pytest.approx(1 - 0.01, rel=1e-4)


def test_an_observer_sees_each_micro_step_timed() -> None:
    seen = []
    trainer(accumulation=2).iterate(
        iter(batches(1, 2)), lambda batch, step: seen.append((len(batch), step.assignment_seconds))
    )
    assert seen == [(1, 0.5), (2, 0.5)]


def test_finite_losses_are_fine() -> None:
    assert iteration({"class": 1.0, "box": 0.0}).odd() is None


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
def test_odd_losses_are_named_with_the_images_of_their_micro_step(odd: float) -> None:
    assert iteration({"class": 1.0, "box": odd}).odd() == NotFinite(("box",), (0, 1))
    assert iteration({"class": 1.0, "box": 1.0}, {"class": odd, "box": 1.0}).odd() == NotFinite(("class",), (10, 11))
    both = iteration({"class": odd, "box": 1.0}, {"class": odd, "box": odd}).odd()
    assert both == NotFinite(("class", "box"), (0, 1, 10, 11))


def test_what_another_process_met_is_known_without_its_names() -> None:
    done = iteration({"class": 1.0})
    word = done.word.clone()
    word[0] = 1  # as summed over processes
    assert Iteration(done.names, done.images, word, None).odd() == NotFinite((), ())


def test_a_stop_that_another_process_was_asked_for_is_known() -> None:
    done = iteration({"class": 1.0})
    assert not done.stop_asked()
    word = done.word.clone()
    word[1] = 1  # as summed over processes
    assert Iteration(done.names, done.images, word, None).stop_asked()


def test_losses_are_those_of_the_global_batch() -> None:
    """Two processes, of which the other has losses 1 and 2 above this one's, and one that is not finite."""
    asked = []

    class Two:
        num_processes = 2

        def reduce(self, values: Tensor, kind: str) -> Tensor:
            asked.append(kind)
            return 2 * values + torch.tensor([1.0, 1.0, 1 / 2, 2 / 2])

    mine = [
        {"class": torch.tensor(1.0), "box": torch.tensor(3.0)},
        {"class": torch.tensor(3.0), "box": torch.tensor(5.0)},
    ]
    done = iteration_of(mine, [(0,), (1,)], Two())  # type: ignore[arg-type]
    assert asked == ["sum"]
    assert done.global_losses() == {"class": 2.5, "box": 5.0}
    assert done.odd() == NotFinite((), ())


def test_on_a_gpu_the_word_is_waited_for() -> None:
    class Event:
        def __init__(self, word: Tensor) -> None:
            self.word = word

        def synchronize(self) -> None:
            self.word[:] = torch.tensor([1.0, 0.0, 2.0, NAN, 0.0, 1.0])

    def done() -> Iteration:
        one = iteration({"class": 1.0, "box": 1.0})
        return Iteration(one.names, one.images, one.word, Event(one.word))  # type: ignore[arg-type]

    assert done().odd() == NotFinite(("box",), (0, 1))
    assert done().global_losses()["class"] == 2.0


class NoWaiting(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU: numbers read, and shapes that depend on them."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "index.Tensor")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::")
        if name.startswith(self.WAITS):
            raise AssertionError(f"{name} waits")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_nothing_waits(optimizer: str) -> None:
    one = trainer(optimizer=optimizer, clip=1.0, accumulation=2)
    given = repeat(batches(1)[0])
    one.iterate(given)
    with NoWaiting():
        done = one.iterate(given)
        assert done.odd() is None  # read from the host's memory, which torch is not asked for
        assert done.global_losses().keys() == {"class", "box"}
    with pytest.raises(AssertionError, match="waits"), NoWaiting():
        done.word[1].item()
