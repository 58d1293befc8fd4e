"""A head that predicts its priors: width and height of a square at each location, learned by an extra of two channels.

Matching is by IoU with the predicted priors. Source: after Guided Anchoring, arXiv 1901.03278, reduced to what shows
the interface: no location branch, no adapted features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assignbench.core import (
    Assigner,
    Assignment,
    Extra,
    Head,
    PairViews,
    Priors,
    Targets,
    hard_assignment,
    overlapping_pairs,
    winners,
)
from assignbench.core.parts import Cost, RawOutputs


@dataclass(frozen=True)
class Shape(Extra):
    """ln of width and height of the object by those of the location's square."""

    name: ClassVar[str] = "shape"
    channels: ClassVar[int] = 2

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        pair = view(assignment.pairs.object, assignment.pairs.location)
        side = 8 * pair.stride[:, None]
        wanted = ((pair.true[:, 2:] - pair.true[:, :2]) / side).log()
        weight = assignment.pairs.weight.detach()[:, None]
        return Cost((weight * F.smooth_l1_loss(pair.extra_logit(self.name), wanted, reduction="none")).sum())


class Guided(nn.Module):
    """Class, box and shape by one convolution each; the shape makes the priors."""

    def __init__(self, head: Head, classes: int, channels: int, depth: int) -> None:
        super().__init__()
        self.widths = (classes, head.coding.outputs, 2)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, width, 3, padding=1) for width in self.widths)
        for layer in self.outputs:
            nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(self.outputs[0].bias, -4.6)

    def forward(self, pyramid: tuple[Tensor, ...], priors: Priors) -> RawOutputs:
        logits, regression, shape = (
            torch.cat([layer(level).permute(0, 2, 3, 1).flatten(1, 2).float() for level in pyramid], dim=1)
            for layer in self.outputs
        )
        half = 4 * priors.stride[:, None] * shape.detach().clamp(-2, 2).exp()
        boxes = torch.cat((priors.points - half, priors.points + half), dim=-1)
        return RawOutputs(logits, regression, {"shape": shape}, boxes)


class PredictedPriors(Assigner):
    """IoU matching with priors that the network predicts."""

    head = Head(extras=(Shape(),), make=Guided)
    source = "tests"

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        objects, locations, overlap = overlapping_pairs(targets, priors, 0.4, best=True)
        won = winners(overlap, objects, locations, targets, priors)
        return hard_assignment(objects[won], locations[won], targets)
