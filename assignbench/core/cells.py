"""Locations by place: which lie in a box, which are nearest to a point.

Fixed priors lie on a grid, so what lies in a box is a rectangle of cells on every level, and what is near a point a
square of them: both are counted off, at a cost that grows with what is found. Priors that may lie anywhere are
compared with every box.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from assignbench.core.geometry import sides, take
from assignbench.core.matching import matrix_pairs, smallest_columns
from assignbench.core.types import Grid, Priors, Targets

SLACK = 1e-2  # pixels; more than rounding moves the centres of one cell's anchors apart
BORDER = 1e-3  # cells; more than rounding moves a corner
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


def covered_cells(boxes: Tensor, priors: Priors, margin: float = 0.0) -> Rectangles:
    """The cells whose centre lies in boxes, more than ``margin`` pixels from each side.

    Exact where a cell has one location; of several, whose centres may differ by rounding, the first decides for all.
    The priors must lie on a grid. ``boxes``: ``[box, level, 4]``, or ``[box, 1, 4]`` where they are the same on all.
    """
    grid = grid_of(priors)
    size = torch.stack((grid.columns, grid.rows), dim=-1)  # [level, 2]
    first = ((boxes[..., :2] + margin - grid.first) / grid.step).floor().long().clamp(min=0)
    last = torch.minimum(((boxes[..., 2:] - margin - grid.first) / grid.step).ceil().long(), size - 1)
    for _ in range(2):  # at most two cells too wide on each side
        first = first + (cell_centers(first, priors, grid) - boxes[..., :2] <= margin).long()
        last = last - (boxes[..., 2:] - cell_centers(last, priors, grid) <= margin).long()
    return Rectangles(first, last)


def cell_centers(cell: Tensor, priors: Priors, grid: Grid) -> Tensor:
    """X of columns and y of rows as the priors have them, to the last bit: ``[box, level, 2] → [box, level, 2]``."""
    inner = torch.minimum(cell.clamp(min=0), torch.stack((grid.columns, grid.rows), dim=-1) - 1)
    x = priors.centers[grid.start + inner[..., 0] * grid.anchors, 0]
    y = priors.centers[grid.start + inner[..., 1] * grid.columns * grid.anchors, 1]
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
    targets: Targets, priors: Priors, margin: float = 0.0, within: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All pairs whose location lies strictly inside the object's box, by more than ``margin`` pixels.

    Ordered by object, then location. ``within``: further boxes, ``[object, level, 4]``, outside of which the caller
    needs no pair; some may come anyway.
    """

    def rows(chunk: slice) -> Tensor:
        distance = sides(targets.boxes[chunk, None], priors.centers_of(targets.image[chunk]))
        return distance.amin(-1) > margin

    if priors.grid is None:
        return matrix_pairs(rows, len(targets), len(priors))
    several = priors.grid.anchors > 1
    cells = covered_cells(targets.boxes[:, None], priors, margin - SLACK * several)
    if within is not None:
        cells = cells.within(within[..., :2], within[..., 2:], priors.grid)
    objects, locations = rectangle_pairs(cells, priors.grid)
    if not several:
        return objects, locations
    inside = sides(take(targets.boxes, objects), take(priors.centers, locations)).amin(-1) > margin
    return objects[inside], locations[inside]


def cells_around(points: Tensor, priors: Priors, reach: int) -> tuple[Tensor, Tensor]:
    """On every level the square of cells up to ``reach`` rows and columns from the one that each point is in.

    Args:
        points: x, y in pixels, ``[point, 2]``; one that lies outside counts as in the nearest cell.
        priors: on a grid.
        reach: cells; the square is 2 · reach + 1 of them wide.

    Returns:
        The first location of each cell, and whether the level has such a cell: ``[point, level, cell]`` each, row
        by row. Where it has none, the location is 0.
    """
    grid = grid_of(priors)
    size = torch.stack((grid.columns, grid.rows), dim=-1)  # [level, 2]
    middle = torch.minimum(((points[:, None] - grid.first) / grid.step).round().long().clamp(min=0), size - 1)
    offset = torch.arange(-reach, reach + 1, device=points.device)
    x, y = (middle[..., None] + offset).unbind(-2)  # [point, level, offset]
    fits_x, fits_y = (x >= 0) & (x < grid.columns[:, None]), (y >= 0) & (y < grid.rows[:, None])
    cell = (y[..., :, None] * grid.columns[:, None, None] + x[..., None, :]).flatten(-2)  # [point, level, cell]
    fits = (fits_y[..., :, None] & fits_x[..., None, :]).flatten(-2)
    return (grid.start[:, None] + cell * grid.anchors).where(fits, 0), fits


def nearest_locations(points: Tensor, priors: Priors, k: int) -> tuple[Tensor, Tensor]:
    """On every level the locations of the k cells nearest to each point: ``[point, 2] → [pair], [pair]``.

    Equal distances: the lower cell first. Levels of fewer cells give all. Ordered by point, then location. The
    priors must lie on a grid.
    """
    grid = grid_of(priors)
    size = torch.stack((grid.columns, grid.rows), dim=-1)
    cell = (points[:, None] - grid.first) / grid.step
    if bool(((cell < -1) | (cell > size)).any()):  # no object's centre does
        reach = k
    else:
        reach = max(reach_of_nearest(k, *each) for each in size.tolist())
    location, fits = cells_around(points, priors, reach)
    center = take(priors.centers, location.flatten()).view(*location.shape, 2)
    distance = (center - points[:, None, None]).square().sum(-1).sqrt().masked_fill(~fits, float("inf"))
    nearest = smallest_columns(distance.flatten(0, 1), k)
    chosen = nearest.view(*distance.shape[:2], nearest.shape[1])
    point, level, rank = fits.gather(-1, chosen).nonzero(as_tuple=True)
    first = location[point, level, chosen[point, level, rank]]
    every = first[:, None] + torch.arange(grid.anchors, device=points.device)
    return point.repeat_interleave(grid.anchors), every.flatten()


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
    return max(rows, columns) - 1


def grid_of(priors: Priors) -> Grid:
    """The grid that priors lie on.

    Raises:
        ValueError: they lie on none.
    """
    if priors.grid is None:
        raise ValueError("only priors on a grid can be counted off")
    return priors.grid
