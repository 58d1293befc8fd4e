"""The pyramid's priors for an image size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from assignbench.core.head import Head
from assignbench.core.types import Grid, Priors

STRIDES = (8, 16, 32, 64, 128)  # P3 … P7


def map_sizes(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Rows and columns of P3 … P7 for a padded image: each halves the one before, rounding up."""
    sizes = [((height + 7) // 8, (width + 7) // 8)]  # of whole numbers from 0: ONNX divides others towards 0
    for _ in STRIDES[1:]:
        rows, columns = sizes[-1]
        sizes.append(((rows + 1) // 2, (columns + 1) // 2))
    return tuple(sizes)


def pyramid_priors(
    head: Head,
    height: int,
    width: int,
    device: torch.device | str = "cpu",
    maps: Sequence[tuple[int, int]] | None = None,
    strides: Sequence[int] = STRIDES,
) -> Priors:
    """Priors in pixels of the padded image, in the order level, row, column, anchor.

    Anchors come by ratio, then octave, unless ``head.outer`` says otherwise. Spacing is the nominal stride, never image
    size over map size, unless ``head.spacing`` asks for that. ``maps``: rows and columns of the levels, where they are
    not those of `map_sizes`. ``strides``: of the levels, in pixels. Levels that the head does not speak on have no
    cells.
    """
    maps = [size if level in head.levels else (0, 0) for level, size in enumerate(maps or map_sizes(height, width))]
    boxes, points, spacings, levels, steps = [], [], [], [], []
    for level, (stride, (rows, columns)) in enumerate(zip(strides, maps, strict=True)):
        step = (width // columns, height // rows) if head.spacing == "image" and rows else (stride, stride)
        half = half_extents(head, stride)
        x = (torch.arange(columns) + head.offset) * step[0]
        y = (torch.arange(rows) + head.offset) * step[1]
        center = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[:, :, None]  # row, column, 1, xy
        boxes.append(torch.cat((center - half, center + half), dim=-1).reshape(-1, 4))
        points.append(center.expand(-1, -1, head.priors_per_cell, -1).reshape(-1, 2))
        spacings.append(torch.full(boxes[-1].shape[:1], float(stride)))
        levels.append(torch.full(boxes[-1].shape[:1], level))
        steps.append(step)
    sizes = torch.tensor(maps)
    lengths = torch.tensor([part.shape[0] for part in boxes])
    step = torch.tensor(steps, dtype=torch.float32)
    grid = Grid(lengths.cumsum(0) - lengths, sizes[:, 0], sizes[:, 1], head.offset * step, step, head.priors_per_cell)
    joined = (torch.cat(parts) for parts in (boxes, points, spacings, levels))
    priors = Priors(*joined, grid=grid)
    return priors if torch.device(device).type == "cpu" else priors.to(device)


def half_extents(head: Head, stride: int) -> Tensor:
    """Half width and height of a cell's priors in pixels: ``[anchor, 2]``, in the order that the head says."""
    shapes = [(ratio, octave) for ratio in head.ratios for octave in head.octaves]
    if head.outer == "octave":
        shapes = [(ratio, octave) for octave in head.octaves for ratio in head.ratios]
    halves = []
    for ratio, octave in shapes:
        side = head.size * stride * 2**octave
        side = int(side) if head.whole_pixels else side
        halves.append((side / ratio**0.5 / 2, side * ratio**0.5 / 2))
    extents = torch.tensor(halves)
    return extents.round() if head.whole_pixels else extents


def anchors_beside(priors: Priors, head: Head) -> Priors:
    """The priors that another head has in the same cells: its sizes, ratios and octaves."""
    cells = priors.grid.anchors
    center, stride = priors.points[::cells, None], priors.stride[::cells]
    half = half_extents(head, 1).to(center) * stride[:, None, None]
    count = head.priors_per_cell
    return Priors(
        boxes=torch.cat((center - half, center + half), dim=-1).reshape(-1, 4),
        points=center.expand(-1, count, -1).reshape(-1, 2),
        stride=stride.repeat_interleave(count),
        level=priors.level[::cells].repeat_interleave(count),
        grid=replace(priors.grid, start=priors.grid.start // cells * count, anchors=count),
        extent=priors.extent,
    )
