"""Predicted boxes in blocks of neighbours: which of them overlap an object, found without a look at most of them.

Boxes predicted side by side lie side by side, so that an object looks at a block of them only if it meets the hull of
all. A block holds consecutive locations, or those of a square of cells: that hull is smaller. Boxes that do not count
are points at 0 in their block: no object overlaps them, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core.fast.grid import tiles
from assignbench.core.fast.rows import object_chunks
from assignbench.core.geometry import EPS, area, pick, take
from assignbench.core.tensors import free_to_wait
from assignbench.core.types import Predictions, Priors, Targets

BLOCK = 32  # predicted boxes that are looked at together
SIDE = 8  # cells of a square along each axis
ATONCE = BLOCK // 2  # of a chunk for each pair of object and block: fewer calls are worth more than the nearest cache


@dataclass(frozen=True)
class Blocks:
    """The predicted boxes of a batch. Blocks are counted over all images.

    Of consecutive locations, block b of an image starts at b · BLOCK.
    """

    planes: Tensor  # [4, image · block, place]
    sizes: Tensor  # [image · block, place] areas
    counted: Tensor  # bool [image · block, place]
    hull: Tensor  # [4, image, block] of those that count: left, top, right, bottom
    strange: Tensor  # bool [image, block], whether areas sum to no finite number: such a block meets every object

    @property
    def each(self) -> int:
        """Blocks of an image."""
        return self.hull.shape[-1]

    def overlap(self, targets: Targets, objects: Tensor, block: Tensor) -> Tensor:
        """IoU of each object with all boxes of a block of its image: ``[n], [n] → [n, place]``."""
        return self.overlap_in(targets, objects, pick(targets.image, objects) * self.each + block)

    def overlap_in(self, targets: Targets, objects: Tensor, row: Tensor) -> Tensor:
        """As `overlap`, for blocks counted over all images: ``[n], [n] → [n, place]``."""
        return iou_of_planes(
            targets.boxes.index_select(0, objects), self.planes.index_select(1, row), self.sizes.index_select(0, row)
        )

    def counted_at(self, targets: Targets, objects: Tensor, locations: Tensor) -> Tensor:
        """Whether the box at a location of the object's image counts: bool ``[pair]``."""
        return pick(self.counted.view(-1), pick(targets.image, objects) * (self.each * BLOCK) + locations)


def blocks_of(boxes: Tensor, counted: Tensor) -> Blocks:
    """Predicted boxes in blocks of consecutive ones.

    Args:
        boxes: ``[image, location, 4]``.
        counted: which of them count, bool ``[image, location]``.
    """
    images, length = counted.shape
    each = -(-length // BLOCK)
    known = counted.new_zeros(images, each * BLOCK)
    known[:, :length] = counted
    planes = boxes.new_zeros(4, images, each * BLOCK)
    planes[..., :length] = boxes.movedim(-1, 0).where(counted, 0)
    return hulled(planes.view(4, images, each, BLOCK), known.view(images, each, BLOCK))


def squares_of(boxes: Tensor, locations: Tensor) -> Blocks:
    """Predicted boxes in blocks that are squares of cells; all count.

    Args:
        boxes: ``[image, location, 4]``.
        locations: of each square, as `tiles` has them: ``[block, place]``.
    """
    images, length = boxes.shape[:2]
    known = (locations >= 0).expand(images, -1, -1)
    place = locations.clamp(min=0) + length * torch.arange(images, device=boxes.device)[:, None, None]
    planes = take(boxes, place.view(-1)).t().view(4, *known.shape)
    return hulled(planes.where(known, 0), known)


def hulled(planes: Tensor, known: Tensor) -> Blocks:
    """Boxes that lie in blocks already: ``[4, image, block, place]``, and which count: ``[image, block, place]``."""
    sizes = area(planes.movedim(0, -1))
    low = planes[:2].where(known, torch.inf).amin(-1)
    high = planes[2:].where(known, -torch.inf).amax(-1)
    return Blocks(
        planes=planes.flatten(1, 2),
        sizes=sizes.flatten(0, 1),
        counted=known.flatten(0, 1),
        hull=torch.cat((low, high)),
        strange=~sizes.sum(-1).isfinite(),
    )


def iou_of_planes(boxes: Tensor, planes: Tensor, sizes: Tensor) -> Tensor:
    """`iou` of each box with a block of boxes, to the last bit, in place: ``[n, 4], [4, n, m], [n, m] → [n, m]``."""
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    width = torch.minimum(x1, planes[2]).sub_(torch.maximum(x0, planes[0])).clamp_(min=0)
    height = torch.minimum(y1, planes[3]).sub_(torch.maximum(y0, planes[1])).clamp_(min=0)
    common = width.mul_(height)
    return common.div_((area(boxes)[:, None] + sizes).sub_(common).clamp_(min=EPS))


@torch.no_grad()
def best_overlap(predictions: Predictions, targets: Targets, priors: Priors) -> Tensor:
    """Largest IoU of each predicted box with any object of its image, of any class: ``[image, location]``.

    On a GPU each object looks at every block, since counting those it meets would make the host wait.
    """
    images, length = predictions.boxes.shape[:2]
    locations = tiles(priors, SIDE)
    blocks = squares_of(predictions.boxes, locations)
    if free_to_wait(predictions.boxes.device):
        objects, block = meeting(targets.boxes, targets.image, blocks).nonzero(as_tuple=True)
    else:
        objects = torch.arange(len(targets), device=targets.boxes.device).repeat_interleave(blocks.each)
        block = torch.arange(blocks.each, device=targets.boxes.device).repeat(len(targets))
    row = pick(targets.image, objects) * blocks.each + block
    best = torch.zeros_like(blocks.sizes)
    for some in object_chunks(len(row), SIDE * SIDE // 2, best.device):  # as `ATONCE`
        overlap = blocks.overlap_in(targets, objects[some], row[some])
        best.scatter_reduce_(0, row[some, None].expand_as(overlap), overlap, "amax")
    place = locations.where(locations >= 0, length).view(-1).expand(images, -1)  # beyond a map: behind the last
    return best.new_zeros(images, length + 1).scatter_(1, place, best.view(images, -1))[:, :length]


def best_in_blocks(targets: Targets, blocks: Blocks) -> Tensor:
    """The largest IoU of each object with a box of each block of its image: ``[object, block]``.

    Not a number where one of them is none. The host waits for the device.
    """
    best = targets.boxes.new_zeros(len(targets), blocks.each)
    for some in object_chunks(len(targets), blocks.each, best.device):
        entry = meeting(targets.boxes[some], targets.image[some], blocks).view(-1).nonzero()[:, 0]
        objects, block = entry // blocks.each + some.start, entry % blocks.each
        for part in object_chunks(len(entry), ATONCE, best.device):
            best[some].view(-1)[entry[part]] = blocks.overlap(targets, objects[part], block[part]).amax(-1)
    return best


def meeting(boxes: Tensor, image: Tensor, blocks: Blocks) -> Tensor:
    """Which objects meet the hull of which blocks of their image: ``[object, 4], [object] → bool [object, block]``."""
    left, top, right, bottom = blocks.hull.index_select(1, image)
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    met = (left < x1).logical_and_(right > x0).logical_and_(top < y1).logical_and_(bottom > y0)
    return met.logical_or_(blocks.strange.index_select(0, image))


def most_overlapping_boxes(targets: Targets, blocks: Blocks, best: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The largest IoU of each object with boxes that count, descending, and their locations: ``[object, most]`` each.

    Fewer where an image has fewer boxes. Where fewer than ``most`` overlap, some of the others are among them, with
    an IoU of 0, and so may be boxes that do not count.

    Args:
        targets: the objects.
        blocks: the boxes.
        best: what `best_in_blocks` says of them.
        most: how many.
    """
    block = best.topk(min(most, blocks.each), dim=1).indices  # the largest of all lie in those of the largest best
    objects = torch.arange(len(targets), device=best.device)[:, None].expand_as(block)
    overlap = blocks.overlap(targets, objects.flatten(), block.flatten()).view(len(targets), -1)
    values, column = overlap.topk(min(most, overlap.shape[1]), dim=1)
    return values, block.gather(1, column // BLOCK) * BLOCK + column % BLOCK
