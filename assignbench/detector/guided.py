"""The head of Guided Anchoring: priors that it predicts, and features adapted to their shape.

    location    1×1 convolution of the class tower's features          extras that say so (`Extra.tower`)
    shape       1×1 convolution of the box tower's features            all others; one of them makes the priors
    features    3×3 deformable convolution, ReLU, for each tower       offsets: 1×1 convolution of the shape
    class, box  3×3 convolutions of the adapted features

Source: Wang et al., "Region Proposal by Guided Anchoring", arXiv 1901.03278, Section 3.4, with the layers of
mmdetection's ``GARetinaHead`` (Apache-2.0): four groups of offsets, no bias in either convolution. No gradient goes
from the offsets into the shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from assignbench.core import Extra, Head, Priors
from assignbench.core.parts import RawOutputs
from assignbench.core.priors import STRIDES
from assignbench.detector.deformable import AdaptedConv2d
from assignbench.detector.head import flatten, joined_levels, output, tower


class GuidedHead(nn.Module):
    """Two towers; location and shape off them; class and box off the adapted features.

    Args:
        head: one of its extras predicts the priors.
        classes: number of classes.
        channels: width of pyramid and towers.
        depth: convolutions in each tower.
        offset_std: deviation of the initial weights of the offsets; 0: at first nothing moves.
    """

    def __init__(self, head: Head, classes: int, channels: int, depth: int, *, offset_std: float = 0.1) -> None:
        super().__init__()
        guides = [extra for extra in head.extras if type(extra).predicted_priors is not Extra.predicted_priors]
        if len(guides) != 1 or head.priors_per_cell != 1:
            raise ValueError("a guided head has one prior a cell, and one extra output that predicts it")
        self.guide = guides[0]
        self.class_tower = tower(head, channels, depth, deformable=False)
        self.box_tower = tower(head, channels, depth, deformable=False)
        self.class_output = output(channels, classes, -math.log((1 - head.class_prior) / head.class_prior))
        self.box_output = output(channels, head.coding.outputs, head.box_bias)
        self.scale = nn.Parameter(torch.ones(len(STRIDES))) if head.level_scale else None
        self.extra_outputs = nn.ModuleDict()
        for extra in head.extras:
            self.extra_outputs[extra.name] = layer = nn.Conv2d(channels, extra.channels, 1)
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, extra.bias)  # type: ignore[arg-type]
        self.class_adaption = AdaptedConv2d(self.guide.channels, channels, offset_std)
        self.box_adaption = AdaptedConv2d(self.guide.channels, channels, offset_std)
        self.classes, self.box_outputs, self.extras = classes, head.coding.outputs, head.extras

    def forward(self, pyramid: tuple[Tensor, ...], priors: Priors) -> RawOutputs:
        """P3 … P7 → raw outputs, float32, and the priors that they are relative to."""
        logits, regression = [], []
        extras: dict[str, list[Tensor]] = {extra.name: [] for extra in self.extras}
        for level, features in enumerate(pyramid):
            seen = {"box": self.box_tower(features), "class": self.class_tower(features)}
            maps = {extra.name: self.extra_outputs[extra.name](seen[extra.tower]) for extra in self.extras}
            shape = maps[self.guide.name].detach()
            logits.append(flatten(self.class_output(self.class_adaption(seen["class"], shape)), self.classes))
            raw = flatten(self.box_output(self.box_adaption(seen["box"], shape)), self.box_outputs)
            regression.append(raw if self.scale is None else raw * self.scale[level])
            for extra in self.extras:
                extras[extra.name].append(flatten(maps[extra.name], extra.channels))
        joined = {name: joined_levels(maps) for name, maps in extras.items()}
        return RawOutputs(
            torch.cat(logits, dim=1),
            torch.cat(regression, dim=1),
            joined,
            self.guide.predicted_priors(joined[self.guide.name].detach(), priors),
        )
