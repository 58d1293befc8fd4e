"""Boxes: areas, overlaps, distances to sides, and the codings in which a head speaks about boxes.

Continuous coordinates everywhere: the width of a box is ``x1 − x0``, without the "+1" of older code.
Denominators are floored at `EPS`, so that degenerate boxes give 0 and never NaN.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

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
    """Generalised IoU in [−1, 1] of boxes in step (arXiv 1902.09630): IoU − (enclosing − union) / enclosing."""
    intersection = _intersection(a, b)
    union = (area(a) + area(b) - intersection).clamp(min=EPS)
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    enclosing = (high - low).clamp(min=0).prod(-1).clamp(min=EPS)
    return intersection / union - (enclosing - union) / enclosing


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
