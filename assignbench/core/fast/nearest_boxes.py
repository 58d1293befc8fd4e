"""The boxes most like an object's: those of smallest |Δx| + |Δy| + |Δw| + |Δh|.

Boxes of neighbouring cells are alike, so an object looks into a tile of them only if one can be near enough:

    bound    Σ max(least − value, value − largest, 0)    with the least and largest value of the tile's boxes
    reach    the k-th smallest distance in the tiles of smallest bound; of all boxes it is not larger
    looks    into tiles with bound ≤ reach

The bound holds to the last bit: rounding keeps order, and the terms are added in the same order as a distance's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core.fast.grid import tiles
from assignbench.core.fast.rows import object_chunks, smallest_columns
from assignbench.core.geometry import centers, pick
from assignbench.core.tensors import free_to_wait, require_count
from assignbench.core.types import Priors, Targets

SIDE = 8  # cells of a tile along each axis


@dataclass(frozen=True)
class Tiles:
    """Boxes of a batch as centre x, y, width and height, tile by tile; infinite where there is no box that counts."""

    planes: Tensor  # [4, image · tile, place]
    least: Tensor  # [4, image, tile]
    largest: Tensor  # [4, image, tile]
    locations: Tensor  # [tile, place]

    def __len__(self) -> int:
        return len(self.locations)


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
    tiled, wanted = tiles_of(targets.images, boxes, priors), coordinates(targets.boxes)
    # a bound of every tile, or on a GPU a distance of every box, with four coordinates each
    width = 4 * (len(tiled) if free_to_wait(boxes.device) else tiled.locations.numel())
    found = [(targets.labels[:0],) * 3]
    for chunk in object_chunks(len(targets), width, boxes.device):
        image, value = targets.image[chunk], wanted[:, chunk]
        objects, tile = near_tiles(image, value, tiled, k)
        length = distance(tiled, image, tile, value, objects)
        columns = smallest_columns(length, k)  # the lower location first: they ascend in a tile, too
        length, locations = length.gather(1, columns).flatten(), tiled.locations[tile[:, None], columns].flatten()
        objects = objects.repeat_interleave(columns.shape[1])

        order = locations.argsort()
        order = order[length[order].argsort(stable=True)]
        order = order[objects[order].argsort(stable=True)]
        objects, locations, length = objects[order], locations[order], length[order]
        rank = torch.arange(len(order), device=order.device) - torch.searchsorted(objects, objects)
        kept = ((rank < k) & length.isfinite()).nonzero()[:, 0]
        found.append((objects[kept] + chunk.start, locations[kept], rank[kept]))
    objects, locations, rank = (torch.cat(parts) for parts in zip(*found, strict=True))
    return objects, locations, rank


def near_tiles(image: Tensor, wanted: Tensor, tiled: Tiles, k: int) -> tuple[Tensor, Tensor]:
    """Into which tiles of its image each object looks: objects and tiles, ``[pair]`` each, ordered by both.

    On a GPU it looks into all, since counting those that are near enough would make the host wait.

    Args:
        image: of each object, ``[object]``.
        wanted: coordinates of each object, ``[4, object]``.
        tiled: the boxes.
        k: how many boxes are wanted.
    """
    objects = torch.arange(len(image), device=image.device)
    count, size = tiled.locations.shape
    if not free_to_wait(image.device):
        return objects.repeat_interleave(count), torch.arange(count, device=image.device).repeat(len(image))
    value = wanted[..., None]
    below, above = tiled.least.index_select(1, image) - value, value - tiled.largest.index_select(1, image)
    bound = summed(torch.maximum(below, above).clamp_(min=0))  # [object, tile]
    seeds = min(count, -(-2 * k // size))  # half of their places may be empty
    tile = bound.topk(seeds, dim=1, largest=False, sorted=False).indices.flatten()
    length = distance(tiled, image, tile, wanted, objects.repeat_interleave(seeds)).view(len(image), seeds * size)
    reach = length.topk(min(k, seeds * size), dim=1, largest=False).values[:, -1:]
    objects, tile = (bound <= reach).nonzero(as_tuple=True)
    return objects, tile


def distance(tiled: Tiles, image: Tensor, tile: Tensor, wanted: Tensor, objects: Tensor) -> Tensor:
    """Of each box of a tile from an object's box: ``[pair, place]``, for objects and tiles ``[pair]`` each."""
    boxes = tiled.planes.index_select(1, pick(image, objects) * len(tiled) + tile)
    return summed(boxes.sub_(wanted.index_select(1, objects)[..., None]).abs_())


def summed(terms: Tensor) -> Tensor:
    """The sum over coordinates, always in their order, in place: ``[4, row, column] → [row, column]``."""
    x, y, w, h = terms
    return x.add_(y).add_(w).add_(h)


def tiles_of(images: int, boxes: Tensor, priors: Priors) -> Tiles:
    """The boxes of each image, cut into tiles: ``[location, 4]`` or ``[image, location, 4]``."""
    locations = tiles(priors, SIDE)
    planes = coordinates(boxes.expand(images, *boxes.shape[-2:]))
    counts = planes.isfinite().all(0)
    if priors.inside is not None:
        counts &= priors.inside
    planes = planes.masked_fill_(~counts, torch.inf)[..., locations].masked_fill_(locations < 0, torch.inf)
    largest = planes.masked_fill(planes.isinf(), -torch.inf).amax(-1)
    return Tiles(planes.flatten(1, 2), planes.amin(-1), largest, locations)


def coordinates(boxes: Tensor) -> Tensor:
    """Centre x, y, width and height, coordinate by coordinate, each contiguous: ``[..., 4] → [4, ...]``."""
    return torch.cat((centers(boxes), boxes[..., 2:] - boxes[..., :2]), dim=-1).movedim(-1, 0).contiguous()
