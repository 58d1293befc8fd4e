"""Detector and strategy as one module, so that one wrapper synchronises the gradients of both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assignbench.core import (
    Assigner,
    Assignment,
    Extra,
    Head,
    PairLoss,
    Predictions,
    Priors,
    Setting,
    Targets,
    assign,
)
from assignbench.data.batch import Batch
from assignbench.detector.backbone import Backbone
from assignbench.detector.detector import Detector
from assignbench.detector.objective import objective
from assignbench.detector.pixels import PIXELS
from assignbench.detector.pyramid import Pyramid
from assignbench.errors import RunError
from assignbench.plugins import construct
from assignbench.recipe import ModelSettings
from assignbench.run.matrix.plan import Candidate
from assignbench.run.matrix.protocol import CONTROLLED, Protocol


@dataclass(frozen=True)
class Step:
    """What one forward pass of training gives."""

    losses: Mapping[str, Tensor]  # name → []; their sum is minimised
    assignment: Assignment
    priors: Priors
    assignment_seconds: float | None  # the strategy alone; None: not timed in this step


class Learner(nn.Module):
    """Batch → losses, and the record they were computed from.

    ``ignore_crowd`` False teaches crowd regions as background.
    """

    def __init__(self, detector: Detector, assigner: Assigner, loss: PairLoss, *, ignore_crowd: bool = True) -> None:
        super().__init__()
        self.detector, self.assigner, self.loss = detector, assigner, loss
        self.ignore_crowd = ignore_crowd

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
        return self.charge(predictions, priors, batch.targets, timed=timed)

    def charge(self, predictions: Predictions, priors: Priors, targets: Targets, *, timed: bool = False) -> Step:
        """As `forward`, for predictions that are there already."""
        device = predictions.outputs.device
        targets = targets if self.ignore_crowd else targets.without_ignored()
        with torch.autocast(device.type, enabled=False):
            start = now(device) if timed else 0.0
            assignment = assign(self.assigner, predictions, priors, targets)
            seconds = now(device) - start if timed else None
            if timed:
                try:
                    assignment.check(predictions, targets)
                except ValueError as error:
                    name = type(self.assigner).__name__
                    raise RunError(f"{name} puts out an impossible assignment: {error}") from error
            losses = self.losses(assignment, predictions, priors, targets)
        return Step(losses, assignment, priors, seconds)

    def losses(
        self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets
    ) -> Mapping[str, Tensor]:
        """What a record costs."""
        head = self.head
        return objective(
            assignment, predictions, priors, targets, loss=self.loss, coding=head.coding, extras=head.extras
        )


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
    protocol: Protocol = CONTROLLED,
    extras: Sequence[Extra] = (),
    box_loss_weight: float | None = None,
    pretrained: bool = True,
) -> Learner:
    """The detector and loss of the protocol around a strategy.

    Strategies with the same seed start from the same backbone, pyramid and (under the controlled protocol) towers,
    bit for bit: these draw their weights before anything whose size depends on the strategy. ``pretrained=False``
    leaves a pretrained backbone's weights to be loaded by the caller.

    Args:
        strategy: class of the strategy.
        options: all its options that are not defaults, the protocol's included.
        model: settings of the recipe, as the protocol changed them.
        classes: number of classes.
        seed: of every random weight.
        protocol: controlled, or published with a preset.
        extras: outputs that the head gains, beside the strategy's own.
        box_loss_weight: λ; None: the protocol's.
        pretrained: whether to load the backbone's weights.

    Raises:
        UsageError: the strategy's constructor refuses its options, or its head an extra output.
        SystemProblem: pretrained weights are missing.
    """
    loss = protocol.loss if box_loss_weight is None else protocol.loss.weighing_boxes(box_loss_weight)
    torch.manual_seed(seed + 1)  # strategies with random parameters of their own do not shift the detector's
    coding = Head().coding if protocol.preset is None else protocol.preset.head.coding
    setting = Setting(classes=classes, loss=loss, coding=coding, channels=model.channels)
    assigner = construct(strategy, options, setting, extras)
    torch.manual_seed(seed)
    backbone = Backbone(
        model.backbone,
        model.weights,
        style=model.style,
        norm_affine=model.norm_affine,
        deformable=model.deformable,
        load=pretrained,
    )
    preset = protocol.preset
    detector = Detector(
        backbone,
        Pyramid(backbone.channels, model.channels, model.pyramid, model.pyramid_init),
        protocol.head(assigner.head),
        PIXELS[model.pixels],
        classes=classes,
        channels=model.channels,
        depth=model.towers,
        deformable=model.deformable_towers,
        mask_padding=preset is None or not preset.padding_is_background,
    )
    ignore_crowd = preset is None or not preset.crowd_is_background
    return Learner(detector.to(memory_format=torch.channels_last), assigner, loss, ignore_crowd=ignore_crowd)


def bare_learner(one: Candidate, model: ModelSettings, classes: int) -> Learner:
    """The learner that a run of a candidate would train, without pretrained weights: to be filled, or measured."""
    return build_learner(
        one.cls,
        one.options,
        model,
        classes=classes,
        seed=0,
        protocol=one.protocol,
        extras=one.extras,
        pretrained=False,
    )
