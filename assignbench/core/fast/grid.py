"""Locations by place, counted off on the grid: which lie in a box, which weigh something there, which are nearest.

What lies in a box is a rectangle of cells on every level, and what is near a point a square of them: both are found at
a cost that grows with what is found. Cells in the batch's padding are left out everywhere. Work is done in the host's
memory, where a copy of objects and grid lies, so that a GPU is not waited for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.fast.rows import object_chunks, smallest_columns
from assignbench.core.geometry import centers, take
from assignbench.core.tensors import beside, require_count
from assignbench.core.types import Grid, Priors, Targets

BORDER = 1e-3  # cells; more than rounding moves a corner
WEIGHTLESS = -40 * math.log(2)  # log of a share: a million pairs below it together change no digit of a float
LARGEST = 1e9  # cells; what any number beyond is cut to before it becomes an integer


@dataclass(frozen=True)
class Rectangles:
    """For every box and level a rectangle of cells, its last column and row included; empty where last < first."""

    first: Tensor  # [box, level, 2] int64 column, row
    last: Tensor  # [box, level, 2]

    @property
    def empty(self) -> Tensor:
        """Which rectangles hold no cell: bool ``[box, level]``."""
        return (self.last < self.first).any(-1)

    def nearest_to(self, points: Tensor, grid: Grid) -> Tensor:
        """Of each rectangle that is not empty the cell nearest to a point: ``[box, level, 2] → [box, level, 2]``."""
        cell = ((points - grid.first) / grid.step).round().clamp(-1, LARGEST).long()
        return torch.minimum(torch.maximum(cell, self.first), self.last)

    def within(self, low: Tensor, high: Tensor, grid: Grid) -> Rectangles:
        """The part whose centres lie between two corners, ``[box, level, 2]`` in pixels, those on the border too."""
        first = ((low - grid.first) / grid.step - BORDER).ceil().clamp(-1, LARGEST).long()
        last = ((high - grid.first) / grid.step + BORDER).floor().clamp(-1, LARGEST).long()
        return Rectangles(torch.maximum(self.first, first), torch.minimum(self.last, last))


def covered_cells(boxes: Tensor, priors: Priors, margin: float = 0.0, image: Tensor | None = None) -> Rectangles:
    """The cells whose location lies in boxes, more than ``margin`` pixels from each side.

    Args:
        boxes: ``[box, level, 4]``, or ``[box, 1, 4]`` where they are the same on all levels.
        priors: the locations.
        margin: pixels.
        image: of each box, whose padding is left out: ``[box]``; None: nothing is.
    """
    grid = priors.grid
    size = own_cells(priors, image)
    first = ((boxes[..., :2] + margin - grid.first) / grid.step).floor().long().clamp(min=0)
    last = torch.minimum(((boxes[..., 2:] - margin - grid.first) / grid.step).ceil().long(), size - 1)
    for _ in range(2):  # at most two cells too wide on each side
        first = first + (cell_points(first, priors) - boxes[..., :2] <= margin).long()
        last = last - (boxes[..., 2:] - cell_points(last, priors) <= margin).long()
    return Rectangles(first, last)


def tiles(priors: Priors, side: int) -> Tensor:
    """Locations in squares of cells, anchor by anchor, beside the priors; −1 beyond a map: ``[tile, place]``."""
    grid = priors.on_host().grid
    found = [torch.zeros(0, side * side, dtype=torch.int64)]
    for start, rows, columns in zip(grid.start.tolist(), grid.rows.tolist(), grid.columns.tolist(), strict=True):
        locations = start + torch.arange(rows * columns * grid.anchors).view(rows, columns, grid.anchors)
        padded = F.pad(locations, (0, 0, 0, -columns % side, 0, -rows % side), value=-1)
        cut = padded.view(-(-rows // side), side, -(-columns // side), side, grid.anchors)
        found.append(cut.permute(4, 0, 2, 1, 3).reshape(-1, side * side))
    return beside(torch.cat(found), priors.boxes)


def own_cells(priors: Priors, image: Tensor | None) -> Tensor:
    """Columns and rows of each level outside the padding: int64 ``[box, level, 2]``, ``[1, level, 2]`` without any."""
    grid = priors.grid
    size = torch.stack((grid.columns, grid.rows), dim=-1)
    if priors.extent is None or image is None:
        return size[None]
    inside = ((priors.extent[:, None] - grid.first) / grid.step).ceil().long().clamp(min=0)
    return torch.minimum(inside, size)[image]


def cell_points(cell: Tensor, priors: Priors) -> Tensor:
    """X of columns and y of rows as the priors have them, to the last bit: ``[box, level, 2] → [box, level, 2]``."""
    grid = priors.grid
    inner = torch.minimum(cell.clamp(min=0), torch.stack((grid.columns, grid.rows), dim=-1) - 1)
    last = len(priors) - 1  # a level that the head does not speak on has no location: any other stands for it
    x = priors.points[(grid.start + inner[..., 0] * grid.anchors).clamp(0, last), 0]
    y = priors.points[(grid.start + inner[..., 1] * grid.columns * grid.anchors).clamp(0, last), 1]
    return torch.stack((x, y), dim=-1)


def rectangle_pairs(cells: Rectangles, grid: Grid) -> tuple[Tensor, Tensor]:
    """Boxes and the locations of all cells of their rectangles, ordered by box, then location: ``[pair]`` each."""
    device = cells.first.device
    width, height = (cells.last - cells.first + 1).clamp(min=0).unbind(-1)
    height = height * (width > 0)

    # first the rows of all rectangles, then the locations of all rows
    owner = torch.repeat_interleave(height.flatten())  # [row] → box · level
    level = owner % len(grid.start)
    row = torch.arange(len(owner), device=device) - (height.flatten().cumsum(0) - height.flatten())[owner]
    row = row + cells.first[..., 1].flatten()[owner]
    start = grid.start[level] + (row * grid.columns[level] + cells.first[..., 0].flatten()[owner]) * grid.anchors
    length = width.flatten()[owner] * grid.anchors
    line = torch.repeat_interleave(length)  # [pair] → row
    shift = start - (length.cumsum(0) - length)
    locations = torch.arange(len(line), device=device) + shift.index_select(0, line)
    return (owner // len(grid.start)).index_select(0, line), locations


def inside_pairs(
    targets: Targets,
    priors: Priors,
    margin: float = 0.0,
    radius: float | None = None,
    *,
    at_least_one: bool = False,
) -> tuple[Tensor, Tensor]:
    """All pairs whose location lies strictly inside the object's box, by more than ``margin`` pixels.

    Ordered by object, then location: objects and locations, ``[pair]`` each. Locations in the padding are left out.

    Args:
        targets: the objects.
        priors: the locations.
        margin: pixels.
        radius: in strides; the location's x and y are then also less than that away from the box's centre.
        at_least_one: whether an object without any gets the nearest location; see `and_nearest`.
    """
    host, layout = targets.on_host(), priors.on_host()
    boxes = host.boxes[:, None]
    cells = covered_cells(boxes, layout, margin, host.image)
    if radius is not None:
        reach = radius * layout.stride[layout.grid.start, None]  # [level, 1]
        middle = centers(host.boxes)[:, None]
        cells = cells.within(middle - reach, middle + reach, layout.grid)
    objects, locations = rectangle_pairs(cells, layout.grid)
    if radius is not None:  # `within` takes the border, too
        away = (take(layout.points, locations) - take(centers(host.boxes), objects)).abs().amax(-1)
        near = away < radius * layout.stride[locations]
        objects, locations = objects[near], locations[near]
    if at_least_one:
        objects, locations = and_nearest(objects, locations, host, layout)
    return beside(objects, targets.boxes), beside(locations, targets.boxes)


def around_pairs(targets: Targets, priors: Priors, *, scale: float = 1.0, reach: float = 0.0) -> tuple[Tensor, Tensor]:
    """All pairs whose location lies in the object's box as it is after it was shrunk, then widened.

    Ordered by object, then location: objects and locations, ``[pair]`` each. Locations in the padding are left out.

    Args:
        targets: the objects.
        priors: the locations.
        scale: by which the box is shrunk about its centre; 0 leaves the centre alone.
        reach: by which each side is moved outwards then, in strides of the location's level.
    """
    host, layout = targets.on_host(), priors.on_host()
    middle = centers(host.boxes)[:, None]
    half = (host.boxes[:, None, 2:] - middle) * scale + reach * layout.stride[layout.grid.start, None]
    cells = covered_cells(torch.cat((middle - half, middle + half), dim=-1), layout, 0.0, host.image)
    objects, locations = rectangle_pairs(cells, layout.grid)
    return beside(objects, targets.boxes), beside(locations, targets.boxes)


def shrunk_pairs(targets: Targets, priors: Priors, scale: float) -> tuple[Tensor, Tensor]:
    """All pairs whose location lies in the object's box, shrunk about its centre, or on its border.

    Each end is moved into the map: a shrunk box between the image's side and the outermost locations has the nearest
    of these. Ordered by object, then location: ``[pair]`` each. Locations in the padding are left out.

    Args:
        targets: the objects.
        priors: the locations.
        scale: by which the box is shrunk.
    """
    host, layout = targets.on_host(), priors.on_host()
    grid, size = layout.grid, own_cells(layout, host.image)
    middle = centers(host.boxes)[:, None]
    reach = (host.boxes[:, None, 2:] - host.boxes[:, None, :2]) / 2 * scale
    first = ((middle - reach - grid.first) / grid.step).ceil().long().clamp(min=0)
    last = ((middle + reach - grid.first) / grid.step).floor().long().clamp(min=0)
    cells = Rectangles(torch.minimum(first, (size - 1).clamp(min=0)), torch.minimum(last, size - 1))
    objects, locations = rectangle_pairs(cells, grid)
    return beside(objects, targets.boxes), beside(locations, targets.boxes)


def region_pairs(targets: Targets, priors: Priors, share: float, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs whose cell lies in the object's box, shrunk about its centre, ends rounded to cells.

    Halves are rounded to even cells, both ends belong to the box; what rounding leads out of the map is left out, as
    is the padding. Ordered by object, then location: objects and locations, ``[pair]`` each.

    Args:
        targets: the objects.
        priors: the locations.
        share: of the box's width and height that is left.
        levels: which levels to look at, bool ``[object, level]``.
    """
    host, layout = targets.on_host(), priors.on_host()
    grid, inset = layout.grid, (1 - share) / 2
    cells = (host.boxes.view(-1, 1, 2, 2) - grid.first[:, None]) / grid.step[:, None]
    low, high = cells.unbind(2)  # [object, level, 2] each
    first = ((1 - inset) * low + inset * high).round().long().clamp(min=0)
    last = torch.minimum((inset * low + (1 - inset) * high).round().long(), own_cells(layout, host.image) - 1)
    last = last.where(levels.cpu()[..., None], -1)
    objects, locations = rectangle_pairs(Rectangles(first, last), grid)
    return beside(objects, targets.boxes), beside(locations, targets.boxes)


def and_nearest(
    objects: Tensor, locations: Tensor, targets: Targets, priors: Priors, level: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Pairs, and for each object without any the location of one level that is nearest to its centre.

    Ordered by object, then location: ``[pair]`` each. Equal distances: the lower column and row. No location lies in
    the padding. A GPU is waited for once, if the pairs lie there.

    Args:
        objects: ordered: ``[pair]``.
        locations: ``[pair]``.
        targets: the objects.
        priors: the locations.
        level: where each object looks, int64 ``[object]``; a finer one where the image has no location on that level.
            None: the finest.
    """
    without = torch.ones(len(targets), dtype=torch.bool).index_fill(0, objects.cpu(), False).nonzero()[:, 0]
    nearest = nearest_locations(targets.on_host(), priors.on_host(), level)[without]
    joined = torch.cat((objects, beside(without, objects)))
    order = joined.argsort(stable=True)
    return joined[order], torch.cat((locations, beside(nearest, locations)))[order]


def or_nearest(chosen: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Tensor:
    """As `and_nearest`, for a choice among pairs: of an object without any, the pair at the location nearest to it.

    Args:
        chosen: bool ``[pair]``.
        objects: of all pairs: ``[pair]``.
        locations: ``[pair]``.
        targets: the objects.
        priors: the locations.

    Returns:
        bool ``[pair]``; an object whose nearest location is in none of its pairs is left without any.
    """
    counts = torch.zeros(len(targets), dtype=torch.int64, device=chosen.device).index_add(0, objects, chosen.long())
    nearest = beside(nearest_locations(targets.on_host(), priors.on_host()), locations)
    return chosen | ((counts == 0)[objects] & (locations == nearest[objects]))


def nearest_locations(host: Targets, layout: Priors, level: Tensor | None = None) -> Tensor:
    """The location of one level that is nearest to each object's centre, in the host's memory; see `and_nearest`."""
    grid, every = layout.grid, torch.arange(len(host))
    size = own_cells(layout, host.image).expand(len(host), -1, -1)  # [object, level, 2]
    coarsest = ((size > 0).all(-1).sum(1) - 1).clamp(min=0)
    own = torch.zeros_like(every) if level is None else torch.minimum(level.cpu(), coarsest)
    cell = (centers(host.boxes) - grid.first[own]) / grid.step[own]
    cell = torch.minimum((cell - 0.5).ceil().clamp(0, LARGEST).long(), size[every, own] - 1)
    return grid.start[own] + (cell[:, 1] * grid.columns[own] + cell[:, 0]) * grid.anchors


@torch.no_grad()
def central_pairs(
    targets: Targets,
    priors: Priors,
    mu: Tensor,
    sigma: Tensor,
    *,
    gain: float = 0.0,
    least: float = WEIGHTLESS,
    at_least_one: bool = False,
) -> tuple[Tensor, Tensor]:
    """As `inside_pairs`, without pairs that a Gaussian around the box's centre makes weightless.

    The Gaussian is G = Π_xy exp(−(d − μ)² / 2σ²) of the location's offset d from the centre, in strides. In a large box
    most of what lies on fine levels is weightless: all that is left out of an object changes no digit of a sum of its
    G · C. A GPU is waited for once: for μ and σ.

    Args:
        targets: the objects.
        priors: the locations.
        mu: of each object, in strides: ``[object, 2]``.
        sigma: likewise, positive; infinite: G = 1, nothing is left out.
        gain: log of the largest ratio of two C, what G is multiplied by.
        least: log of the share of the largest G · C of an object below which a pair is weightless.
        at_least_one: whether an object without any location in its box gets the nearest one; see `and_nearest`.
    """
    least = least - gain
    host, layout = targets.on_host(), priors.on_host()
    grid = layout.grid
    mu, sigma = torch.stack((mu, sigma)).cpu()[:, :, None]
    stride = layout.stride[grid.start, None]  # [level, 1]
    middle = centers(host.boxes)[:, None] + mu * stride  # [object, level, 2]: there G = 1
    cells = covered_cells(host.boxes[:, None], layout, 0.0, host.image)

    # ((d − μ) / σ)² where it is least: nowhere in the box is G larger
    nearest = cell_points(cells.nearest_to(middle, grid), layout)
    off = ((nearest - middle) / (sigma * stride)).square().sum(-1)
    smallest = off.masked_fill(cells.empty, float("inf")).amin(1)[:, None, None]
    reach = sigma * stride * (smallest - 2 * least).sqrt()
    # what is not a number leaves nothing out, so that it is seen in the losses
    low, high = (middle - reach).nan_to_num(nan=-LARGEST), (middle + reach).nan_to_num(nan=LARGEST)
    objects, locations = rectangle_pairs(cells.within(low, high, grid), grid)
    if at_least_one:
        objects, locations = and_nearest(objects, locations, host, layout)
    return beside(objects, targets.boxes), beside(locations, targets.boxes)


def cells_around(points: Tensor, priors: Priors, reach: int, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """On every level the square of cells up to ``reach`` rows and columns from the one that each point is in.

    Args:
        points: x, y in pixels, ``[point, 2]``; one that lies outside counts as in the nearest cell.
        priors: the locations.
        reach: cells; the square is 2 · reach + 1 of them wide.
        image: of each point, whose padding is left out: ``[point]``; None: nothing is.

    Returns:
        The first location of each cell, and whether the level has such a cell: ``[point, level, cell]`` each, row
        by row. Where it has none, the location is 0.
    """
    grid = priors.grid
    size = own_cells(priors, image)
    middle = ((points[:, None] - grid.first) / grid.step).round().nan_to_num(0).clamp(-LARGEST, LARGEST).long()
    middle = torch.minimum(middle.clamp(min=0), (size - 1).clamp(min=0))
    offset = torch.arange(-reach, reach + 1, device=points.device)
    x, y = (middle[..., None] + offset).unbind(-2)  # [point, level, offset]
    fits_x, fits_y = (x >= 0) & (x < size[..., :1]), (y >= 0) & (y < size[..., 1:])
    cell = (y[..., :, None] * grid.columns[:, None, None] + x[..., None, :]).flatten(-2)  # [point, level, cell]
    fits = (fits_y[..., :, None] & fits_x[..., None, :]).flatten(-2)
    return (grid.start[:, None] + cell * grid.anchors).where(fits, 0), fits


def nearest_pairs(
    targets: Targets, priors: Priors, k: int, ties: Literal["first", "topk"] = "first"
) -> tuple[Tensor, Tensor]:
    """On every level the locations of the k cells nearest to each box's centre; those in the padding are left out.

    Ordered by object, then location: ``[pair]`` each. Levels of fewer cells give all.

    Args:
        targets: the objects.
        priors: the locations.
        k: cells on each level.
        ties: which of equal distances: the lower cell first, or those that `torch.topk` finds among all of a level.
    """
    require_count("k", k)
    host, layout = targets.on_host(), priors.on_host()
    points, grid = centers(host.boxes), layout.grid
    if ties == "topk":
        objects, locations = nearest_by_topk(points, host.image, layout, k)
    else:
        size = own_cells(layout, host.image)
        cell = (points[:, None] - grid.first) / grid.step
        far = ((cell < -1) | (cell > size)) & (size > 0).all(-1, keepdim=True)  # no object's centre is
        each = {(rows, columns) for columns, rows in size.flatten(0, 1).tolist()}
        reach = k if bool(far.any()) else max((reach_of_nearest(k, *one) for one in each), default=0)
        location, fits = cells_around(points, layout, reach, host.image)
        place = take(layout.points, location.flatten()).view(*location.shape, 2)
        distance = (place - points[:, None, None]).square().sum(-1).sqrt().masked_fill(~fits, float("inf"))
        nearest = smallest_columns(distance.flatten(0, 1), k)
        chosen = nearest.view(*distance.shape[:2], nearest.shape[1])
        objects, level, rank = fits.gather(-1, chosen).nonzero(as_tuple=True)
        first = location[objects, level, chosen[objects, level, rank]]
        locations = (first[:, None] + torch.arange(grid.anchors)).flatten()
        objects = objects.repeat_interleave(grid.anchors)
    return beside(objects, targets.boxes), beside(locations, targets.boxes)


def nearest_by_topk(points: Tensor, image: Tensor, priors: Priors, k: int) -> tuple[Tensor, Tensor]:
    """`nearest_pairs` as `torch.topk` answers over all of a level's locations that are not in the padding."""
    inside = priors.inside
    found = [torch.zeros(2, 0, dtype=torch.int64)]
    for one in image.unique().tolist() if inside is not None else [None]:
        objects = torch.arange(len(image)) if one is None else (image == one).nonzero()[:, 0]
        valid = torch.ones(len(priors), dtype=torch.bool) if inside is None or one is None else inside[one]
        for chunk in object_chunks(len(objects), len(priors)):
            chosen = torch.zeros(len(objects[chunk]), len(priors), dtype=torch.bool)
            for level in range(len(priors.grid.start)):
                places = (valid & (priors.level == level)).nonzero()[:, 0]
                distance = (priors.points[places] - points[objects[chunk], None]).square().sum(-1).sqrt()
                count = min(k * priors.grid.anchors, len(places))
                chosen.scatter_(1, places[distance.topk(count, largest=False).indices], value=True)
            row, location = chosen.nonzero(as_tuple=True)
            found.append(torch.stack((objects[chunk][row], location)))
    objects, locations = torch.cat(found, dim=1)
    order = objects.argsort(stable=True)
    return objects[order], locations[order]


@lru_cache
def reach_of_nearest(k: int, rows: int, columns: int) -> int:
    """How many rows or columns off the cell that a point is in its k nearest cells lie at most.

    Worst is a corner. There the cell (i, j) counted from the point's own lies at most √((i + δ)² + (j + ½)²) cells
    away, δ ≤ 1 for a point outside, and a cell r + 1 rows or columns off at least √(δ² + (r + ½)²).
    """
    for reach in range(max(rows, columns) - 1):
        nearer = [
            (i, j)
            for i in range(reach + 1)
            for j in range(reach + 1)
            if (i + 1) ** 2 - 1 + (j + 0.5) ** 2 < (reach + 0.5) ** 2
        ]
        least = min(sum(i < rows and j < columns for i, j in nearer), sum(j < rows and i < columns for i, j in nearer))
        if least >= k:
            return reach
    return max(rows, columns, 1) - 1
