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

from dataclasses import replace

from torch import Tensor, nn

from assignbench.core import Extra, Head, Priors
from assignbench.core.parts import RawOutputs
from assignbench.detector.deformable import AdaptedConv2d
from assignbench.detector.head import (
    Maps,
    class_bias,
    extra_maps,
    extra_outputs,
    level_scale,
    output,
    raw_outputs,
    towers,
)


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
        self.class_tower, self.box_tower = towers(head, channels, depth)
        self.class_output = output(channels, classes, class_bias(head))
        self.box_output = output(channels, head.coding.outputs, head.box_bias)
        self.scale = level_scale(head)
        self.extra_outputs = extra_outputs(head, channels, size=1)
        self.class_adaption = AdaptedConv2d(self.guide.channels, channels, offset_std)
        self.box_adaption = AdaptedConv2d(self.guide.channels, channels, offset_std)
        self.head, self.classes = head, classes

    def forward(self, pyramid: tuple[Tensor, ...], priors: Priors) -> RawOutputs:
        """The levels that the head speaks on → raw outputs, float32, and the priors that they are relative to."""
        raw = raw_outputs([self.said(features) for features in pyramid], self.head, self.classes, self.scale)
        return replace(raw, priors=self.guide.predicted_priors(raw.extras[self.guide.name].detach(), priors))

    def said(self, features: Tensor) -> Maps:
        """What is put out on one level."""
        seen = {"box": self.box_tower(features), "class": self.class_tower(features)}
        extras = extra_maps(self.head, self.extra_outputs, seen)
        shape = extras[self.guide.name].detach()
        logits = self.class_output(self.class_adaption(seen["class"], shape))
        return Maps(logits, self.box_output(self.box_adaption(seen["box"], shape)), extras)
