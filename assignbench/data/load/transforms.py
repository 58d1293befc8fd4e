"""Crop, size and mirror: a picture and its boxes, moved together, decided by (seed, epoch, image) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from assignbench.data.load.colour import Colour, recolour
from assignbench.data.load.crop import Crop, crop_boxes


@dataclass(frozen=True)
class Geometry:
    """What is done to one picture: perhaps crop, resize, perhaps mirror left to right."""

    height: int  # network pixels, before padding
    width: int
    mirrored: bool = False
    crop: Crop | None = None  # original pixels; None: the whole picture


def resized(width: int, height: int, short_side: int, long_side: int) -> tuple[int, int]:
    """Height and width after the usual rule: the short side as asked, unless the long side gets too long.

    >>> resized(640, 480, short_side=800, long_side=1333)
    (800, 1067)
    >>> resized(1000, 200, short_side=800, long_side=1333)
    (267, 1333)
    """
    scale = min(short_side / min(width, height), long_side / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True)
class View:
    """One way of looking at a whole picture."""

    short_side: int  # network pixels
    long_side: int  # no side gets longer than this, in network pixels
    mirrored: bool = False

    def geometry(self, width: int, height: int) -> Geometry:
        """Of a picture of ``width`` × ``height`` original pixels."""
        return Geometry(*resized(width, height, self.short_side, self.long_side), mirrored=self.mirrored)


def draw_geometry(
    width: int,
    height: int,
    *,
    short_side: int | Sequence[int],
    long_side: int,
    flip: float,
    key: tuple[int, ...],
    short_side_range: bool = False,
    crop: Crop | None = None,
) -> Geometry:
    """Draw a picture's geometry.

    Args:
        width: of the original picture, in pixels.
        height: as above.
        short_side: network pixels; of several values one is drawn, each equally likely.
        long_side: no side gets longer than this, in network pixels.
        flip: probability of mirroring left to right.
        key: numbers ≥ 0, among them seed, epoch and image index; equal keys give equal geometry.
        short_side_range: draw any whole number from the least to the largest of short_side.
        crop: what is kept of the picture; drawn elsewhere, so that it moves neither of the others.
    """
    random = np.random.default_rng(key)
    choices = [short_side] if isinstance(short_side, int) else list(short_side)
    # Both numbers are always drawn, so that switching one augmentation leaves the other as it was.
    if short_side_range:
        side, mirror = int(random.integers(min(choices), max(choices) + 1)), random.random()
    else:
        side, mirror = choices[random.integers(len(choices))], random.random()
    if crop is not None:
        width, height = crop[2] - crop[0], crop[3] - crop[1]
    return Geometry(*resized(width, height, side, long_side), mirrored=bool(mirror < flip), crop=crop)


def move_picture(pixels: NDArray[np.uint8], geometry: Geometry, colour: Colour | None = None) -> Tensor:
    """Crop, recolour, resize (bilinear, antialiased) and mirror: ``[H, W, 3] → [3, height, width]`` uint8."""
    if geometry.crop is not None:
        x0, y0, x1, y1 = geometry.crop
        pixels = pixels[y0:y1, x0:x1]
    if colour is not None:  # before the resize, since most pictures get larger by it
        pixels = recolour(pixels, colour)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    size = geometry.height, geometry.width
    if picture.shape[1:] != size:
        # What torchvision's resize ends in; called directly, since importing torchvision costs every
        # worker more than a second.
        picture = functional.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]
    return picture.flip(-1) if geometry.mirrored else picture


def move_boxes(boxes: NDArray[np.float64], width: int, height: int, geometry: Geometry) -> NDArray[np.float32]:
    """The same for boxes ``[object, 4]`` of a picture of ``width`` × ``height`` original pixels.

    A crop clips them; which of them belong to it says `assignbench.data.load.crop.in_crop`.
    """
    if geometry.crop is not None:
        boxes = crop_boxes(boxes, geometry.crop)
        width, height = geometry.crop[2] - geometry.crop[0], geometry.crop[3] - geometry.crop[1]
    x, y = geometry.width / width, geometry.height / height
    moved = boxes * (x, y, x, y)
    if geometry.mirrored:
        moved[:, [0, 2]] = geometry.width - moved[:, [2, 0]]
    if geometry.crop is not None:  # rounding apart they are inside; without a crop, evaluation keeps what is outside
        moved = moved.clip(0, (geometry.width, geometry.height) * 2)
    return moved.astype(np.float32)
