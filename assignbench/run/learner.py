"""Detector and strategy as one module, so that one wrapper synchronises the gradients of both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assignbench.core import Assigner, Assignment, GIoU, Head, PairLoss, Priors, Setting, assign
from assignbench.data.batch import Batch
from assignbench.detector.backbone import Backbone
from assignbench.detector.detector import Detector
from assignbench.detector.objective import objective
from assignbench.errors import RunError
from assignbench.plugins import construct
from assignbench.recipe import ModelSettings

CONTROLLED_LOSS = PairLoss(alpha=0.25, gamma=2.0, box=GIoU(weight=5.0))


@dataclass(frozen=True)
class Step:
    """What one forward pass of training gives."""

    losses: Mapping[str, Tensor]  # name → []; their sum is minimised
    assignment: Assignment
    priors: Priors
    assignment_seconds: float | None  # the strategy alone; None: not timed in this step


class Learner(nn.Module):
    """Batch → losses, and the record they were computed from."""

    def __init__(self, detector: Detector, assigner: Assigner, loss: PairLoss) -> None:
        super().__init__()
        self.detector, self.assigner, self.loss = detector, assigner, loss

    @property
    def head(self) -> Head:
        """The head in use."""
        return self.detector.spec

    def forward(self, batch: Batch, timed: bool = False) -> Step:
        """Predict, assign, charge. The last two run in float32 whatever the precision of the network.

        ``timed`` steps are samples: the strategy is timed and its record is checked, which makes a GPU wait.

        Raises:
            RunError: the strategy's record is impossible.
        """
        predictions, priors = self.detector(batch.images, batch.sizes)
        with torch.autocast(batch.images.device.type, enabled=False):
            start = now(batch.images.device) if timed else 0.0
            assignment = assign(self.assigner, predictions, priors, batch.targets)
            seconds = now(batch.images.device) - start if timed else None
            if timed:
                try:
                    assignment.check(predictions, batch.targets)
                except ValueError as error:
                    name = type(self.assigner).__name__
                    raise RunError(f"{name} puts out an impossible assignment: {error}") from error
            losses = objective(
                assignment,
                predictions,
                priors,
                batch.targets,
                loss=self.loss,
                coding=self.head.coding,
                extras=self.head.extras,
            )
        return Step(losses, assignment, priors, seconds)


def now(device: torch.device) -> float:
    """Seconds, once everything given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def build_learner(
    strategy: type[Assigner],
    options: Mapping[str, Any],
    model: ModelSettings,
    *,
    classes: int,
    seed: int,
    pretrained: bool = True,
) -> Learner:
    """The controlled protocol: one detector, one loss; only the strategy differs.

    Strategies with the same seed start from the same backbone, pyramid and towers, bit for bit: these draw
    their weights before anything whose size depends on the strategy. ``pretrained=False`` leaves a pretrained
    backbone's weights to be loaded by the caller.

    Raises:
        UsageError: the strategy's constructor refuses its options.
        SystemProblem: pretrained weights are missing.
    """
    loss = CONTROLLED_LOSS
    setting = Setting(classes=classes, loss=loss, coding=Head().coding, channels=model.channels)
    torch.manual_seed(seed + 1)  # strategies with random parameters of their own do not shift the detector's
    assigner = construct(strategy, options, setting)
    torch.manual_seed(seed)
    detector = Detector(
        Backbone(model.backbone, model.weights, load=pretrained),
        assigner.head.controlled(),
        classes=classes,
        channels=model.channels,
        depth=model.towers,
    )
    return Learner(detector.to(memory_format=torch.channels_last), assigner, loss)
