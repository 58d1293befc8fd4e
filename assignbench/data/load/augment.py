"""What training does to its pictures, drawn from (seed, epoch, image) alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from assignbench.data.dataset import Dataset
from assignbench.data.load.colour import Colour, draw_colour
from assignbench.data.load.crop import draw_crop
from assignbench.data.load.transforms import Geometry, draw_geometry

# Keep the random streams apart from those of `order` and from each other: switching one leaves the others as they were.
_GEOMETRY, _CROP, _COLOUR = 2, 3, 4


STAIRS = 3  # sizes before the last one: at half of 192 pixels they are 96, 128 and 160


@dataclass(frozen=True)
class Growth:
    """Training pictures that are small at first and grow to their size.

    What a network learns first is coarse, and small pictures show it for less work: the progressive learning of
    EfficientNetV2 (arXiv:2104.00298), without its change of regularisation.
    """

    start: float = 1.0  # first size, as a fraction of the last one, along each side
    steps: int = 0  # optimizer steps in which they grow, in `STAIRS` equal parts

    def scale(self, step: int) -> float:
        """Of a side, at a step counted from 0."""
        if step >= self.steps:
            return 1.0
        return self.start + (1 - self.start) * (step * STAIRS // self.steps) / STAIRS

    def work(self, step: int) -> float:
        """How many steps at full size cost as much as the first ``step`` ones: a step costs what its pixels cost."""
        growing = min(step, self.steps)
        return sum(self.scale(one) ** 2 for one in range(growing)) + step - growing


@dataclass(frozen=True)
class Augmentation:
    """Sizes, mirrors, crops and colours to draw from."""

    short_side: tuple[int, ...]  # network pixels; each equally likely
    long_side: int  # no side gets longer than this, in network pixels
    flip: float  # probability of mirroring left to right
    short_side_range: bool = False  # any whole number from the least to the largest of short_side
    crop: float = 1.0  # smallest side of a crop around an object, as a fraction of the picture's; 1: no crop
    jitter: float = 0.0  # brightness, contrast and saturation are multiplied by factors from 1 ± jitter; 0: never
    growth: Growth = Growth()

    def at(self, step: int) -> Augmentation:
        """The same at a step counted from 0, with the sizes that pictures have grown to by then."""
        scale = self.growth.scale(step)
        if scale == 1:
            return self
        sides = tuple(max(1, round(side * scale)) for side in self.short_side)
        return replace(self, short_side=sides, long_side=max(1, round(self.long_side * scale)))

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
