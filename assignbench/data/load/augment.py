"""What training does to its pictures, drawn from (seed, epoch, image) alone."""

from __future__ import annotations

from dataclasses import dataclass

from assignbench.data.dataset import Dataset
from assignbench.data.load.colour import Colour, draw_colour
from assignbench.data.load.crop import draw_crop
from assignbench.data.load.transforms import Geometry, draw_geometry

# Keep the random streams apart from those of `order` and from each other: switching one leaves the others as they were.
_GEOMETRY, _CROP, _COLOUR = 2, 3, 4


@dataclass(frozen=True)
class Augmentation:
    """Sizes, mirrors, crops and colours to draw from."""

    short_side: tuple[int, ...]  # network pixels; each equally likely
    long_side: int  # no side gets longer than this, in network pixels
    flip: float  # probability of mirroring left to right
    short_side_range: bool = False  # any whole number from the least to the largest of short_side
    crop: float = 1.0  # smallest side of a crop around an object, as a fraction of the picture's; 1: no crop
    jitter: float = 0.0  # brightness, contrast and saturation are multiplied by factors from 1 ± jitter; 0: never

    def geometry(self, dataset: Dataset, index: int, *, seed: int, epoch: int) -> Geometry:
        """Size, mirror and crop of the picture at ``index`` in an epoch; the picture is not opened. Seed, epoch ≥ 0."""
        width, height = dataset.size_of(index)
        crop = None
        if self.crop < 1:
            objects = dataset.objects_of(index)
            wanted = dataset.boxes[objects][~dataset.crowd[objects]]
            crop = draw_crop(width, height, wanted, least=self.crop, key=(_CROP, seed, epoch, index))
        return draw_geometry(
            width,
            height,
            short_side=self.short_side,
            long_side=self.long_side,
            flip=self.flip,
            key=(_GEOMETRY, seed, epoch, index),
            short_side_range=self.short_side_range,
            crop=crop,
        )

    def colour(self, index: int, *, seed: int, epoch: int) -> Colour | None:
        """The same of its colours."""
        return draw_colour(self.jitter, key=(_COLOUR, seed, epoch, index))
