"""Narrow residual networks of torchvision's basic blocks, for CPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

WIDTHS = {  # channels of the stem and of the four stages, of one block each
    "miniature": (16, 16, 32, 32, 64),  # to try things out
    "resnet10_half": (32, 32, 64, 128, 256),  # ResNet-10 with half its channels: a third of ResNet-18's time
}


class Narrow(nn.Module):
    """Stem and stages by torchvision's names, for `Backbone` to run.

    Args:
        widths: channels of the stem and of the four stages.
        norm_layer: makes a norm of so many channels.
    """

    def __init__(self, widths: Sequence[int], norm_layer: Callable[..., nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            stage(before, width, stride, norm_layer)
            for (before, width), stride in zip(pairwise(widths), (1, 2, 2, 2), strict=True)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def stage(before: int, width: int, stride: int, norm_layer: Callable[..., nn.Module]) -> nn.Sequential:
    """One block."""
    shortcut = None if stride == 1 else nn.Sequential(conv1x1(before, width, stride), norm_layer(width))
    return nn.Sequential(BasicBlock(before, width, stride, shortcut, norm_layer=norm_layer))
