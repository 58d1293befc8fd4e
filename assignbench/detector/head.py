"""Two towers shared over the pyramid's levels, and the outputs that a strategy's `Head` asks for.

`DenseHead` is the network of all strategies that do not say otherwise. What it is built of are functions: the other
networks of `detector.networks` are built of the same ones, and hold only what is particular to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from assignbench.core import Head
from assignbench.core.parts import RawOutputs
from assignbench.detector.deformable import DeformableConv2d

SIDES = 4
TOWARDS = (-1.0, -1.0, 1.0, 1.0)  # from a location to each side of a box, along the axis that the side cuts
GROUPS = 32  # of channels normalised together; fewer when a group would be left with one: P7 can be 1 × 1


class Maps(NamedTuple):
    """What a network says on one level: ``[image, prior · number, row, column]`` each."""

    logits: Tensor
    regression: Tensor
    extras: Mapping[str, Tensor]  # of every extra output of the head, by name


class DenseHead(nn.Module):
    """Class tower → class logits; box tower → box outputs and extras; a learned scale per level on the boxes."""

    def __init__(self, head: Head, classes: int, channels: int, depth: int, *, deformable: bool = False) -> None:
        super().__init__()
        cell = head.priors_per_cell
        self.class_tower, self.box_tower = towers(head, channels, depth, deformable=deformable)
        self.class_output = output(channels, cell * classes, class_bias(head))
        self.box_output = output(channels, cell * head.coding.outputs, head.box_bias)
        self.extra_outputs = extra_outputs(head, channels)
        self.scale = level_scale(head)
        self.head, self.classes = head, classes

    def forward(self, pyramid: tuple[Tensor, ...]) -> RawOutputs:
        """The levels that the head speaks on → raw outputs, float32."""
        return raw_outputs([self.said(features) for features in pyramid], self.head, self.classes, self.scale)

    def said(self, features: Tensor) -> Maps:
        """What is put out on one level."""
        seen = {"box": self.box_tower(features), "class": self.class_tower(features)}
        extras = extra_maps(self.head, self.extra_outputs, seen)
        return Maps(self.class_output(seen["class"]), self.box_output(seen["box"]), extras)


def raw_outputs(levels: Sequence[Maps], head: Head, classes: int, scale: Tensor | None) -> RawOutputs:
    """The maps of all levels that the head speaks on → raw outputs, float32.

    Args:
        levels: fine to coarse.
        head: says what the maps hold.
        classes: number of classes.
        scale: a factor for the box outputs of each level; None: 1.
    """
    regression = [flatten(maps.regression, head.coding.outputs) for maps in levels]
    if scale is not None:
        regression = [raw * scale[level] for level, raw in enumerate(regression)]
    extras = {
        extra.name: [flatten(maps.extras[extra.name], extra.channels) for maps in levels] for extra in head.extras
    }
    return RawOutputs(
        torch.cat([flatten(maps.logits, classes) for maps in levels], dim=1),
        torch.cat(regression, dim=1),
        {name: joined_levels(maps) for name, maps in extras.items()},
    )


def joined_levels(maps: list[Tensor]) -> Tensor:
    """An extra's logits of all levels: ``[image, location]``, or ``[image, location, channel]`` of several channels."""
    joined = torch.cat(maps, dim=1)
    return joined[..., 0] if joined.shape[-1] == 1 else joined


def extra_maps(head: Head, layers: nn.ModuleDict, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The extra outputs on one level: ``seen`` has the features of the class and of the box tower."""
    return {extra.name: layers[extra.name](seen[extra.tower]) for extra in head.extras}


def extra_outputs(head: Head, channels: int, size: int = 3) -> nn.ModuleDict:
    """A layer for every extra output of the head, of ``size × size``."""
    cell = head.priors_per_cell
    return nn.ModuleDict(
        {extra.name: output(channels, cell * extra.channels, extra.bias, size) for extra in head.extras}
    )


def level_scale(head: Head) -> nn.Parameter | None:
    """A learned factor for each level that the head speaks on, where it asks for one."""
    return nn.Parameter(torch.ones(len(head.levels))) if head.level_scale else None


def class_bias(head: Head) -> float:
    """The logit of the initial class probability."""
    return -math.log((1 - head.class_prior) / head.class_prior)


def towers(head: Head, channels: int, depth: int, *, deformable: bool = False) -> tuple[nn.Sequential, nn.Sequential]:
    """The class tower and the box tower."""
    return (
        tower(head, channels, depth, deformable=deformable),
        tower(head, channels, depth, deformable=deformable),
    )


def tower(head: Head, channels: int, depth: int, *, deformable: bool = False) -> nn.Sequential:
    """``depth`` times convolution, group norm (optional), ReLU; the last convolution deformable or plain.

    Weights are N(0, 0.01) without norm. Before a norm their scale changes nothing but how far an optimizer's
    step turns them: at 0.01 Adam's first steps would be a fifth of the weights, so He's scale is used, unless
    ``head.tower_std`` asks for another.
    """
    return nn.Sequential(
        *(
            layer
            for i in range(depth)
            for layer in normed(head, output(channels, channels), deformable=deformable and i == depth - 1)
        )
    )


def normed(head: Head, convolution: nn.Conv2d, *, deformable: bool = False) -> list[nn.Module]:
    """A convolution as the head's towers have it, the norm after it, where they have one, and ReLU."""
    channels = convolution.out_channels
    if head.tower_std is not None:
        nn.init.normal_(convolution.weight, std=head.tower_std)
    elif head.group_norm:
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if head.group_norm and not head.conv_bias:
        convolution.bias = None
    norm = [nn.GroupNorm(math.gcd(GROUPS, channels // 2), channels)] if head.group_norm else []
    return [DeformableConv2d(convolution) if deformable else convolution, *norm, nn.ReLU(inplace=True)]


def output(channels: int, outputs: int, bias: float = 0.0, size: int = 3, std: float = 0.01) -> nn.Conv2d:
    """A convolution of ``size × size``, an odd number, with weights N(0, std) and a constant bias."""
    layer = nn.Conv2d(channels, outputs, size, padding=size // 2)
    nn.init.normal_(layer.weight, std=std)
    assert layer.bias is not None  # noqa: S101 - for the type checker: bias is on by default
    nn.init.constant_(layer.bias, bias)
    return layer


def flatten(maps: Tensor, width: int) -> Tensor:
    """``[image, anchor · width, row, column] → [image, location, width]`` float32; a view for channels-last maps."""
    images = maps.shape[0]
    return maps.permute(0, 2, 3, 1).reshape(images, -1, width).float()
