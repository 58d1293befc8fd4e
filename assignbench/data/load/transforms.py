"""Crop, size and mirror: a picture and its boxes, moved together, decided by (seed, epoch, image) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
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
    choices = [short_side] if isinstance(short_side, int) else short_side
    side, mirrored = choices[0], flip >= 1
    if len(choices) > 1 or 0 < flip < 1:  # a generator takes longer than all else here
        random = np.random.default_rng(key)
        # Both numbers are always drawn, so that switching one augmentation leaves the other as it was.
        if short_side_range:
            side = int(random.integers(min(choices), max(choices) + 1))
        else:
            side = choices[int(random.integers(len(choices)))]
        mirrored = bool(random.random() < flip)
    if crop is not None:
        width, height = crop[2] - crop[0], crop[3] - crop[1]
    return Geometry(*resized(width, height, side, long_side), mirrored=mirrored, crop=crop)


def move_picture(pixels: NDArray[np.uint8], geometry: Geometry) -> Tensor:
    """Crop, resize (bilinear, antialiased) and mirror: ``[H, W, 3] → [3, height, width]`` uint8."""
    moved = np.empty((3, geometry.height, geometry.width), dtype=np.uint8)
    put_picture(Image.fromarray(pixels), geometry, None, moved)
    return torch.from_numpy(moved)


def put_picture(picture: Image.Image, geometry: Geometry, colour: Colour | None, place: NDArray[np.uint8]) -> None:
    """As `move_picture`, from Pillow's memory to its place ``[3, height, width]`` in a batch, and recoloured."""
    if geometry.crop is not None:
        picture = picture.crop(geometry.crop)
    if colour is not None:  # before the resize, since most pictures get larger by it
        picture = recolour(picture, colour)
    if geometry.mirrored:
        place = place[..., ::-1]
    size = geometry.height, geometry.width
    if (picture.height, picture.width) == size:  # three bands as they lie are faster than turning [H, W, 3]
        for plane, band in zip(place, "RGB", strict=True):
            plane[:] = np.frombuffer(picture.tobytes("raw", band), dtype=np.uint8).reshape(size)
        return
    # What torchvision's resize ends in; called directly, since importing torchvision costs every worker more than a
    # second. numpy copies what is mirrored in half of torch's time.
    given = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    place[:] = functional.interpolate(given, size, mode="bilinear", antialias=True)[0].numpy()


def windows(sizes: Sequence[tuple[int, int]], geometries: Sequence[Geometry]) -> NDArray[np.int64]:
    """``[image, 4]`` what is kept of each picture, x0 y0 x1 y1 in original pixels: its crop, or all of it."""
    kept = [one.crop or (0, 0, *size) for size, one in zip(sizes, geometries, strict=True)]
    return np.array(kept, dtype=np.int64)


def moved_boxes(
    boxes: NDArray[np.float64],
    owner: NDArray[np.int64],
    windows: NDArray[np.int64],
    sizes: NDArray[np.int64],
    geometries: Sequence[Geometry],
) -> NDArray[np.float32]:
    """Boxes of several pictures, in network pixels.

    A crop clips them; which of them belong to it says `assignbench.data.load.crop.in_crop`.

    Args:
        boxes: ``[object, 4]`` in original pixels.
        owner: ``[object]`` whose they are, counted in the others.
        windows: ``[image, 4]`` as `windows` gives them.
        sizes: ``[image, 2]`` as `sizes_of` gives them.
        geometries: ``[image]`` of each picture.
    """
    cropped = [one.crop is not None for one in geometries]
    mirrored = [one.mirrored for one in geometries]
    of_crop = np.array(cropped)[owner, None] if any(cropped) else None
    if of_crop is not None:
        boxes = np.where(of_crop, crop_boxes(boxes, windows[owner]), boxes)
    moved = boxes * scales_of(windows, sizes)[owner][:, [0, 1, 0, 1]]
    if any(mirrored):
        turned = sizes[owner, 1:] - moved[:, [2, 0]]
        moved[:, [0, 2]] = np.where(np.array(mirrored)[owner, None], turned, moved[:, [0, 2]])
    if of_crop is not None:  # rounding apart they are inside; without a crop, evaluation keeps what is outside
        moved = np.where(of_crop, moved.clip(0, sizes[owner][:, [1, 0, 1, 0]]), moved)
    return moved.astype(np.float32)


def sizes_of(geometries: Sequence[Geometry]) -> NDArray[np.int64]:
    """``[image, 2]`` height and width in network pixels."""
    return np.array([(one.height, one.width) for one in geometries], dtype=np.int64)


def scales_of(windows: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[image, 2]`` network pixels per original pixel, along x and y."""
    return sizes[:, ::-1] / (windows[:, 2:] - windows[:, :2])
