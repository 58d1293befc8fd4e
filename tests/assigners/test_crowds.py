"""Batches that exhaust other tools: thousands of objects in an image, of a pixel and of the whole image; and none."""

from typing import Any

import pytest
import torch
from torch import Tensor

from assignbench.core import Assigner, Setting, Targets, assign
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.fcos import FCOS
from assigners.freeanchor import FreeAnchor
from assigners.plain import Plain
from assigners.retinanet import RetinaNet

STRATEGIES = [Plain, FCOS, ATSS, RetinaNet, FreeAnchor, AutoAssign]
SIDE, CLASSES = 256, 3


def crowd(count: int) -> Tensor:
    """Boxes from a pixel to the whole image; the first is the image, the second one pixel."""
    generator = torch.Generator().manual_seed(0)
    size = SIDE ** torch.rand(count, 2, generator=generator)
    corner = torch.rand(count, 2, generator=generator) * (SIDE - size)
    boxes = torch.cat((corner, corner + size), dim=1)
    boxes[:2] = torch.tensor([[0.0, 0, SIDE, SIDE], [99.5, 99.5, 100.5, 100.5]])[:count]
    return boxes


def learned(strategy: type[Assigner], boxes: Tensor, **options: Any) -> tuple[Problem, dict[str, Tensor]]:
    """Losses of a batch whose first image holds all objects, after a step back."""
    assigner = strategy(Setting(CLASSES), **options)
    head = assigner.head.controlled()
    problem = random_problem(head, seed=1, classes=CLASSES, counts=(1, 1), height=SIDE, width=SIDE)
    image = torch.zeros(len(boxes), dtype=torch.int64)
    problem = problem.with_targets(Targets(boxes, torch.arange(len(boxes)) % CLASSES, image, 2))
    view = problem.view()
    record = assign(assigner, view)
    record.check(view.predictions, view.targets)
    losses = dict(objective(record, view, head.extras))
    torch.stack(list(losses.values())).sum().backward()
    if len(boxes) > 2:  # there are fewer locations than objects
        taught = len(record.pairs.object.unique())
        assert taught > 0.1 * len(boxes)
    return problem, losses


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [0, 1, 2, 2000])
def test_any_number_of_objects_is_learned(strategy: type[Assigner], count: int) -> None:
    problem, losses = learned(strategy, crowd(count))
    assert all(bool(loss.isfinite()) for loss in losses.values())
    assert all(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in problem.leaves())
    assert (count == 0) == all(loss == 0 for name, loss in losses.items() if name in ("class", "box", "bag"))
