"""What a strategy assigns on one picture, as squares that can be drawn: read off its record, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from assignbench.core import Assignment
from assignbench.figures.taught import Taught
from assignbench.run.training.statistics import tally

LEAST = 0.02  # of an object's largest weight: what is less is not drawn

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of the grid, in pixels of the original picture."""

    places: Floats  # [cell, 2] x, y of the centre
    levels: Ints  # [cell] 0 = P3
    sides: Floats  # [cell, 2] width and height


@dataclass(frozen=True, eq=False)
class Assigned:
    """What one strategy makes of the picture; of several anchors in a cell the largest weight counts."""

    positive: Cells  # an entry for each object that a cell teaches
    objects: Ints  # [cell] of the positive ones
    strengths: Floats  # [cell] 0 … 1, the weight as a fraction of the object's largest; 0: the box alone is taught
    ranks: Ints  # [cell] 0 = the first of the objects that this cell teaches, by strength
    sharing: Ints  # [cell] how many objects it teaches
    ignored: Cells  # taught neither an object nor background, and no anchor of it is positive
    positives: Floats  # [level] as the statistics of a run count them: of soft weights the effective number
    ignored_locations: int
    untaught: tuple[int, ...]  # objects that no location teaches
    faint: int  # entries that are left out, since their weight is less than `LEAST`


def assigned(taught: Taught) -> Assigned:
    """Read off the record."""
    record, priors, grid = taught.assignment, taught.priors, taught.grid
    pairs, count = record.pairs, len(taught.targets)
    owner, location = pairs.object.numpy(), pairs.location.numpy()
    weight = pairs.weight.detach().double().numpy()
    taught_at = (weight > 0) | (pairs.box_weight.detach().numpy() > 0)
    owner, location, weight = owner[taught_at], location[taught_at], weight[taught_at]
    most = np.zeros(count)
    np.maximum.at(most, owner, weight)
    strength = weight / np.maximum(most[owner], 1e-300)

    cell = location // grid.anchors  # every level starts with a whole cell
    order = np.lexsort((-strength, owner, cell))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(cell[order]) != 0) | (np.diff(owner[order]) != 0)
    order = order[first]
    bold = (strength[order] >= LEAST) | (strength[order] == 0)
    faint, order = int((~bold).sum()), order[bold]
    order = order[np.lexsort((owner[order], -strength[order], cell[order]))]
    _, start, sharing = np.unique(cell[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(start, sharing)

    where = ignored_at(record, taught)
    at = np.flatnonzero(where)
    lonely = np.setdiff1d(at // grid.anchors, location // grid.anchors)
    numbers = tally(record, priors, taught.targets).positives.sum(0).numpy()
    return Assigned(
        positive=cells_at(taught, location[order] // grid.anchors),
        objects=owner[order],
        strengths=strength[order],
        ranks=rank,
        sharing=np.repeat(sharing, sharing),
        ignored=cells_at(taught, lonely),
        positives=numbers[: len(grid.rows)],
        ignored_locations=len(at),
        untaught=tuple(np.flatnonzero(most == 0).tolist()),
        faint=faint,
    )


def ignored_at(record: Assignment, taught: Taught) -> NDArray[np.bool_]:
    """Which locations of the picture are ignored, those beyond its borders left out: ``[location]``."""
    if record.ignored is None:
        return np.zeros(len(taught.priors), dtype=np.bool_)
    ignored = record.ignored[0]
    inside = taught.priors.inside
    return (ignored if inside is None else ignored & inside[0]).numpy()


def cells_at(taught: Taught, cells: NDArray[np.int64]) -> Cells:
    """Where cells are, each counted by its first location over the anchors."""
    grid = taught.grid
    location = torch.from_numpy(cells) * grid.anchors
    level = taught.priors.level[location]
    scale = np.array(taught.scale)
    return Cells(
        taught.priors.points[location].double().numpy().reshape(-1, 2) / scale,
        level.numpy(),
        grid.step[level].double().numpy().reshape(-1, 2) / scale,
    )


def levels_in_use(found: Sequence[Assigned]) -> list[int]:
    """Levels on which some strategy has a positive or ignored cell; the first if there is none."""
    used = {int(level) for each in found for cells in (each.positive, each.ignored) for level in cells.levels}
    return sorted(used) or [0]
