"""The scene that reference counts of positives are known for."""

from collections.abc import Callable

import pytest
import torch

from assignbench.core import Assigner, Assignment, Head, PairViews, Predictions, Priors, Setting, Targets, assign
from assignbench.core.priors import pyramid_priors

# 256 × 256 pixels: A (class 0), B (class 1), C (class 0), D (class 1, smaller than a cell)
BOXES = [[20.0, 30, 100, 150], [60.0, 60, 220, 200], [200.0, 10, 214, 22], [5.0, 5, 8, 9]]


@pytest.fixture
def scene() -> Targets:
    return Targets(torch.tensor(BOXES), torch.tensor([0, 1, 0, 1]), torch.zeros(4, dtype=torch.int64), 1)


@pytest.fixture
def ask() -> Callable[..., tuple[Assignment, Priors]]:
    """Run a strategy on 256 × 256 pixels with uninformative predictions."""

    def run(assigner: Assigner, head: Head, targets: Targets) -> tuple[Assignment, Priors]:
        priors = pyramid_priors(head, 256, 256)
        shape = (targets.images, len(priors))
        predictions = Predictions(
            torch.zeros(*shape, 2),
            priors.boxes.expand(targets.images, -1, -1),
            torch.zeros(*shape, 4),
            {extra.name: torch.zeros(shape) for extra in head.extras},
        )
        return assign(assigner, PairViews(predictions, priors, targets, head.coding)), priors

    return run


@pytest.fixture
def setting() -> Setting:
    return Setting(classes=2)
