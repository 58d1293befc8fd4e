"""What the detector must produce for a strategy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from assignbench.core.extras import Extra, joining
from assignbench.core.geometry import Coding, Deltas, Distances


@dataclass(frozen=True)
class Head:
    """Priors, box coding, towers and outputs; the defaults are the controlled protocol's."""

    size: float = 8.0  # side of a prior in strides: 8 · stride covers 64 … 1024 pixels on P3 … P7
    ratios: tuple[float, ...] = (1.0,)  # height over width
    octaves: tuple[float, ...] = (0.0,)  # the side is size · stride · 2^octave; ratios × octaves priors a cell
    offset: float = 0.5  # where in its cell a location sits: 0 the corner, 0.5 the middle
    whole_pixels: bool = False  # sides cut to whole pixels and half extents rounded, as torchvision's anchors
    spacing: Literal["stride", "image"] = "stride"  # image: image size // map size, as torchvision places them
    coding: Coding = field(default_factory=Deltas)
    box_bias: float = 0.0  # initial value of the four raw box outputs
    class_prior: float = 0.01  # initial class probability
    group_norm: bool = True  # group normalisation in the towers
    conv_bias: bool = True  # a bias before that norm, where it changes nothing but the names in a checkpoint
    level_scale: bool = True  # one learned factor a level on the box outputs
    tower_std: float | None = None  # deviation of the towers' initial weights; None: see `detector.head.tower`
    extras: tuple[Extra, ...] = ()

    def __post_init__(self) -> None:
        names = [extra.name for extra in self.extras]
        if len(set(names)) < len(names):
            raise ValueError(f"an extra output is asked for twice: {', '.join(names)}")
        joining(self.extras)
        if not self.ratios or not self.octaves:
            raise ValueError("a head needs at least one prior a cell: ratios and octaves must not be empty")

    @property
    def priors_per_cell(self) -> int:
        """Locations of one cell."""
        return len(self.ratios) * len(self.octaves)

    def controlled(self) -> Head:
        """The head of the controlled protocol: priors and extras stay, all else is the same for every strategy."""
        return Head(size=self.size, ratios=self.ratios, octaves=self.octaves, extras=self.extras)

    def plus(self, extras: Iterable[Extra]) -> Head:
        """The same head with further extra outputs.

        Raises:
            ValueError: it has one of them already, or two would join the class probability.
        """
        own = {extra.name for extra in self.extras}
        added = tuple(extras)
        if twice := [extra.name for extra in added if extra.name in own]:
            raise ValueError(f"it has the extra output {twice[0]} already; leave out +{twice[0]}")
        return replace(self, extras=(*self.extras, *added))


def point_head(*extras: Extra, **changes: object) -> Head:
    """The FCOS-style head: one location a cell, distances to the four sides."""
    return replace(Head(coding=Distances(), tower_std=0.01, extras=extras), **changes)  # type: ignore[arg-type]


def anchor_head(*extras: Extra, **changes: object) -> Head:
    """RetinaNet's: nine anchors a cell of sides 4 · stride · 2^(0, 1/3, 2/3), towers without norm."""
    head = Head(
        size=4.0,
        ratios=(0.5, 1.0, 2.0),
        octaves=(0.0, 1 / 3, 2 / 3),
        offset=0.0,
        coding=Deltas((1.0, 1.0, 1.0, 1.0)),
        group_norm=False,
        level_scale=False,
        extras=extras,
    )
    return replace(head, **changes)  # type: ignore[arg-type]
