from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from assignbench.config import load_recipe
from assignbench.export.network import Exported
from assignbench.recipe import EvaluateSettings
from assignbench.run.matrix.plan import candidate
from assignbench.run.scoring.detect import rule_of
from assignbench.run.training.learner import bare_learner

LOW = EvaluateSettings(score_threshold=0.003, candidates=60, detections=40)  # much passes of an untrained network


@pytest.fixture(scope="session")
def network() -> Callable[..., Exported]:
    """An untrained network of a strategy, small and seeded, whose outputs differ from place to place."""

    @cache
    def network(strategy: str, protocol: str = "controlled", preset: str | None = None) -> Exported:
        wanted = {"backbone": "miniature", "weights": "none", "channels": 8, "towers": 1}
        model = load_recipe("tiny").recipe.model.model_copy(update=wanted)
        detector = bare_learner(candidate(strategy, protocol, preset), model, 3).detector.eval()
        with torch.no_grad():  # what starts at zero would let half of a head be left out unseen
            for parameter in detector.head.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        return Exported(detector, rule_of(LOW, suppress=detector.spec.suppress)).eval()

    return network


@pytest.fixture(scope="session")
def inputs() -> Callable[..., tuple[Tensor, Tensor]]:
    """Noise as pictures of one padded size, the last of them smaller."""

    def inputs(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(height * width)
        images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
        sizes = torch.tensor([[height, width]] * count)
        sizes[-1] -= torch.tensor([7, 20])
        return images, sizes

    return inputs
