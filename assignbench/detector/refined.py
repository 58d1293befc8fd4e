"""The head of DW: each side of a box is read off a place of its own, near where the location expects that side.

    d_j         (l, t, r, b) = relu(box output of j), in strides
    B_j         (x − l, y − t, x + r, y + b), its box; j lies at column x, row y of its map
    q_j         (x − l, y), (x, y − t), (x + r, y), (x, y + b), each moved by two outputs of its own
    d'_j        relu of (x − B⁰(q⁰), y − B¹(q¹), B²(q²) − x, B³(q³) − y)        B(q): bilinear, 0 outside the map

B^s is side s of the boxes. The moves are a 3×3 convolution of the box tower's features, (row, column) for each side.
Source: DW, arXiv 2203.16730, Section 3.4, and its released code (Apache-2.0) for the starting points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from assignbench.core import Head, Priors
from assignbench.core.parts import Distances, RawOutputs
from assignbench.core.priors import STRIDES
from assignbench.detector.head import flatten, joined_levels, output, tower

SIDES = 4
TOWARDS = (-1.0, -1.0, 1.0, 1.0)  # from the location to each side, along the axis that the side cuts


class RefinedHead(nn.Module):
    """Two towers; boxes are refined by boxes of other locations.

    Args:
        head: one prior a cell, distances to the sides.
        classes: number of classes.
        channels: width of pyramid and towers.
        depth: convolutions in each tower.
    """

    def __init__(self, head: Head, classes: int, channels: int, depth: int) -> None:
        super().__init__()
        if head.priors_per_cell != 1 or not isinstance(head.coding, Distances):
            raise ValueError("a refined head has one prior a cell, and its boxes are distances to the four sides")
        self.class_tower = tower(head, channels, depth, deformable=False)
        self.box_tower = tower(head, channels, depth, deformable=False)
        self.class_output = output(channels, classes, -math.log((1 - head.class_prior) / head.class_prior))
        self.box_output = output(channels, SIDES, head.box_bias)
        self.move_output = output(channels, 2 * SIDES)
        self.scale = nn.Parameter(torch.ones(len(STRIDES))) if head.level_scale else None
        self.extra_outputs = nn.ModuleDict(
            {extra.name: output(channels, extra.channels, extra.bias) for extra in head.extras}
        )
        self.head, self.classes = head, classes

    def forward(self, pyramid: tuple[Tensor, ...], priors: Priors) -> RawOutputs:
        """P3 … P7 → raw outputs, float32."""
        logits, regression = [], []
        extras: dict[str, list[Tensor]] = {extra.name: [] for extra in self.head.extras}
        for level, features in enumerate(pyramid):
            seen = {"box": self.box_tower(features), "class": self.class_tower(features)}
            logits.append(flatten(self.class_output(seen["class"]), self.classes))
            raw = self.box_output(seen["box"])
            raw = raw if self.scale is None else raw * self.scale[level]
            regression.append(flatten(refined(raw, self.move_output(seen["box"])), SIDES))
            for extra in self.head.extras:
                maps = self.extra_outputs[extra.name](seen[extra.tower])
                extras[extra.name].append(flatten(maps, extra.channels))
        return RawOutputs(
            torch.cat(logits, dim=1),
            torch.cat(regression, dim=1),
            {name: joined_levels(maps) for name, maps in extras.items()},
        )


def refined(raw: Tensor, moves: Tensor) -> Tensor:
    """The distances d' before ReLU, of a level: ``[image, 4, row, column], [image, 8, row, column] → as the first``."""
    kind = torch.promote_types(raw.dtype, torch.float32)
    distance, moves = raw.to(kind).relu(), moves.to(kind)
    rows, columns = (torch.arange(count, device=raw.device, dtype=kind) for count in raw.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    towards = distance.new_tensor(TOWARDS)[:, None, None]
    own = torch.stack((x, y, x, y)) + 0.5  # the first cell begins at 0
    sides = own + towards * distance
    left, top, right, bottom = (towards * distance).unbind(1)
    still = torch.zeros_like(left)
    place = moves + torch.stack((still, left, top, still, still, right, bottom, still), dim=1)  # row, column; row, …
    finite = place.isfinite()  # on a CPU the operator would follow an offset of NaN out of its memory
    known = finite.unflatten(1, (SIDES, 2)).all(dim=2)
    one = distance.new_ones(SIDES, 1, 1, 1)
    read = deform_conv2d(sides, place.where(finite, 0), one, mask=torch.ones_like(distance).where(known, torch.nan))
    return (towards * (read - own)).to(raw.dtype)
