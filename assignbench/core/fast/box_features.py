"""What the pyramid says in each object's box: a square of bins of every level, side by side, all objects at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assignbench.core.fast.grid import own_cells
from assignbench.core.types import Priors, Targets


@torch.no_grad()
def box_features(pyramid: Sequence[Tensor], targets: Targets, priors: Priors, size: int = 7) -> Tensor:
    """The maps at the middles of size × size bins of each box, bilinear (as RoIAlign with one sample a bin).

    Between the outermost cells of an image that are not in its padding and its sides, the outermost cells count. The
    result is no part of the pyramid's gradient.

    Args:
        pyramid: per level ``[image, channel, row, column]``.
        targets: the objects.
        priors: their grid is where the cells of the maps lie.
        size: bins along each side.

    Returns:
        float32, or float64 of float64 maps: ``[object, level · channel, size, size]``, the finest level's first.
    """
    grid, boxes = priors.grid, targets.boxes
    share = (torch.arange(size, device=boxes.device, dtype=boxes.dtype) + 0.5) / size
    places = boxes[:, None, :2] + share[:, None] * (boxes[:, None, 2:] - boxes[:, None, :2])  # [object, bin, xy]
    last = (own_cells(priors, targets.image) - 1).clamp(min=0).expand(len(boxes), -1, -1)  # [object, level, xy]
    image = targets.image[:, None, None]
    found = []
    for level, maps in enumerate(pyramid):
        rows = maps.permute(0, 2, 3, 1)
        limit = last[:, level, None]
        cell = ((places - grid.first[level]) / grid.step[level]).clamp(min=0).minimum(limit.to(places.dtype))
        low = cell.long()
        high = torch.minimum(low + 1, limit)
        part = cell - low
        values = 0
        for x, along in ((low[..., 0], 1 - part[..., 0]), (high[..., 0], part[..., 0])):
            for y, down in ((low[..., 1], 1 - part[..., 1]), (high[..., 1], part[..., 1])):
                corner = rows[image, y[:, :, None], x[:, None]].to(boxes.dtype)  # [object, row, column, channel]
                values = values + corner * (down[:, :, None] * along[:, None])[..., None]
        found.append(values)
    return torch.cat(found, dim=-1).permute(0, 3, 1, 2)
