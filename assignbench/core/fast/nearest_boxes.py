"""The boxes most like an object's: those of smallest |Δx| + |Δy| + |Δw| + |Δh|, a few objects at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from assignbench.core.fast.rows import object_chunks, smallest_columns
from assignbench.core.geometry import centers
from assignbench.core.tensors import require_count
from assignbench.core.types import Priors, Targets


@torch.no_grad()
def nearest_boxes(targets: Targets, boxes: Tensor, priors: Priors, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k locations whose boxes are nearest to each object's, in centre and size: objects, locations, ranks.

    Ordered by object, then rank, 0 the nearest: ``[pair]`` each. Equal distances: the lower location first. Locations
    in the padding and boxes that are not finite are left out; an image of fewer locations gives all.

    Args:
        targets: the objects.
        boxes: of the locations: priors or predictions, ``[location, 4]`` or ``[image, location, 4]``.
        priors: the locations.
        k: at least 1.
    """
    require_count("k", k)
    wanted = coordinates(targets.boxes)  # [4, object]
    planes = coordinates(boxes)  # [4, (image,) location]
    found = [targets.labels.new_zeros(3, 0)]
    # a matrix with the boxes of each object's own image: each entry takes five, one a coordinate and one of distance
    for chunk in object_chunks(len(targets), 5 * boxes.shape[-2], boxes.device):
        image = targets.image[chunk]
        distance = boxes.new_zeros(len(image), boxes.shape[-2])
        for plane, value in zip(planes, wanted, strict=True):
            own = plane if plane.ndim == 1 else plane.index_select(0, image)
            distance += (own - value[chunk, None]).abs()
        if priors.inside is not None:
            distance.masked_fill_(~priors.inside[image], torch.inf)
        columns = smallest_columns(distance, k)
        length, order = distance.gather(1, columns).sort(dim=1, stable=True)
        columns = columns.gather(1, order)
        objects = torch.arange(len(image), device=columns.device)[:, None].expand_as(columns) + (chunk.start or 0)
        rank = torch.arange(columns.shape[1], device=columns.device).expand_as(columns)
        kept = length.flatten().isfinite().nonzero()[:, 0]
        found.append(torch.stack((objects, columns, rank)).flatten(1).index_select(1, kept))
    objects, locations, rank = torch.cat(found, dim=1)
    return objects, locations, rank


def coordinates(boxes: Tensor) -> Tensor:
    """Centre x, y, width and height, coordinate by coordinate, each contiguous: ``[..., 4] → [4, ...]``."""
    return torch.cat((centers(boxes), boxes[..., 2:] - boxes[..., :2]), dim=-1).movedim(-1, 0).contiguous()
