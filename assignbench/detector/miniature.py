"""The smallest residual network that has a C3, C4 and C5: one narrow block a stage, 99,000 weights.

It is there to try things out, a strategy, an option, a machine: a training step takes a fraction of ResNet-18's. No
published network is like it, and there are no weights for it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

STEM = 16
STAGES = ((16, 1), (32, 2), (32, 2), (64, 2))  # channels, stride


class Miniature(nn.Module):
    """Stem and stages by torchvision's names, for `Backbone` to run."""

    def __init__(self, norm_layer: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(STEM)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = (STEM, *(channels for channels, _ in STAGES))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            stage(width, *shape, norm_layer) for width, shape in zip(before, STAGES, strict=False)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def stage(before: int, channels: int, stride: int, norm_layer: Callable[..., nn.Module]) -> nn.Sequential:
    """One block."""
    shortcut = None if stride == 1 else nn.Sequential(conv1x1(before, channels, stride), norm_layer(channels))
    return nn.Sequential(BasicBlock(before, channels, stride, shortcut, norm_layer=norm_layer))
