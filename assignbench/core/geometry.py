"""Boxes: areas, overlaps, distances to sides, and the codings in which a head speaks about boxes.

Continuous coordinates everywhere: the width of a box is ``x1 − x0``, without the "+1" of older code.
Denominators are floored at `EPS`, so that degenerate boxes give 0 and never NaN.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

EPS = 1e-6  # pixels², floor of unions and enclosing areas
MAX_LOG_RATIO = math.log(1000 / 16)  # a delta may change width or height by this factor at most, both ways


def area(boxes: Tensor) -> Tensor:
    """Width times height: ``[..., 4] → [...]``."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    return width.clamp(min=0) * height.clamp(min=0)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes in step: ``[..., 4], [..., 4] → [...]``, broadcasting.

    Every strategy's overlaps come from this one expression, so equal boxes give equal floats however
    the work is cut: RetinaNet's ties are float equalities.
    """
    intersection = _intersection(a, b)
    union = area(a) + area(b) - intersection
    return intersection / union.clamp(min=EPS)


def iou_matrix(boxes: Tensor, priors: Tensor) -> Tensor:
    """Overlap of every object with every prior: ``[object, 4], [(object,) location, 4] → [object, location]``."""
    return iou(boxes[:, None], priors)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU in [−1, 1] of boxes in step (arXiv 1902.09630): IoU − (enclosing − union) / enclosing.

    ``[box, 4], [box, 4] → [box]``; the gradient goes to ``a`` alone.
    """
    return _GIoU.apply(a, b)


class _GIoU(Function):
    """I/U − 1 + U/C with intersection I, union U, enclosing area C, and its gradient by the first box in one pass.

    With width w, height h of the intersection and W, H of the enclosing box, and A the first box's area:
    ∂/∂I = 1/U + I/U² − 1/C,   ∂/∂A = 1/C − I/U²,   ∂/∂C = −U/C²; a corner moves I and C only while it is the
    inner or outer one of the two (half of it where both are equal).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ax0, ay0, ax1, ay1 = a.unbind(-1)
        bx0, by0, bx1, by1 = b.unbind(-1)
        inner_w = torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)  # before they are cut at 0
        inner_h = torch.minimum(ay1, by1) - torch.maximum(ay0, by0)
        w, h = inner_w.clamp(min=0), inner_h.clamp(min=0)
        outer_w = (torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)).clamp(min=0)
        outer_h = (torch.maximum(ay1, by1) - torch.minimum(ay0, by0)).clamp(min=0)
        intersection, whole = w * h, outer_w * outer_h
        joint = area(a) + area(b) - intersection
        union, enclosing = joint.clamp(min=EPS), whole.clamp(min=EPS)
        if ctx.needs_input_grad[0]:
            by_area = (1 / enclosing - intersection / union.square()).mul_(joint >= EPS)
            by_inner = 1 / union - by_area
            by_outer = (-union / enclosing.square()).mul_(whole >= EPS)
            by_w, by_h = (by_inner * h).mul_(inner_w > 0), (by_inner * w).mul_(inner_h > 0)
            by_outer_w, by_outer_h = by_outer * outer_h, by_outer * outer_w
            slope = torch.empty(4, *a.shape[:-1], dtype=a.dtype, device=a.device)
            corners = ((ax0, bx0, by_w, by_outer_w, -1), (ay0, by0, by_h, by_outer_h, -1))
            corners += ((bx1, ax1, by_w, by_outer_w, 1), (by1, ay1, by_h, by_outer_h, 1))
            for side, (larger, smaller, by_inside, by_outside, sign) in enumerate(corners):
                inside = share(larger, smaller)
                torch.lerp(by_outside, by_inside, inside, out=slope[side])
                slope[side].addcmul_(by_area, (ay1 - ay0) if side % 2 == 0 else (ax1 - ax0)).mul_(sign)
            ctx.save_for_backward(slope)
        return intersection / union - (enclosing - union) / enclosing

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return (slope * gradients[0]).movedim(0, -1), None


def share(larger: Tensor, smaller: Tensor) -> Tensor:
    """1 where the first is the larger, 0 where it is the smaller, ½ where they are equal."""
    return torch.heaviside(larger - smaller, larger.new_tensor(0.5))


def sides(boxes: Tensor, points: Tensor) -> Tensor:
    """Distances from points to the left, top, right and bottom side: ``[..., 4], [..., 2] → [..., 4]``.

    All four are positive exactly when the point lies strictly inside.
    """
    return torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), dim=-1)


def take(table: Tensor, place: Tensor) -> Tensor:
    """Rows of a table of boxes or points: ``[..., n], [pair] → [pair, n]``, places counted over all leading axes.

    Each coordinate of the result is contiguous, which is several times as fast to compute with.
    """
    return table.reshape(-1, table.shape[-1]).t().index_select(1, place).t()


def pick(values: Tensor, index: Tensor) -> Tensor:
    """``values[index]`` of a list by a list, three times as fast on a CPU: ``[any], [pair] → [pair]``."""
    return values.index_select(0, index)


def centers(boxes: Tensor) -> Tensor:
    """Centre x, y: ``[..., 4] → [..., 2]``."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def centerness(boxes: Tensor, points: Tensor) -> Tensor:
    """How central a point lies in its box, in [0, 1] (FCOS, arXiv 1904.01355, Eq. 3): ``[..., 4], [..., 2] → [...]``.

    √( min(l, r) / max(l, r) · min(t, b) / max(t, b) ); 0 for a point on or outside the border.
    """
    left, top, right, bottom = sides(boxes, points).unbind(-1)
    horizontal = torch.minimum(left, right) / torch.maximum(left, right).clamp(min=EPS)
    vertical = torch.minimum(top, bottom) / torch.maximum(top, bottom).clamp(min=EPS)
    return (horizontal.clamp(min=0) * vertical.clamp(min=0)).sqrt()


class Coding(ABC):
    """How four raw outputs of the head stand for a box, relative to the location's prior."""

    @abstractmethod
    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """Raw outputs → boxes: ``[..., 4], [..., 4], [...] → [..., 4]``, broadcasting."""

    @abstractmethod
    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """Boxes → what the raw outputs should be: the targets of losses on deltas."""


@dataclass(frozen=True)
class Distances(Coding):
    """Left, top, right, bottom from the location in strides: side = ReLU(output) · stride (FCOS)."""

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`; outputs below zero give a side of zero."""
        distance = regression.clamp(min=0) * stride[..., None]
        center = centers(priors)
        return torch.cat((center - distance[..., :2], center + distance[..., 2:]), dim=-1)

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`."""
        return sides(boxes, centers(priors)) / stride[..., None]


@dataclass(frozen=True)
class Deltas(Coding):
    """Shift and log-ratio relative to the prior box, each divided by its scale (Fast R-CNN's coding).

    dx = (x − x_prior) / w_prior / scale_x; dw = ln(w / w_prior) / scale_w. The shift of the centre is not
    clamped; the log-ratio is, on both sides, at ln(1000/16).
    """

    scale: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`; the stride is not used."""
        size = priors[..., 2:] - priors[..., :2]
        delta = regression * regression.new_tensor(self.scale)
        center = centers(priors) + delta[..., :2] * size
        half = size * delta[..., 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() / 2
        return torch.cat((center - half, center + half), dim=-1)

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`."""
        size = priors[..., 2:] - priors[..., :2]
        shift = (centers(boxes) - centers(priors)) / size
        ratio = ((boxes[..., 2:] - boxes[..., :2]) / size).log()
        return torch.cat((shift, ratio), dim=-1) / boxes.new_tensor(self.scale)
