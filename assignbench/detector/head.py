"""Two towers shared over the pyramid's levels, and the outputs that a strategy's `Head` asks for."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from assignbench.core import Head
from assignbench.core.parts import RawOutputs
from assignbench.detector.deformable import DeformableConv2d

GROUPS = 32  # of channels normalised together; fewer when a group would be left with one: P7 can be 1 × 1


class DenseHead(nn.Module):
    """Class tower → class logits; box tower → box outputs and extras; a learned scale per level on the boxes."""

    def __init__(self, head: Head, classes: int, channels: int, depth: int, *, deformable: bool = False) -> None:
        super().__init__()
        cell = head.priors_per_cell
        self.class_tower = tower(head, channels, depth, deformable=deformable)
        self.box_tower = tower(head, channels, depth, deformable=deformable)
        self.class_output = output(channels, cell * classes, -math.log((1 - head.class_prior) / head.class_prior))
        self.box_output = output(channels, cell * head.coding.outputs, head.box_bias)
        self.extra_outputs = nn.ModuleDict(
            {extra.name: output(channels, cell * extra.channels, extra.bias) for extra in head.extras}
        )
        self.scale = nn.Parameter(torch.ones(len(head.levels))) if head.level_scale else None
        self.classes, self.box_outputs = classes, head.coding.outputs
        self.channels = {extra.name: extra.channels for extra in head.extras}
        self.read_off = {extra.name: extra.tower for extra in head.extras}

    def forward(self, pyramid: tuple[Tensor, ...]) -> RawOutputs:
        """The levels that the head speaks on → raw outputs, float32."""
        logits, regression = [], []
        extras: dict[str, list[Tensor]] = {name: [] for name in self.extra_outputs}
        for level, features in enumerate(pyramid):
            seen = {"box": self.box_tower(features), "class": self.class_tower(features)}
            logits.append(flatten(self.class_output(seen["class"]), self.classes))
            raw = flatten(self.box_output(seen["box"]), self.box_outputs)
            regression.append(raw if self.scale is None else raw * self.scale[level])
            for name, layer in self.extra_outputs.items():
                extras[name].append(flatten(layer(seen[self.read_off[name]]), self.channels[name]))
        return RawOutputs(
            torch.cat(logits, dim=1),
            torch.cat(regression, dim=1),
            {name: joined_levels(maps) for name, maps in extras.items()},
        )


def joined_levels(maps: list[Tensor]) -> Tensor:
    """An extra's logits of all levels: ``[image, location]``, or ``[image, location, channel]`` of several channels."""
    joined = torch.cat(maps, dim=1)
    return joined[..., 0] if joined.shape[-1] == 1 else joined


def tower(head: Head, channels: int, depth: int, *, deformable: bool) -> nn.Sequential:
    """``depth`` times convolution, group norm (optional), ReLU; the last convolution deformable or plain.

    Weights are N(0, 0.01) without norm. Before a norm their scale changes nothing but how far an optimizer's
    step turns them: at 0.01 Adam's first steps would be a fifth of the weights, so He's scale is used, unless
    ``head.tower_std`` asks for another.
    """
    layers: list[nn.Module] = []
    for i in range(depth):
        convolution = output(channels, channels)
        if head.tower_std is not None:
            nn.init.normal_(convolution.weight, std=head.tower_std)
        elif head.group_norm:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        if head.group_norm and not head.conv_bias:
            convolution.bias = None
        layers.append(DeformableConv2d(convolution) if deformable and i == depth - 1 else convolution)
        if head.group_norm:
            layers.append(nn.GroupNorm(math.gcd(GROUPS, channels // 2), channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def output(channels: int, outputs: int, bias: float = 0.0) -> nn.Conv2d:
    """A 3×3 convolution with weights N(0, 0.01) and a constant bias."""
    layer = nn.Conv2d(channels, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None  # noqa: S101 - for the type checker: bias is on by default
    nn.init.constant_(layer.bias, bias)
    return layer


def flatten(maps: Tensor, width: int) -> Tensor:
    """``[image, anchor · width, row, column] → [image, location, width]`` float32; a view for channels-last maps."""
    images = maps.shape[0]
    return maps.permute(0, 2, 3, 1).reshape(images, -1, width).float()
