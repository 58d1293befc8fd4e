"""A training crop around an object, drawn from (seed, epoch, image) alone, and what it does to boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Crop = tuple[int, int, int, int]  # x0 y0 x1 y1 in original pixels


def draw_crop(
    width: int, height: int, boxes: NDArray[np.float64], *, least: float, key: tuple[int, ...]
) -> Crop | None:
    """Draw a crop that holds one object whole.

    Width and height are drawn apart, each from ``least`` to all of the picture's; where the object is larger, it
    decides. Of all places that hold the object, each is equally likely.

    Args:
        width: of the picture, in pixels.
        height: as above.
        boxes: ``[object, 4]`` objects to choose from, each equally likely; inside the picture.
        least: smallest side, as a fraction of the picture's; 1 never crops.
        key: numbers ≥ 0, among them seed, epoch and image index; equal keys give equal crops.

    Returns:
        None where the whole picture is kept: there is no object, or the crop is all of it.
    """
    if least >= 1 or not len(boxes):
        return None
    random = np.random.default_rng(key)
    chosen = boxes[random.integers(len(boxes))].tolist()
    fractions, places = random.random(2).tolist(), random.random(2).tolist()
    spans = []
    for axis, side in enumerate((width, height)):
        first, last = int(np.floor(chosen[axis])), int(np.ceil(chosen[axis + 2]))
        length = min(side, max(last - first, round(side * (least + (1 - least) * fractions[axis])), 1))
        lowest, highest = max(0, last - length), min(first, side - length)
        start = min(highest, lowest + int(places[axis] * (highest - lowest + 1)))
        spans.append((start, start + length))
    (x0, x1), (y0, y1) = spans
    return None if (x0, y0, x1, y1) == (0, 0, width, height) else (x0, y0, x1, y1)


def in_crop(
    boxes: NDArray[np.float64], crop: Crop | NDArray[np.int64], crowd: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """``[object]`` which boxes ``[object, 4]`` belong to a crop: those that have their centre in it.

    ``crop``: of all, or ``[object, 4]`` of each. Of ``crowd`` regions, ``[object]``, any that reach into it belong to
    it: what is seen of them must not be taught as background.
    """
    x0, y0, x1, y1 = np.asarray(crop).T
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    left = crop_boxes(boxes, crop)
    some = (left[:, 2] > left[:, 0]) & (left[:, 3] > left[:, 1])
    central = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return some & (central if crowd is None else central | crowd)


def crop_boxes(boxes: NDArray[np.float64], crop: Crop | NDArray[np.int64]) -> NDArray[np.float64]:
    """Boxes ``[object, 4]`` clipped to a crop, of all or ``[object, 4]`` of each, in its pixels."""
    corner, limit = (np.asarray(crop)[..., columns] for columns in ([0, 1, 0, 1], [2, 3, 2, 3]))
    return np.clip(boxes - corner, 0, limit - corner)
