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
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from assignbench.core.geometry import centers
from assignbench.core.ledger import Ledger, join_logits


def _shape(name: str, tensor: Tensor, *axes: int | None) -> None:
    """Refuse a tensor whose shape does not fit; None stands for any length."""
    fits = tensor.ndim == len(axes) and all(
        want is None or want == have for want, have in zip(axes, tensor.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if axis is None else str(axis) for axis in axes)
        raise ValueError(f"{name} must have shape [{wanted}], not {list(tensor.shape)}")


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device; from the host to a GPU by way of page-locked memory, so that the host need not wait."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor where another one lies; see `to_device`."""
    return to_device(tensor, other.device)


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
        _shape("Regions.boxes", self.boxes, None, 4)
        _shape("Regions.image", self.image, len(self.boxes))

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
        _shape("Targets.boxes", self.boxes, None, 4)
        _shape("Targets.labels", self.labels, len(self.boxes))
        _shape("Targets.image", self.image, len(self.boxes))

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
    """How fixed priors are laid out: cells in rows and columns, level after level; what enumeration needs to know.

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

    ``boxes`` is ``[location, 4]`` when the priors are fixed (anchors, or the square that stands for a
    point), and ``[image, location, 4]`` when the network predicts them for each image.
    """

    boxes: Tensor  # [location, 4] or [image, location, 4]
    stride: Tensor  # [location] float32, pixels between neighbouring cells of the level
    level: Tensor  # [location] int64, 0 = finest
    extent: Tensor | None = None  # [image, 2] x, y from which on it is the batch's padding; None: nothing is
    grid: Grid | None = None  # of fixed priors; None: they may lie anywhere
    _host: Priors | None = field(default=None, init=False, repr=False, compare=False)  # what `to` copied from

    def __post_init__(self) -> None:
        locations = self.boxes.shape[-2]
        if self.boxes.ndim == 2:
            _shape("Priors.boxes", self.boxes, None, 4)
        else:
            _shape("Priors.boxes", self.boxes, None, None, 4)
        _shape("Priors.stride", self.stride, locations)
        _shape("Priors.level", self.level, locations)
        if self.extent is not None:
            _shape("Priors.extent", self.extent, None, 2)

    def __len__(self) -> int:
        return self.boxes.shape[-2]

    @cached_property
    def centers(self) -> Tensor:
        """x, y of every location: ``[location, 2]`` or ``[image, location, 2]``."""
        return centers(self.boxes)

    @cached_property
    def inside(self) -> Tensor | None:
        """Which locations are not in the batch's padding, which teaches nothing: bool ``[image, location]``."""
        if self.extent is None:
            return None
        place = self.centers if self.boxes.ndim == 3 else self.centers[None]
        return (place < self.extent[:, None]).all(-1)

    def inside_at(self, image: Tensor, location: Tensor) -> Tensor:
        """`inside` of image–location pairs, at a cost that grows with them alone: ``[pair], [pair] → bool [pair]``."""
        if self.extent is None:
            return torch.ones_like(location, dtype=torch.bool)
        return (centers(self.boxes_at(image, location)) < self.extent[image]).all(-1)

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

    def to(self, device: torch.device | str) -> Priors:
        """The same priors on another device."""
        moved = Priors(
            *(to_device(part, device) for part in (self.boxes, self.stride, self.level)),
            extent=_each(self.extent, device),
            grid=None if self.grid is None else self.grid.to(device),
        )
        return _remember(moved, self)

    def on_host(self) -> Priors:
        """The same priors in the host's memory: without waiting for the device where they came from there."""
        return self if self.boxes.device.type == "cpu" else self._host or self.to("cpu")

    def boxes_at(self, image: Tensor, location: Tensor) -> Tensor:
        """Prior boxes of image–location pairs: ``[pair], [pair] → [pair, 4]``."""
        return self.boxes[location] if self.boxes.ndim == 2 else self.boxes[image, location]

    def boxes_of(self, image: Tensor) -> Tensor:
        """Prior boxes seen by each object's image: ``[object] → [location, 4] or [object, location, 4]``."""
        return self.boxes if self.boxes.ndim == 2 else self.boxes[image]

    def centers_of(self, image: Tensor) -> Tensor:
        """As `boxes_of`, their centres."""
        return self.centers if self.boxes.ndim == 2 else self.centers[image]


PADDING = 32  # pixels: what an image's own area is rounded up to


@dataclass(frozen=True)
class Predictions:
    """What the detector says at every location, always float32.

    The class probability is σ(output), or σ(output) · σ(extra) where an extra joins it.
    """

    outputs: Tensor  # [image, location, class] of the class tower, logits
    boxes: Tensor  # [image, location, 4] decoded
    regression: Tensor  # [image, location, 4] the same boxes in the head's own coding, for losses on deltas
    extras: Mapping[str, Tensor] = field(default_factory=dict)  # name → [image, location], logits
    joined: str | None = None  # the extra that joins the class probability
    pyramid: tuple[Tensor, ...] = ()  # per level [image, channel, row, column], for strategies that read it

    def __post_init__(self) -> None:
        images, locations, _ = self.outputs.shape
        _shape("Predictions.outputs", self.outputs, None, None, None)
        _shape("Predictions.boxes", self.boxes, images, locations, 4)
        _shape("Predictions.regression", self.regression, images, locations, 4)
        for name, extra in self.extras.items():
            if extra.shape[:2] != (images, locations):
                raise ValueError(f"extra output {name!r} must start with [{images}, {locations}]")

    @cached_property
    def logits(self) -> Tensor:
        """Logits of all class probabilities: ``[image, location, class]``. For single entries take `logits_at`."""
        return self.outputs if self.joined is None else join_logits(self.outputs, self.extras[self.joined])

    def logits_at(self, image: Tensor, location: Tensor, label: Tensor) -> Tensor:
        """Logits of the class probabilities of entries, at a cost that grows with them alone: ``[entry]`` each."""
        outputs = self.ledger.read(image, location, label)
        if self.joined is None:
            return outputs
        return join_logits(outputs[:, None], self.extras[self.joined][image, location])[:, 0]

    @cached_property
    def ledger(self) -> Ledger:
        """Keeps what is read off the outputs to one gradient."""
        return Ledger(self.outputs)

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


@dataclass(frozen=True)
class Pairs:
    """Who teaches what, and how much: an object is to be learned at a location."""

    object: Tensor  # [pair] int64, index into Targets
    location: Tensor  # [pair] int64
    weight: Tensor  # [pair] float32, of the class part (of the whole pair in a bag); may carry gradient
    box_weight: Tensor  # [pair] float32, of the box part
    quality: Tensor  # [pair] float32 in [0, 1], class score this location should learn; 1: full confidence
    likelihood: Tensor | None = None  # [pair] exp(−ℓ) of a bag, where the strategy has it from `pair_likelihood`

    def __post_init__(self) -> None:
        for name in ("location", "weight", "box_weight", "quality"):
            _shape(f"Pairs.{name}", getattr(self, name), len(self.object))
        if self.likelihood is not None:
            _shape("Pairs.likelihood", self.likelihood, len(self.object))

    def __len__(self) -> int:
        return len(self.object)

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs on another device."""
        return Pairs(*(_each(getattr(self, part.name), device) for part in fields(self)))


@dataclass(frozen=True)
class Discounts:
    """Where the negative term is softened, either way it is done in the literature.

    ``factor`` multiplies the probability inside the term (FreeAnchor, AutoAssign), ``weight`` the term itself
    (DW, NoisyAnchor); 0 in either removes it, as for the own class of a hard positive.

    A sparse list on purpose: dense weights would be as large as the logits (a gigabyte for nine anchors,
    80 classes and 16 images), while almost every factor is 1. One entry per (image, location, class); where several
    objects want one, all but one of them have weight 0, which leaves them out.
    """

    image: Tensor  # [entry] int64
    location: Tensor  # [entry] int64
    label: Tensor  # [entry] int64
    factor: Tensor  # [entry] float32 in [0, 1]
    weight: Tensor | None = None  # [entry] float32 ≥ 0; None: 1

    def __post_init__(self) -> None:
        for name in ("location", "label", "factor"):
            _shape(f"Discounts.{name}", getattr(self, name), len(self.image))
        if self.weight is not None:
            _shape("Discounts.weight", self.weight, len(self.image))

    def __len__(self) -> int:
        return len(self.image)

    def counted(self) -> Discounts:
        """Without the entries of weight 0. Their number depends on values: a GPU is waited for."""
        if self.weight is None:
            return self
        kept = self.weight > 0
        return Discounts(self.image[kept], self.location[kept], self.label[kept], self.factor[kept], self.weight[kept])

    def to(self, device: torch.device | str) -> Discounts:
        """The same discounts on another device."""
        return Discounts(*(_each(getattr(self, part.name), device) for part in fields(self)))


@dataclass(frozen=True)
class Normalisers:
    """What each term is divided by: this process's share; the objective averages over processes, then floors at 1."""

    positive: Tensor  # [] of the class part of pairs, or of the bags
    box: Tensor  # []
    negative: Tensor  # []
    least_box: float = 1.0  # floor of the box normaliser
    local: bool = False  # not averaged over processes: what a batch means then depends on their number

    def to(self, device: torch.device | str) -> Normalisers:
        """The same shares on another device."""
        shares = (to_device(share, device) for share in (self.positive, self.box, self.negative))
        return Normalisers(*shares, least_box=self.least_box, local=self.local)


@dataclass(frozen=True)
class Assignment:
    """The record between strategy and objective, and the only channel between them.

    Losses, statistics and pictures all read this; so what a figure shows is what the network learned from.
    """

    pairs: Pairs
    discounts: Discounts
    normalisers: Normalisers
    background: Tensor | None = None  # [image, location] in [0, 1], None: all ones; 0: location taught nothing
    bagged: bool = False  # False: learn every pair; True: one good pair per object is enough
    geometric: bool = False  # of a bag: the mean of its likelihoods is the geometric one, which asks for every pair
    losses: Mapping[str, Tensor] = field(default_factory=dict)  # [] losses on the strategy's own parameters
    notes: Mapping[str, Tensor] = field(default_factory=dict)  # [object] numbers for statistics

    def to(self, device: torch.device | str) -> Assignment:
        """The same record on another device; the host does not wait for it."""
        return Assignment(
            pairs=self.pairs.to(device),
            discounts=self.discounts.to(device),
            normalisers=self.normalisers.to(device),
            background=None if self.background is None else to_device(self.background, device),
            bagged=self.bagged,
            geometric=self.geometric,
            losses={name: to_device(loss, device) for name, loss in self.losses.items()},
            notes={name: to_device(note, device) for name, note in self.notes.items()},
        )

    def check(self, predictions: Predictions, targets: Targets) -> None:
        """Refuse a record that cannot be meant: one that would train, but on something else.

        Costs a few synchronisations with the device, so training asks for it on samples only.

        Raises:
            ValueError: an index out of range, an entry twice, a weight that is not finite or negative, a
                quality, factor or background outside [0, 1], a note that is not one entry an object.
        """
        pairs, discounts, images = self.pairs, self.discounts, targets.images
        _index("Pairs.object", pairs.object, len(targets))
        _index("Pairs.location", pairs.location, predictions.locations)
        _unique("Pairs", pairs.object, pairs.location)
        _index("Discounts.image", discounts.image, images)
        _index("Discounts.location", discounts.location, predictions.locations)
        _index("Discounts.label", discounts.label, predictions.classes)
        counted = discounts.counted()
        _unique("Discounts", counted.image, counted.location, counted.label)
        _within("Pairs.weight", pairs.weight, float("inf"))
        _within("Pairs.box_weight", pairs.box_weight, float("inf"))
        _within("Pairs.quality", pairs.quality, 1.0)
        _within("Discounts.factor", discounts.factor, 1.0)
        if discounts.weight is not None:
            _within("Discounts.weight", discounts.weight, float("inf"))
        if self.background is not None:
            _shape("background", self.background, images, predictions.locations)
            _within("background", self.background, 1.0)
        for name in ("positive", "box", "negative"):
            _within(f"Normalisers.{name}", getattr(self.normalisers, name), float("inf"))
        for name, note in self.notes.items():
            if note.shape[:1] != (len(targets),):
                raise ValueError(f"note {name!r} must have one entry an object, not shape {list(note.shape)}")


@dataclass(frozen=True)
class Weightings:
    """What a strategy makes its weights of, for pictures: w = center · confidence, then made to sum to 1 an object.

    It covers every location in every object's box, those included that the record leaves out since they weigh nothing.
    """

    object: Tensor  # [pair] int64, index into Targets
    location: Tensor  # [pair] int64
    center: Tensor  # [pair] float32 ≥ 0: where objects of the class usually are
    confidence: Tensor  # [pair] float32 ≥ 0: how well the location detects the object already


def _each(tensor: Tensor | None, device: torch.device | str) -> Any:
    return None if tensor is None else to_device(tensor, device)


def _index(name: str, index: Tensor, count: int) -> None:
    if index.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, not {index.dtype}")
    if bool(((index < 0) | (index >= count)).any()):
        raise ValueError(f"{name} must lie in 0 … {count - 1}, but reaches from {index.min()} to {index.max()}")


def _unique(name: str, *columns: Tensor) -> None:
    rows = torch.stack(columns, dim=1)
    if len(rows.unique(dim=0)) < len(rows):
        raise ValueError(f"{name} must not hold an entry twice")


def _within(name: str, values: Tensor, high: float) -> None:
    if not bool((values.isfinite() & (values >= 0) & (values <= high)).all()):
        limit = "at least 0" if high == float("inf") else f"in [0, {high:g}]"
        raise ValueError(f"{name} must be finite and {limit}")
