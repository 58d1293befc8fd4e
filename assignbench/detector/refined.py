"""The head of DW: each side of a box is read off a place of its own, near where the location expects that side.

    d_j         (l, t, r, b) = relu(box output of j), in strides
    B_j         (x − l, y − t, x + r, y + b), its box; j lies at column x, row y of its map
    q_j         (x − l, y), (x, y − t), (x + r, y), (x, y + b), each moved by two outputs of its own
    d'_j        relu of (x − B⁰(q⁰), y − B¹(q¹), B²(q²) − x, B³(q³) − y)        B(q): bilinear, 0 outside the map

B^s is side s of the boxes. The moves are a 3×3 convolution of the box tower's features, (row, column) for each side.
Source: DW, arXiv 2203.16730, Section 3.4, and its released code (Apache-2.0) for the starting points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assignbench.core import Head, Priors
from assignbench.core.parts import Distances, RawOutputs
from assignbench.detector.deformable import read_at
from assignbench.detector.head import (
    SIDES,
    TOWARDS,
    Maps,
    class_bias,
    extra_maps,
    extra_outputs,
    level_scale,
    output,
    raw_outputs,
    towers,
)


class RefinedHead(nn.Module):
    """Two towers; boxes are refined by boxes of other locations.

    Args:
        head: one prior a cell, distances to the sides.
        classes: number of classes.
        channels: width of pyramid and towers.
        depth: convolutions in each tower.
    """

    moves_taps = True  # in `read_at`: see `unrepeatable`

    def __init__(self, head: Head, classes: int, channels: int, depth: int) -> None:
        super().__init__()
        if head.priors_per_cell != 1 or not isinstance(head.coding, Distances):
            raise ValueError("a refined head has one prior a cell, and its boxes are distances to the four sides")
        self.class_tower, self.box_tower = towers(head, channels, depth)
        self.class_output = output(channels, classes, class_bias(head))
        self.box_output = output(channels, SIDES, head.box_bias)
        self.move_output = output(channels, 2 * SIDES)
        self.scale = level_scale(head)
        self.extra_outputs = extra_outputs(head, channels)
        self.head, self.classes = head, classes

    def forward(self, pyramid: tuple[Tensor, ...], priors: Priors) -> RawOutputs:
        """The levels that the head speaks on → raw outputs, float32; what is refined is scaled before."""
        levels = [
            self.said(features, None if self.scale is None else self.scale[level])
            for level, features in enumerate(pyramid)
        ]
        return raw_outputs(levels, self.head, self.classes, scale=None)

    def said(self, features: Tensor, scale: Tensor | None) -> Maps:
        """What is put out on one level."""
        seen = {"box": self.box_tower(features), "class": self.class_tower(features)}
        raw = self.box_output(seen["box"])
        boxes = refined(raw if scale is None else raw * scale, self.move_output(seen["box"]))
        return Maps(self.class_output(seen["class"]), boxes, extra_maps(self.head, self.extra_outputs, seen))


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
    return (towards * (read_at(sides, place) - own)).to(raw.dtype)
