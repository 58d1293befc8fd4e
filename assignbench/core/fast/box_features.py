"""What the pyramid says in each object's box: a square of bins of every level, side by side, all objects at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
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
    last = (own_cells(priors, targets.image) - 1).clamp(min=0).expand(len(boxes), -1, -1)[:, :, None]
    cell = ((places[:, None] - grid.first[:, None]) / grid.step[:, None]).clamp(min=0).minimum(last.to(places.dtype))
    low = cell.long()  # [object, level, bin, xy]
    part = cell - low
    corner = torch.stack((low, torch.minimum(low + 1, last)), dim=-1)  # [object, level, bin, xy, low or high]
    weight = torch.stack((1 - part, part), dim=-1)

    # All cells of all levels in one table, of which a bin is a weighted sum of four rows: one pass over what it reads.
    table = torch.cat([maps.flatten(2).transpose(1, 2) for maps in pyramid], dim=1).to(boxes.dtype)
    counts = torch.tensor([maps[0, 0].numel() for maps in pyramid])
    columns = torch.tensor([maps.shape[-1] for maps in pyramid])
    start, columns = (one.to(boxes.device)[:, None, None] for one in (counts.cumsum(0) - counts, columns))
    y = corner[..., 1, :] * columns + start + targets.image[:, None, None, None] * table.shape[1]
    rows = _every_corner(torch.add, y, corner[..., 0, :])
    shares = _every_corner(torch.mul, weight[..., 1, :], weight[..., 0, :])
    found = F.embedding_bag(rows, table.flatten(0, 1), per_sample_weights=shares, mode="sum")
    return found.view(len(boxes), size, size, len(pyramid) * table.shape[-1]).permute(0, 3, 1, 2)


def _every_corner(join: Callable[[Tensor, Tensor], Tensor], y: Tensor, x: Tensor) -> Tensor:
    """Rows and columns of bins, joined: ``[object, level, bin, 2]`` twice → ``[object · row · column · level, 4]``."""
    rows, columns = y.transpose(1, 2)[:, :, None, :, :, None], x.transpose(1, 2)[:, None, :, :, None, :]
    return join(rows, columns).reshape(-1, 4)
