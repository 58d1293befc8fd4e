"""The vocabulary: image, object, location, class, pair, level.

=========  ==========================================================================================
image      one picture of a batch
object     one annotated box with its class; a batch is *one flat list of objects that know their image*,
           so an image without objects simply owns none
location   one prior: with nine anchors a cell there are nine locations a cell. Order: level (fine to
           coarse), then row, then column, then anchor
class      0 … K−1; there is no background class
pair       one object taught at one location
level      one map of the feature pyramid: 0 is P3, 4 is P7
=========  ==========================================================================================

Boxes are ``x0 y0 x1 y1`` in float32 pixels of the padded network input, continuous: width is ``x1 − x0``.
Axes are written in words: ``[object, 4]``, ``[image, location, class]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.fast.class_outputs import ClassOutputs, join_logits
from assignbench.core.geometry import pick, take
from assignbench.core.tensors import moved_to, require_shape, to_device

PADDING = 32  # pixels: padded sides are multiples of it, the stride of P5; an image's own area is rounded up to one

_Kept = TypeVar("_Kept", "Targets", "Priors")


def _remember(moved: _Kept, original: _Kept) -> _Kept:
    """Keep what was copied to a device where it came from the host; `dataclasses.replace` forgets it on purpose."""
    if original.boxes.device.type == "cpu":
        object.__setattr__(moved, "_host", original)
    return moved


@dataclass(frozen=True)
class Regions:
    """Areas of images without a label of their own (crowds): neither object nor background."""

    boxes: Tensor  # [region, 4]
    image: Tensor  # [region] int64

    def __post_init__(self) -> None:
        require_shape("Regions.boxes", self.boxes, None, 4)
        require_shape("Regions.image", self.image, len(self.boxes))

    def to(self, device: torch.device | str) -> Regions:
        """The same regions on another device."""
        return Regions(self.boxes.to(device, non_blocking=True), self.image.to(device, non_blocking=True))

    def none(self) -> Regions:
        """No regions, on the same device."""
        return Regions(self.boxes[:0], self.image[:0])


def _no_regions() -> Regions:
    return Regions(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True)
class Targets:
    """The objects of a batch, in one flat list.

    Raises:
        ValueError: when lengths disagree. Values (positive size, finite, labels in range) are the
            reader's promise: they are checked once, at load, where the annotation can be named.
    """

    boxes: Tensor  # [object, 4] float32, positive width and height
    labels: Tensor  # [object] int64, 0 … K−1
    image: Tensor  # [object] int64, 0 … images−1
    images: int  # images in the batch, those without objects included
    ignore: Regions = field(default_factory=_no_regions)
    _host: Targets | None = field(default=None, init=False, repr=False, compare=False)  # what `to` copied from

    def __post_init__(self) -> None:
        require_shape("Targets.boxes", self.boxes, None, 4)
        require_shape("Targets.labels", self.labels, len(self.boxes))
        require_shape("Targets.image", self.image, len(self.boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        moved = Targets(
            boxes=self.boxes.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            image=self.image.to(device, non_blocking=True),
            images=self.images,
            ignore=self.ignore.to(device),
        )
        return _remember(moved, self)

    def on_host(self) -> Targets:
        """The same targets in the host's memory: without waiting for the device where they came from there."""
        return self if self.boxes.device.type == "cpu" else self._host or self.to("cpu")

    def without_ignored(self) -> Targets:
        """The same objects, and no region that teaches nothing."""
        bare = replace(self, ignore=self.ignore.none())
        return bare if self._host is None else _remember(bare, self._host.without_ignored())

    def of_image(self, image: int) -> Targets:
        """The objects of one image, as a batch of one."""
        mine, ignored = self.image == image, self.ignore.image == image
        return Targets(
            boxes=self.boxes[mine],
            labels=self.labels[mine],
            image=torch.zeros_like(self.image[mine]),
            images=1,
            ignore=Regions(self.ignore.boxes[ignored], torch.zeros_like(self.ignore.image[ignored])),
        )


@dataclass(frozen=True)
class Grid:
    """How locations are laid out: cells in rows and columns, level after level; what counting them off needs to know.

    All tensors are ``[level]``. Cell (row, column) of a level has its locations, one for each anchor, from
    ``start + (row · columns + column) · anchors`` on, and its centre at ``first + (column, row) · step``.
    """

    start: Tensor  # int64, first location
    rows: Tensor  # int64
    columns: Tensor  # int64
    first: Tensor  # [level, 2] x, y of cell (0, 0), pixels
    step: Tensor  # [level, 2] pixels between cells
    anchors: int  # locations of a cell

    def to(self, device: torch.device | str) -> Grid:
        """The same layout on another device."""
        moved = (to_device(part, device) for part in (self.start, self.rows, self.columns, self.first, self.step))
        return Grid(*moved, anchors=self.anchors)


@dataclass(frozen=True)
class Priors:
    """Where the detector predicts, and the box it starts from there.

    ``boxes`` is ``[location, 4]`` when the priors are fixed (anchors, or the square that stands for a point), and
    ``[image, location, 4]`` when the network predicts them for each image. Locations lie on the grid either way.
    """

    boxes: Tensor  # [location, 4] or [image, location, 4]
    points: Tensor  # [location, 2] x, y of the location, exact: no rounding of a box's corners is in it
    stride: Tensor  # [location] float32, pixels between neighbouring cells of the level
    level: Tensor  # [location] int64, 0 = finest
    grid: Grid
    extent: Tensor | None = None  # [image, 2] x, y from which on it is the batch's padding; None: nothing is
    _host: Priors | None = field(default=None, init=False, repr=False, compare=False)  # what `to` copied from

    def __post_init__(self) -> None:
        axes = (None, 4) if self.boxes.ndim < 3 else (None, None, 4)
        require_shape("Priors.boxes", self.boxes, *axes)
        locations = self.boxes.shape[-2]
        require_shape("Priors.points", self.points, locations, 2)
        require_shape("Priors.stride", self.stride, locations)
        require_shape("Priors.level", self.level, locations)
        if self.extent is not None:
            require_shape("Priors.extent", self.extent, None, 2)

    def __len__(self) -> int:
        return self.boxes.shape[-2]

    @cached_property
    def inside(self) -> Tensor | None:
        """Which locations are not in the batch's padding, which teaches nothing: bool ``[image, location]``."""
        return None if self.extent is None else (self.points < self.extent[:, None]).all(-1)

    def inside_at(self, image: Tensor, location: Tensor) -> Tensor:
        """`inside` of image–location pairs, at a cost that grows with them alone: ``[pair], [pair] → bool [pair]``."""
        if self.extent is None:
            return torch.ones_like(location, dtype=torch.bool)
        return (self.points[location] < self.extent[image]).all(-1)

    def padded(self, sizes: Tensor) -> Priors:
        """The same priors, told where images end: at their size rounded up to 32 pixels.

        Args:
            sizes: height and width of each image before padding, ``[image, 2]``; best in the host's memory.
        """
        extent = (-(-sizes // PADDING) * PADDING).flip(-1)
        told = replace(self, extent=to_device(extent, self.boxes.device))
        host = self._host
        if host is None or extent.device.type != "cpu":
            return told
        return _remember(told, replace(host, extent=extent))

    def predicted(self, boxes: Tensor) -> Priors:
        """The same locations with the boxes that the network predicts there: ``[image, location, 4]``."""
        return replace(self, boxes=boxes)

    def cast(self, dtype: torch.dtype) -> Priors:
        """The same priors in another precision, for checks of gradients."""
        if dtype == self.boxes.dtype:
            return self
        grid = replace(self.grid, first=self.grid.first.to(dtype), step=self.grid.step.to(dtype))
        parts = (part.to(dtype) for part in (self.boxes, self.points, self.stride))
        return Priors(*parts, level=self.level, grid=grid, extent=self.extent)

    def to(self, device: torch.device | str) -> Priors:
        """The same priors on another device."""
        moved = Priors(
            *(to_device(part, device) for part in (self.boxes, self.points, self.stride, self.level)),
            grid=self.grid.to(device),
            extent=moved_to(self.extent, device),
        )
        return _remember(moved, self)

    def on_host(self) -> Priors:
        """The same priors in the host's memory: without waiting for the device where they came from there."""
        return self if self.boxes.device.type == "cpu" else self._host or self.to("cpu")

    def boxes_at(self, image: Tensor, location: Tensor) -> Tensor:
        """Prior boxes of image–location pairs: ``[pair], [pair] → [pair, 4]``."""
        if self.boxes.ndim == 2:
            return take(self.boxes, location)
        return take(self.boxes, image * len(self) + location)


@dataclass(frozen=True)
class RawOutputs:
    """What a head puts out, all levels joined in the order of the locations, float32."""

    logits: Tensor  # [image, location, class], before any extra joins
    regression: Tensor  # [image, location, number], in the head's own coding: see `Coding.outputs`
    extras: Mapping[str, Tensor]  # name → [image, location], or [image, location, channel] of several channels
    priors: Tensor | None = None  # [image, location, 4] boxes that the head predicts; None: they are fixed


@dataclass(frozen=True)
class Predictions:
    """What the detector says at every location, always float32.

    The class probability is σ(output), or σ(output) · σ(extra) where an extra joins it.
    """

    outputs: Tensor  # [image, location, class] of the class tower, logits
    boxes: Tensor  # [image, location, 4] decoded
    regression: Tensor  # [image, location, number] the same boxes in the head's own coding, for losses on it
    extras: Mapping[str, Tensor] = field(default_factory=dict)  # as in `RawOutputs`
    joined: str | None = None  # the extra that joins the class probability
    pyramid: tuple[Tensor, ...] = ()  # per level [image, channel, row, column], for strategies that read it

    def __post_init__(self) -> None:
        images, locations, _ = self.outputs.shape
        require_shape("Predictions.outputs", self.outputs, None, None, None)
        require_shape("Predictions.boxes", self.boxes, images, locations, 4)
        require_shape("Predictions.regression", self.regression, images, locations, None)
        for name, extra in self.extras.items():
            if extra.shape[:2] != (images, locations):
                raise ValueError(f"extra output {name!r} must start with [{images}, {locations}]")

    @cached_property
    def logits(self) -> Tensor:
        """Logits of all class probabilities: ``[image, location, class]``. For single entries take `logits_at`."""
        return self.outputs if self.joined is None else join_logits(self.outputs, self.extras[self.joined])

    def logits_at(self, image: Tensor, location: Tensor, label: Tensor) -> Tensor:
        """Logits of the class probabilities of entries, at a cost that grows with them alone: ``[entry]`` each."""
        outputs = self.class_outputs.read(image, location, label)
        if self.joined is None:
            return outputs
        return join_logits(outputs[:, None], self.extras[self.joined][image, location])[:, 0]

    def surprise_at(self, image: Tensor, location: Tensor, label: Tensor) -> Tensor:
        """−log of the class probabilities of entries, of both factors where an extra joins: ``[entry]`` each."""
        own = F.softplus(-self.class_outputs.read(image, location, label))
        if self.joined is None:
            return own
        return own + F.softplus(-pick(self.extras[self.joined].reshape(-1), image * self.locations + location))

    @cached_property
    def class_outputs(self) -> ClassOutputs:
        """Keeps what is read off the outputs to one gradient."""
        return ClassOutputs(self.outputs)

    def detached(self) -> Predictions:
        """The same numbers without gradient."""
        return replace(
            self,
            outputs=self.outputs.detach(),
            boxes=self.boxes.detach(),
            regression=self.regression.detach(),
            extras={name: extra.detach() for name, extra in self.extras.items()},
        )

    @property
    def images(self) -> int:
        """Images in the batch."""
        return self.outputs.shape[0]

    @property
    def locations(self) -> int:
        """Locations of one image."""
        return self.outputs.shape[1]

    @property
    def classes(self) -> int:
        """Classes the detector knows."""
        return self.outputs.shape[2]
