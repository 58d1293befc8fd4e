"""The head of TOOD: one tower for both tasks; what class and box know of each other moves the one to the other.

    X_1 … X_N    N convolutions, one after the other; X: all of them, side by side
    w^task       σ(W₂ ReLU(W₁ mean X)), a weight of each layer; the mean is that of the map
    Z^task       ReLU(norm(W (w_1 X_1, …, w_N X_N))), the features of a task: class or box
    z, r         class output of Z^class; box output of Z^box: e^r is the distance to a side, in strides
    m, o         3×3 ReLU(1×1 X): how aligned a location is; for each side how far down and right it is seen better
    p            √(σ(z) σ(m))                                 the logit of p is what the head puts out
    c            B^c(q + o^c), side c of the box              B(q): bilinear, 0 outside the map

A box whose left lies right of its right, or its top below its bottom, stays as e^r says it. Sides are read as they
lie in the picture: outside the map they are 0, the picture's corner.

Source: TOOD, arXiv 2108.07755, Section 3.1, with mmdetection's widths and order of operations (Apache-2.0).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assignbench.core import Head, Priors
from assignbench.core.coding import MAX_LOG_STRIDES
from assignbench.core.fast.class_outputs import join_logits
from assignbench.core.parts import Corners, RawOutputs
from assignbench.detector.deformable import read_at
from assignbench.detector.head import (
    SIDES,
    TOWARDS,
    Maps,
    class_bias,
    extra_maps,
    extra_outputs,
    level_scale,
    normed,
    output,
    raw_outputs,
    tower,
)

ATTENTION, ALIGNMENT = 8, 4  # the pyramid's width by that of W₁, and by that of the layers before m and o
FAINT = 0.001  # deviation of the initial weights of what at first shall do next to nothing


class TaskAlignedHead(nn.Module):
    """A shared tower, features of each task, class and box aligned.

    Args:
        head: one prior a cell, corners of boxes.
        classes: number of classes.
        channels: width of pyramid and tower.
        depth: N, at least 1.
    """

    moves_taps = True  # in `read_at`: see `unrepeatable`

    def __init__(self, head: Head, classes: int, channels: int, depth: int) -> None:
        super().__init__()
        if head.priors_per_cell != 1 or not isinstance(head.coding, Corners) or depth < 1:
            raise ValueError(
                "a task-aligned head has one prior a cell, a tower of at least one convolution (model.towers), "
                "and its boxes are corners"
            )
        whole = depth * channels
        self.tower = nn.ModuleList(tower(head, channels, 1) for _ in range(depth))
        self.class_features = TaskFeatures(head, channels, depth)
        self.box_features = TaskFeatures(head, channels, depth)
        self.class_output = output(channels, classes, class_bias(head))
        self.box_output = output(channels, SIDES, head.box_bias)
        self.alignment_output = aligning(whole, channels, 1, bias=class_bias(head))
        self.move_output = aligning(whole, channels, 2 * SIDES, std=FAINT)
        self.extra_outputs = extra_outputs(head, channels)
        self.scale = level_scale(head)
        self.head, self.classes = head, classes

    def forward(self, pyramid: tuple[Tensor, ...], priors: Priors) -> RawOutputs:
        """The levels that the head speaks on → raw outputs, float32."""
        points = (priors.points / priors.stride[:, None]).split([features[0, 0].numel() for features in pyramid])
        levels = [
            self.said(features, points[level], None if self.scale is None else self.scale[level])
            for level, features in enumerate(pyramid)
        ]
        return raw_outputs(levels, self.head, self.classes, scale=None)

    def said(self, features: Tensor, points: Tensor, scale: Tensor | None) -> Maps:
        """What is put out on one level, whose locations lie at ``points``, in strides: ``[location, 2]``."""
        layers = []
        for layer in self.tower:
            features = layer(features)
            layers.append(features)
        every = torch.cat(layers, dim=1)
        mean = F.adaptive_avg_pool2d(every, 1)
        seen = {"class": self.class_features(every, mean), "box": self.box_features(every, mean)}
        logits = aligned(self.class_output(seen["class"]), self.alignment_output(every))
        own = points.T.reshape(1, 2, *features.shape[2:]).repeat(1, 2, 1, 1)
        boxes = moved(self.box_output(seen["box"]), self.move_output(every), own, scale)
        return Maps(logits, boxes, extra_maps(self.head, self.extra_outputs, seen))


class TaskFeatures(nn.Module):
    """Z of a task: the layers of the tower, each as much as the task asks for it."""

    def __init__(self, head: Head, channels: int, depth: int) -> None:
        super().__init__()
        narrow = max(1, channels // ATTENTION)
        self.attention = nn.Sequential(
            output(depth * channels, narrow, size=1, std=FAINT),
            nn.ReLU(inplace=True),
            output(narrow, depth, size=1, std=FAINT),
        )
        self.reduction = nn.Sequential(*normed(head, output(depth * channels, channels, size=1)))

    def forward(self, every: Tensor, mean: Tensor) -> Tensor:
        """X and its mean, ``[image, layer · channel, row, column]`` → the features of the task.

        The weights of the layers go into the kernel, which is much smaller than X.
        """
        plain, *rest = self.reduction
        assert isinstance(plain, nn.Conv2d)  # noqa: S101 - for the type checker: a tower's convolution
        weight = self.attention(mean).sigmoid().flatten(1)
        layers = plain.weight.flatten(1).unflatten(1, (weight.shape[1], -1))  # [output, layer, channel]
        kernel = (weight[:, None, :, None] * layers).flatten(2)  # [image, output, layer · channel]
        cells = every.permute(0, 2, 3, 1).flatten(1, 2)
        features = (cells @ kernel.transpose(1, 2)).unflatten(1, every.shape[2:]).permute(0, 3, 1, 2)
        features = features if plain.bias is None else features + plain.bias[:, None, None]
        for layer in rest:
            features = layer(features)
        return features


def aligning(inputs: int, channels: int, outputs: int, *, bias: float = 0.0, std: float = 0.01) -> nn.Sequential:
    """The layers before m or o: 1×1, ReLU, 3×3."""
    narrow = max(1, channels // ALIGNMENT)
    before = output(inputs, narrow, size=1, std=std)
    return nn.Sequential(before, nn.ReLU(inplace=True), output(narrow, outputs, bias, std=std))


def aligned(logits: Tensor, alignment: Tensor) -> Tensor:
    """The logit of p: ``[image, class, row, column], [image, 1, row, column] → as the first``.

    With j the logit of σ(z) σ(m): 1/p = √(1 + e^−j), and logit p = −log(1/p − 1) = j + log(1 + 1/p).
    """
    kind = torch.promote_types(logits.dtype, torch.float32)
    joint = join_logits(logits.to(kind).permute(0, 2, 3, 1), alignment.to(kind)[:, 0])
    return (joint + F.softplus(F.softplus(-joint) / 2)).permute(0, 3, 1, 2)


def moved(raw: Tensor, moves: Tensor, own: Tensor, scale: Tensor | None) -> Tensor:
    """Corners of the boxes from their locations, in strides.

    Args:
        raw: r, ``[image, 4, row, column]``.
        moves: o, ``[image, 8, row, column]``.
        own: x, y, x, y of the locations, in strides: ``[1, 4, row, column]``.
        scale: a factor for the distances; None: 1.
    """
    kind = torch.promote_types(raw.dtype, torch.float32)
    distance = raw.to(kind).clamp(max=MAX_LOG_STRIDES).exp()
    distance = distance if scale is None else distance * scale
    first = own + distance * distance.new_tensor(TOWARDS)[:, None, None]
    sides = read_at(first, moves.to(kind))
    crossed = (sides[:, :2] > sides[:, 2:]).any(dim=1, keepdim=True)
    return first.where(crossed, sides) - own
