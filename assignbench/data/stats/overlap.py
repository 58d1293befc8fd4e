"""Objects that get in each other's way, and objects that no location sees; exact, by the locations of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from assignbench.core.fast.grid import covered_cells
from assignbench.core.head import Head
from assignbench.core.priors import pyramid_priors
from assignbench.core.types import Priors
from assignbench.data.stats.meeting import meeting_pairs

LEAST = 0.3  # IoU from which on, exclusive, two objects count as overlapping

_CHUNK = 1 << 18  # boxes at once


@dataclass(frozen=True, eq=False)
class Crowdedness:
    """Which objects overlap another one of their picture."""

    own_class: NDArray[np.bool_]  # [object] IoU > LEAST with one of its class
    any_class: NDArray[np.bool_]  # [object] IoU > LEAST with any
    location: NDArray[np.bool_]  # [object] some location lies strictly inside it and another one


def without_location(boxes: NDArray[np.float32], extent: tuple[int, int]) -> NDArray[np.bool_]:
    """``[object, level]`` whether no location of the level lies strictly inside the box.

    Args:
        boxes: ``[object, 4]`` network pixels, inside their pictures.
        extent: height and width that hold every picture.
    """
    return _empty(boxes, _priors(extent))


def crowdedness(
    boxes: NDArray[np.float32], image: NDArray[np.int64], labels: NDArray[np.int64], extent: tuple[int, int]
) -> Crowdedness:
    """Look at every two objects of a picture whose boxes meet, and at no others.

    Args:
        boxes: as above.
        image: ``[object]``.
        labels: ``[object]``.
        extent: as above.
    """
    priors = _priors(extent)
    own, every, location = (np.zeros(len(boxes), dtype=np.bool_) for _ in range(3))
    for one, other in meeting_pairs(boxes, image):
        low = np.maximum(boxes[one, :2], boxes[other, :2])
        high = np.minimum(boxes[one, 2:], boxes[other, 2:])
        meet = np.all(high > low, axis=1)
        one, other, low, high = one[meet], other[meet], low[meet], high[meet]
        common = (high - low).astype(np.float64).prod(axis=1)
        overlap = common / (_area(boxes[one]) + _area(boxes[other]) - common)
        close = overlap > LEAST
        same = close & (labels[one] == labels[other])
        shared = ~_empty(np.concatenate((low, high), axis=1), priors).all(axis=1)
        for marks, chosen in ((own, same), (every, close), (location, shared)):
            marks[one[chosen]] = marks[other[chosen]] = True
    return Crowdedness(own, every, location)


def _priors(extent: tuple[int, int]) -> Priors:
    """The controlled protocol's locations over an area that holds every picture; each picture has its corner of it."""
    height, width = (-(-side // 32) * 32 for side in extent)
    return pyramid_priors(Head(), height, width)


def _empty(boxes: NDArray[np.float32], priors: Priors) -> NDArray[np.bool_]:
    """``[object, level]``."""
    parts = [
        covered_cells(torch.from_numpy(boxes[start : start + _CHUNK])[:, None], priors).empty.numpy()
        for start in range(0, len(boxes), _CHUNK)
    ]
    return np.concatenate([np.zeros((0, 5), dtype=np.bool_), *parts])


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    return (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(axis=1)
