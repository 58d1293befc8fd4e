"""Boxes: areas, overlaps, centres, distances to sides.

Continuous coordinates everywhere: the width of a box is ``x1 − x0``, without the "+1" of older code.
Denominators are floored at `EPS`, so that degenerate boxes give 0 and never NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-6  # pixels², floor of unions and enclosing areas


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


def sides(boxes: Tensor, points: Tensor) -> Tensor:
    """Distances from points to the left, top, right and bottom side: ``[..., 4], [..., 2] → [..., 4]``.

    All four are positive exactly when the point lies strictly inside.
    """
    return torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), dim=-1)


def take(table: Tensor, place: Tensor) -> Tensor:
    """Rows of a table of boxes or points: ``[..., n], [pair] → [pair, n]``, places counted over all leading axes.

    Each coordinate of the result is contiguous, which is several times as fast to compute with.
    """
    columns = table.reshape(-1, table.shape[-1]).t()
    if table.device.type != "cpu" or (table.requires_grad and torch.is_grad_enabled()):
        return columns.index_select(1, place).t()
    found = table.new_empty(len(columns), len(place))  # one by one is faster: torch would copy the whole table first
    for column, own in zip(columns, found, strict=True):
        torch.index_select(column, 0, place, out=own)
    return found.t()


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
