"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", arXiv:1811.11168), made of a plain 3×3.

A second 3×3 convolution, ``conv_offset``, looks at the same input and says for each of the nine taps at each output
location by how many pixels to move it (down and right, bilinear between pixels, 0 outside the map) and how much of it
to take, a number from 0 to 1. It is initialised with zero: nothing moves, and half of every tap is taken.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TAPS = 9  # of a 3×3 kernel
MOVED_TOGETHER = 4  # groups of channels whose taps move together in `AdaptedConv2d`


class DeformableConv2d(nn.Module):
    """A 3×3 convolution whose taps move and fade, made of a plain one.

    **The mask is σ, not 2σ**, so a new layer computes one half of the plain convolution, up to the rounding of another
    order of summation; 2σ would start as the plain convolution itself. With σ, mmcv's ``DCNv2`` and detectron2's and
    cvpods' ``DeformBottleneckBlock`` (all Apache-2.0) put it behind pretrained kernels and before frozen batch norms
    all the same, and published numbers come from those. A bias is added whole. Also as there: one set of offsets for
    all channels and groups; ``conv_offset`` has a bias and the kernel's stride, and no learning rate of its own. Its
    channels are y and x of tap 0, of tap 1, …, then the nine masks; its name is mmcv's, so that checkpoints fit.

    **Precision.** torchvision's operator has no bf16, and float16 would round positions: it gets float32 (float64 for
    float64) whatever the autocast around it; the result has the input's type. ``conv_offset`` follows the autocast.

    **Order of summation.** On a GPU the backward pass adds into the input's gradient atomically, in no fixed order:
    equal seeds give weights that are equal up to rounding at first and part later. On a CPU it is repeatable.

    **Not a number.** On a CPU the operator would follow an offset of NaN out of its memory. Such a tap is multiplied
    by NaN instead, so that a training that diverges ends in a loss that is not finite, and in its message.

    **Derivative at zero.** Between pixels the interpolation has kinks; at a kink, as with offsets of zero, the
    gradient of an offset is that towards larger y and x.

    torch.compile takes the operator as one piece and does not break its graph.

    Args:
        plain: convolution whose kernel and bias, the same tensors, stride, padding and groups are kept.
    """

    moves_taps = True

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        if plain.kernel_size != (3, 3) or plain.dilation != (1, 1):
            raise ValueError(f"a 3×3 convolution without dilation is wanted, not {plain}")
        self.weight, self.bias = plain.weight, plain.bias
        self.stride, self.padding = (plain.stride[0], plain.stride[1]), (int(plain.padding[0]), int(plain.padding[1]))
        self.conv_offset = nn.utils.skip_init(  # draws no random numbers: what is built later stays as it is without
            nn.Conv2d,
            plain.in_channels,
            3 * TAPS,
            3,
            stride=self.stride,
            padding=self.padding,
            device=plain.weight.device,
            dtype=plain.weight.dtype,
        )
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """``[image, channel, height, width]`` → the same of the output."""
        kind = torch.promote_types(x.dtype, torch.float32)
        offset, mask = self.conv_offset(x).to(kind).split((2 * TAPS, TAPS), dim=1)
        bias = None if self.bias is None else self.bias.to(kind)
        moved = _convolve_moved(
            x.to(kind), offset, mask.sigmoid(), self.weight.to(kind), bias, stride=self.stride, padding=self.padding
        )
        rows_first = not x.is_contiguous(memory_format=torch.channels_last)  # as the operator puts out
        return moved.to(x.dtype, memory_format=torch.preserve_format if rows_first else torch.channels_last)


class AdaptedConv2d(nn.Module):
    """A 3×3 convolution whose taps move with the shape of the prior, and ReLU."""

    moves_taps = True

    def __init__(self, shapes: int, channels: int, offset_std: float) -> None:
        super().__init__()
        groups = math.gcd(MOVED_TOGETHER, channels)
        self.offset = nn.Conv2d(shapes, groups * 2 * TAPS, 1, bias=False)
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.normal_(self.convolution.weight, std=0.01)
        nn.init.normal_(self.offset.weight, std=offset_std)

    def forward(self, features: Tensor, shape: Tensor) -> Tensor:
        """Features and shape of a level → features adapted to the shape."""
        kind = torch.promote_types(features.dtype, torch.float32)
        offset = self.offset(shape).to(kind)
        whole = torch.ones_like(offset[:, ::2])
        moved = _convolve_moved(features.to(kind), offset, whole, self.convolution.weight.to(kind), padding=(1, 1))
        return moved.relu().to(features.dtype)


def read_at(maps: Tensor, moves: Tensor) -> Tensor:
    """Every channel of a map read at a place of its own near each location: bilinear, 0 outside the map.

    Args:
        maps: float32 or float64, ``[image, channel, row, column]``.
        moves: how far down and how far right of the location the place lies, channel after channel, of the same type:
            ``[image, 2 · channel, row, column]``. Where one is not finite, what is read is not a number.
    """
    return _convolve_moved(maps, moves, torch.ones_like(maps), maps.new_ones(maps.shape[1], 1, 1, 1))


def _convolve_moved(
    maps: Tensor,
    moves: Tensor,
    mask: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """A convolution whose taps move: y and x in pixels, in the channels of ``moves``, for each channel of ``mask``.

    All tensors have one type. On a CPU torchvision's operator would follow a move of NaN out of its memory; here what
    is read at such a place is not a number.
    """
    from torchvision.ops import (
        deform_conv2d,
    )  # here, since torchvision takes long to import and planning never calls it

    finite = moves.isfinite()
    known = finite.unflatten(1, (-1, 2)).all(dim=2)
    mask = mask.where(known, torch.nan)
    return deform_conv2d(maps, moves.where(finite, 0), kernel, bias, stride=stride, padding=padding, mask=mask)


def make_deformable(stage: nn.Module) -> None:
    """Replace the second convolution of every residual block of a stage: a bottleneck's 3×3, a basic block's last.

    Of a basic block's two 3×3 convolutions the second moves, not the first, which has the stride. No reference has
    deformable basic blocks (mmdetection and detectron2 refuse them), so this choice is ours.
    """
    for block in stage.children():
        block.conv2 = DeformableConv2d(block.conv2)  # type: ignore[arg-type]


def unrepeatable(model: nn.Module, device: torch.device) -> tuple[str, ...]:
    """What a record has to say of a training on this device: nothing without deformable convolutions on a GPU.

    They are in the modules that say ``moves_taps``.
    """
    if device.type == "cpu" or not any(getattr(one, "moves_taps", False) for one in model.modules()):
        return ()
    note = (
        "deformable convolutions add their gradients on a GPU in no fixed order: "
        "the same seed gives the same result only up to rounding and what follows from it"
    )
    return (note,)
