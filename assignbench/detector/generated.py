"""The head of MetaAnchor: the weights of its last layers are generated from the priors that they speak for.

    b = (ln h/H, ln w/W)                a prior by a standard one, H = W = 2.5 strides
    θ_b = θ* + W₂ · ReLU(W₁ b)          the last layer's kernel for it; its bias is shared by all priors

One generator for class and one for box. In training the priors of a cell are drawn anew for each step: each side is
that of the head's own prior times 2^u, u uniform in ±spread. The draw is a function of the run's seed and the progress
of training alone, so that all images of a step have the same priors, whichever process looks at them. In evaluation the
head's own priors are used.

Source: arXiv 1807.00980, Section 3, Eq. 5, 6 and 8. The paper does not say from which distribution it draws, nor how
W₁ and W₂ start: here W₂ as θ*, N(0, 0.01), and W₁ so that |ReLU(W₁ b)| is about |b|, N(0, 1/√hidden): a step then
changes θ_b by little more than θ*, however wide the generator is.
Not here: weights that depend on the features, too.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assignbench.core import Head, Priors
from assignbench.core.parts import RawOutputs
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

STANDARD = 2.5  # strides: 20 pixels on the finest level
MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # odd numbers of splitmix64


class GeneratedHead(nn.Module):
    """Two towers, and last layers that are generated for each prior of a cell.

    Args:
        head: the priors, those at test.
        classes: number of classes.
        channels: width of pyramid and towers.
        depth: convolutions in each tower.
        hidden: width of the generators.
        spread: in octaves, how far sides are drawn from the head's own in training; 0: not at all.
    """

    def __init__(
        self, head: Head, classes: int, channels: int, depth: int, *, hidden: float = 128, spread: float = 0.5
    ) -> None:
        super().__init__()
        self.class_tower, self.box_tower = towers(head, channels, depth)
        self.class_output = GeneratedConv2d(output(channels, classes, class_bias(head)), int(hidden))
        self.box_output = GeneratedConv2d(output(channels, head.coding.outputs, head.box_bias), int(hidden))
        self.extra_outputs = extra_outputs(head, channels)
        self.scale = level_scale(head)
        self.head, self.classes, self.spread = head, classes, spread
        self.key = int(torch.randint(2**62, ()))  # of the draws; as the weights, it follows from the run's seed

    def forward(self, pyramid: tuple[Tensor, ...], priors: Priors, progress: float = 0.0) -> RawOutputs:
        """The levels that the head speaks on → raw outputs, float32, and in training the priors that were drawn."""
        cells, images = self.head.priors_per_cell, pyramid[0].shape[0]
        sides = (priors.boxes[:cells, 2:] - priors.boxes[:cells, :2]) / priors.stride[:cells, None]
        draws = self.training and self.spread > 0
        if draws:
            sides = sides * 2 ** (self.spread * (2 * drawn(self.key, progress, sides) - 1))
        code = (sides.flip(-1) / STANDARD).log()  # h, w

        kernels = self.class_output.kernel(code), self.box_output.kernel(code)
        raw = raw_outputs([self.said(one, *kernels) for one in pyramid], self.head, self.classes, self.scale)
        if not draws:
            return raw
        half = sides.repeat(len(priors) // cells, 1) * priors.stride[:, None] / 2
        boxes = torch.cat((priors.points - half, priors.points + half), dim=-1)
        return replace(raw, priors=boxes.expand(images, -1, -1))

    def said(self, features: Tensor, class_kernel: Tensor, box_kernel: Tensor) -> Maps:
        """What is put out on one level."""
        seen = {"box": self.box_tower(features), "class": self.class_tower(features)}
        extras = extra_maps(self.head, self.extra_outputs, seen)
        logits = self.class_output(seen["class"], class_kernel)
        return Maps(logits, self.box_output(seen["box"], box_kernel), extras)


class GeneratedConv2d(nn.Module):
    """A 3×3 convolution whose kernel is θ* + W₂ · ReLU(W₁ b).

    Args:
        shared: θ* and the bias.
        hidden: width of the generator.
    """

    def __init__(self, shared: nn.Conv2d, hidden: int) -> None:
        super().__init__()
        self.shared = shared
        self.first = nn.Linear(2, hidden)
        self.second = nn.Linear(hidden, shared.weight.numel(), bias=False)
        nn.init.normal_(self.first.weight, std=hidden**-0.5)
        nn.init.zeros_(self.first.bias)
        nn.init.normal_(self.second.weight, std=0.01)

    def kernel(self, code: Tensor) -> Tensor:
        """The kernels for priors, one after the other: ``[prior, 2] → [prior · output, channel, 3, 3]``."""
        change = self.second(self.first(code.to(self.first.weight.dtype)).relu()).unflatten(1, self.shared.weight.shape)
        return (self.shared.weight + change).flatten(0, 1)

    def forward(self, features: Tensor, kernel: Tensor) -> Tensor:
        """Features of a level → ``[image, prior · output, row, column]``."""
        assert self.shared.bias is not None  # noqa: S101 - for the type checker: bias is on by default
        bias = self.shared.bias.repeat(len(kernel) // len(self.shared.bias))
        return F.conv2d(features, kernel, bias, padding=1)


def drawn(key: int, progress: float, like: Tensor) -> Tensor:
    """Numbers in [0, 1) that look random and are a function of key and progress, shaped and placed as ``like``."""
    step = mixed(torch.tensor(key) + round(progress * 2**53))
    numbers = mixed(step + torch.arange(1, like.numel() + 1))
    return ((numbers & 0xFFFFFF).float() / 2**24).view(like.shape).to(like.device)


def mixed(numbers: Tensor) -> Tensor:
    """The finaliser of splitmix64 of int64 numbers, modulo 2⁶⁴."""
    step, *factors = (number - (1 << 64) if number >> 63 else number for number in MIX)
    z = numbers * step
    for shift, factor in zip((30, 27), factors, strict=True):
        z = (z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return z ^ ((z >> 31) & ((1 << 33) - 1))
