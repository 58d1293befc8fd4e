"""Generalised IoU with its gradient in one pass; autograd through its thirty steps takes five times as long."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from assignbench.core.geometry import EPS, area
from assignbench.core.tensors import once_differentiable


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU in [−1, 1] of boxes in step (arXiv 1902.09630): IoU − (enclosing − union) / enclosing.

    ``[box, 4], [box, 4] → [box]``. It can be differentiated once, by both.
    """
    return _GIoU.apply(a, b)


class _GIoU(Function):
    """I/U − 1 + U/C with intersection I, union U, enclosing area C, and its gradient by each box that asks for one."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        inside, around = inner(a, b), outer(a, b)
        w, h = (size.clamp(min=0) for size in inside)
        intersection, whole = w * h, around[0] * around[1]
        joint = area(a) + area(b) - intersection
        union, enclosing = joint.clamp(min=EPS), whole.clamp(min=EPS)
        if any(ctx.needs_input_grad):
            by_area = (1 / enclosing - intersection / union.square()).masked_fill_(joint < EPS, 0)
            by_inner = 1 / union - by_area
            by_outer = (-union / enclosing.square()).masked_fill_(whole < EPS, 0)
            # by the width and the height in common, and around
            by_size = (
                (by_inner * h).masked_fill_(inside[0] <= 0, 0),
                (by_inner * w).masked_fill_(inside[1] <= 0, 0),
                by_outer * around[1],
                by_outer * around[0],
            )
            ctx.save_for_backward(
                *(slope(x, y, by_area, *by_size) if asked else None
                  for asked, x, y in zip(ctx.needs_input_grad, (a, b), (b, a), strict=True))
            )  # fmt: skip
        return intersection / union - (enclosing - union) / enclosing

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(None if slopes is None else (slopes * gradients[0]).movedim(0, -1) for slopes in ctx.saved_tensors)


def inner(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of what two boxes have in common; below 0 where they are apart."""
    return (
        torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0]),
        torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1]),
    )


def outer(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest box around two."""
    return (
        (torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 0], b[..., 0])).clamp(min=0),
        (torch.maximum(a[..., 3], b[..., 3]) - torch.minimum(a[..., 1], b[..., 1])).clamp(min=0),
    )


def slope(
    a: Tensor, b: Tensor, by_area: Tensor, by_w: Tensor, by_h: Tensor, by_outer_w: Tensor, by_outer_h: Tensor
) -> Tensor:
    """∂GIoU by the sides of the first box: ``[side, box]``; given the slopes by its area and by common and outer sizes.

    With A the first box's area:  ∂/∂I = 1/U + I/U² − 1/C,   ∂/∂A = 1/C − I/U²,   ∂/∂C = −U/C².  A side moves I and C
    only while it is the inner or outer one of the two boxes' (half of it where both are equal).
    """
    ax0, ay0, ax1, ay1 = a.unbind(-1)
    bx0, by0, bx1, by1 = b.unbind(-1)
    found = torch.empty(4, *a.shape[:-1], dtype=a.dtype, device=a.device)
    corners = ((ax0, bx0, by_w, by_outer_w, -1), (ay0, by0, by_h, by_outer_h, -1))
    corners += ((bx1, ax1, by_w, by_outer_w, 1), (by1, ay1, by_h, by_outer_h, 1))
    for side, (larger, smaller, by_inside, by_outside, sign) in enumerate(corners):
        inside = (larger - smaller).sign_().add_(1).mul_(0.5)  # 1, or 1/2 where both are equal, or 0
        torch.lerp(by_outside, by_inside, inside, out=found[side])
        found[side].addcmul_(by_area, (ay1 - ay0) if side % 2 == 0 else (ax1 - ax0)).mul_(sign)
    return found
