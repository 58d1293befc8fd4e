"""The record between strategy and objective: who teaches what, and what is left of the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor

from assignbench.core.geometry import pick
from assignbench.core.tensors import moved_to, require_fixed, require_numbers, require_shape, to_device
from assignbench.core.types import Predictions, Targets

BAG_ROUNDING = 1e-3  # by which the weights of a bag may sum to more than 1


@dataclass(frozen=True)
class Pairs:
    """Who teaches what, and how much: an object is to be learned at a location."""

    object: Tensor  # [pair] int64, index into Targets
    location: Tensor  # [pair] int64
    weight: Tensor  # [pair] float32, of the class part (of the whole pair in a bag); may carry gradient
    box_weight: Tensor  # [pair] float32, of the box part
    # [pair] float32 in [0, 1], class score this location should learn; None: what the class loss says, 1 for most
    quality: Tensor | None = None

    def __post_init__(self) -> None:
        require_shape("Pairs.object", self.object, None)
        require_shape("Pairs.location", self.location, len(self.object))
        for name in ("weight", "box_weight", *(() if self.quality is None else ("quality",))):
            require_numbers(f"Pairs.{name}", getattr(self, name), len(self.object))
        require_fixed("Pairs.quality", self.quality)

    def __len__(self) -> int:
        return len(self.object)

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs on another device."""
        return Pairs(*(moved_to(getattr(self, part.name), device) for part in fields(self)))


@dataclass(frozen=True)
class Discounts:
    """Where the negative term is softened, either way it is done in the literature.

    ``factor`` multiplies the probability inside the term (FreeAnchor, AutoAssign), ``weight`` the term itself
    (DW, NoisyAnchor); 0 in either removes it, as for the own class of a hard positive.

    A sparse list on purpose: dense weights would be as large as the logits (a gigabyte for nine anchors,
    80 classes and 16 images), while almost every factor is 1. Where several objects want one entry (image, location,
    class), the smallest factor counts; with weights, all entries but one must have weight 0, which leaves them out.
    """

    image: Tensor  # [entry] int64
    location: Tensor  # [entry] int64
    label: Tensor  # [entry] int64
    factor: Tensor  # [entry] float32 in [0, 1]
    weight: Tensor | None = None  # [entry] float32 ≥ 0; None: 1

    def __post_init__(self) -> None:
        require_shape("Discounts.image", self.image, None)
        for name in ("location", "label"):
            require_shape(f"Discounts.{name}", getattr(self, name), len(self.image))
        for name in ("factor", *(() if self.weight is None else ("weight",))):
            require_numbers(f"Discounts.{name}", getattr(self, name), len(self.image))
            require_fixed(f"Discounts.{name}", getattr(self, name))

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def none(cls, targets: Targets) -> Discounts:
        """Background in full everywhere."""
        nothing = targets.labels[:0]
        return cls(nothing, nothing, nothing, targets.boxes[:0, 0])

    @classmethod
    def of_pairs(
        cls, objects: Tensor, locations: Tensor, targets: Targets, factor: Tensor, weight: Tensor | None = None
    ) -> Discounts:
        """Of pairs, each for its object's own class: ``[pair]`` each."""
        return cls(pick(targets.image, objects), locations, pick(targets.labels, objects), factor, weight)

    def counted(self) -> Discounts:
        """Those that count, each entry once. Their number depends on values: a GPU is waited for."""
        if self.weight is not None:
            kept = self.weight > 0
            image, location, label = (part[kept] for part in (self.image, self.location, self.label))
            return Discounts(image, location, label, self.factor[kept], self.weight[kept])
        rows, place = torch.stack((self.image, self.location, self.label), dim=1).unique(dim=0, return_inverse=True)
        factor = self.factor.new_ones(len(rows)).scatter_reduce(0, place, self.factor, "amin", include_self=False)
        return Discounts(rows[:, 0], rows[:, 1], rows[:, 2], factor)

    def to(self, device: torch.device | str) -> Discounts:
        """The same discounts on another device."""
        return Discounts(*(moved_to(getattr(self, part.name), device) for part in fields(self)))


@dataclass(frozen=True)
class Normalisers:
    """What each term is divided by: this process's share; the objective averages over processes, then floors at 1."""

    positive: Tensor  # [] of the class part of pairs, or of the bags
    box: Tensor  # []
    negative: Tensor  # []
    least_box: float = 1.0  # floor of the box normaliser
    local: bool = False  # not averaged over processes: what a batch means then depends on their number
    least: float = 1.0  # floor of the other two
    unpaired: Tensor | None = None  # [] what stands for `negative` in a batch without any positive; None: nothing else

    def __post_init__(self) -> None:
        for name in ("positive", "box", "negative"):
            require_numbers(f"Normalisers.{name}", getattr(self, name))
            require_fixed(f"Normalisers.{name}", getattr(self, name))
        require_fixed("Normalisers.unpaired", self.unpaired)

    def to(self, device: torch.device | str) -> Normalisers:
        """The same shares on another device."""
        shares = (to_device(share, device) for share in (self.positive, self.box, self.negative))
        unpaired = moved_to(self.unpaired, device)
        return Normalisers(*shares, least_box=self.least_box, local=self.local, least=self.least, unpaired=unpaired)


@dataclass(frozen=True)
class Cost:
    """A loss that is a sum and what the objective divides it by: of an extra output, or one of the strategy's own."""

    total: Tensor  # []
    # this process's share of a normaliser of its own, and of that normaliser's floor: [] each; the objective averages
    # both over processes, then floors at 1. None: the positive normaliser
    share: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        require_numbers("Cost.total", self.total)
        if self.share is not None:
            share, floor = self.share
            require_numbers("Cost.share", share)
            require_numbers("Cost.share", floor)

    @classmethod
    def mean(cls, total: Tensor, count: Tensor) -> Cost:
        """A mean over the whole batch, on however many processes it lies: the sum here, over the number here."""
        number = count.detach().to(total.dtype)
        return cls(total, (number, number))

    def to(self, device: torch.device | str) -> Cost:
        """The same cost on another device."""
        share = None if self.share is None else (to_device(self.share[0], device), to_device(self.share[1], device))
        return Cost(to_device(self.total, device), share)


@dataclass(frozen=True)
class Assignment:
    """The record between strategy and objective, and the only channel between them.

    Losses, statistics and pictures all read this; so what a figure shows is what the network learned from.
    """

    pairs: Pairs
    discounts: Discounts
    normalisers: Normalisers
    # how much of the class background a location is taught: [image, location], at least 0; None: all ones
    background: Tensor | None = None
    # locations that are taught neither background nor extra outputs: bool [image, location]; None: there are none
    ignored: Tensor | None = None
    # how the pairs of an object count: None: each on its own; any: one good pair is enough; all: each has to be good
    bag: Literal["any", "all"] | None = None
    # losses on the strategy's own parameters: [], a mean over images; or a `Cost`, divided by what all processes have
    losses: Mapping[str, Tensor | Cost] = field(default_factory=dict)
    # what the strategy shows of its decision, for figures and statistics: name → [pair] or [object], without gradient
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("pairs", Pairs), ("discounts", Discounts), ("normalisers", Normalisers)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be {kind.__name__}, not {type(getattr(self, name)).__name__}")
        if self.background is not None:
            require_numbers("background", self.background, None, None)
            require_fixed("background", self.background)
        if self.ignored is not None:
            require_shape("ignored", self.ignored, None, None)
            if self.ignored.dtype != torch.bool:
                raise TypeError(f"ignored must be bool, not {str(self.ignored.dtype).removeprefix('torch.')}")
        if self.bag not in (None, "any", "all"):
            raise ValueError(f'bag must be None, "any" or "all", not {self.bag!r}')
        for what, table in (("losses", self.losses), ("diagnostics", self.diagnostics)):
            if not isinstance(table, Mapping):
                raise TypeError(f"{what} must map names to tensors, not {type(table).__name__}")
        for name, loss in self.losses.items():
            if not isinstance(loss, Cost):
                require_shape(f"losses[{name!r}]", loss)
        for name, shown in self.diagnostics.items():
            require_shape(f"diagnostics[{name!r}]", shown, None)
            require_fixed(f"diagnostics[{name!r}]", shown)

    def to(self, device: torch.device | str) -> Assignment:
        """The same record on another device; the host does not wait for it."""
        return Assignment(
            pairs=self.pairs.to(device),
            discounts=self.discounts.to(device),
            normalisers=self.normalisers.to(device),
            background=moved_to(self.background, device),
            ignored=moved_to(self.ignored, device),
            bag=self.bag,
            losses={
                name: loss.to(device) if isinstance(loss, Cost) else to_device(loss, device)
                for name, loss in self.losses.items()
            },
            diagnostics={name: to_device(shown, device) for name, shown in self.diagnostics.items()},
        )

    def check(self, predictions: Predictions, targets: Targets) -> None:
        """Refuse a record that cannot be meant: one that would train, but on something else.

        Costs a few synchronisations with the device, so training asks for it on samples only.

        Raises:
            ValueError: an index out of range, an entry twice, a weight that is not finite or negative, a
            ValueError: an index out of range, an entry twice, a weight that is not finite or negative, a
                quality or factor outside [0, 1], another precision than the network's, a bag for one good pair whose
                weights sum to more than 1, a diagnostic that is not one entry a pair or an object.
        """
        pairs, discounts, images = self.pairs, self.discounts, targets.images
        _index("Pairs.object", pairs.object, len(targets))
        _index("Pairs.location", pairs.location, predictions.locations)
        _unique("Pairs", {"object": pairs.object, "location": pairs.location})
        _index("Discounts.image", discounts.image, images)
        _index("Discounts.location", discounts.location, predictions.locations)
        _index("Discounts.label", discounts.label, predictions.classes)
        counted = discounts.counted()
        _unique("Discounts", {"image": counted.image, "location": counted.location, "class": counted.label})
        pair = {"image": targets.image[pairs.object], "object": pairs.object, "location": pairs.location}
        entry = {"image": discounts.image, "location": discounts.location, "class": discounts.label}
        kind = predictions.outputs.dtype
        for name, high in (("weight", float("inf")), ("box_weight", float("inf")), ("quality", 1.0)):
            _within(f"Pairs.{name}", getattr(pairs, name), high, kind, pair)
        for name, high in (("factor", 1.0), ("weight", float("inf"))):
            _within(f"Discounts.{name}", getattr(discounts, name), high, kind, entry)
        if self.background is not None:
            require_shape("background", self.background, images, predictions.locations)
            image, location = (torch.arange(length) for length in self.background.shape)
            everywhere = {"image": image.repeat_interleave(len(location)), "location": location.repeat(images)}
            _within("background", self.background.flatten(), float("inf"), kind, everywhere)
        if self.bag == "any":
            mass = pairs.weight.new_zeros(len(targets)).index_add(0, pairs.object, pairs.weight).detach()
            if bool((mass > 1 + BAG_ROUNDING).any()):
                most = int(mass.argmax())
                whose = _words({"image": int(targets.image[most]), "object": most})
                raise ValueError(
                    f"Pairs.weight must sum to 1 in a bag, but that of {whose} sums to {mass[most].item():g}; "
                    "`softmax_by` makes weights that do"
                )
        for name in ("positive", "box", "negative"):
            _within(f"Normalisers.{name}", getattr(self.normalisers, name), float("inf"), kind)
        if self.ignored is not None:
            require_shape("ignored", self.ignored, images, predictions.locations)
        for name, loss in self.losses.items():
            value = loss.total if isinstance(loss, Cost) else loss
            if not bool(value.isfinite()):
                raise ValueError(f"losses[{name!r}] is {value.item()}")
        for name, shown in self.diagnostics.items():
            if len(shown) not in (len(pairs), len(targets)):
                raise ValueError(
                    f"diagnostic {name!r} must have one entry a pair or an object, not shape {list(shown.shape)}"
                )


def _index(name: str, index: Tensor, count: int) -> None:
    if index.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, not {index.dtype}")
    if bool(((index < 0) | (index >= count)).any()):
        raise ValueError(f"{name} must lie in 0 … {count - 1}, but reaches from {index.min()} to {index.max()}")


def _unique(name: str, columns: Mapping[str, Tensor]) -> None:
    rows = torch.stack(tuple(columns.values()), dim=1)
    found, count = rows.unique(dim=0, return_counts=True)
    if len(found) < len(rows):
        twice = found[count > 1][0].tolist()
        entry = _words(dict(zip(columns, twice, strict=True)))
        raise ValueError(
            f"{name} must not hold an entry twice, as {entry} here; where several objects want "
            "one location, `winners` or `class_winners` says which one gets it"
        )


def _within(
    name: str, values: Tensor | None, high: float, kind: torch.dtype, entries: Mapping[str, Tensor] | None = None
) -> None:
    """Refuse numbers that are not finite, out of range or of another precision; ``entries`` says whose they are."""
    if values is None:
        return
    if values.dtype != kind:
        raise ValueError(f"{name} must be {_kind(kind)} as the network's outputs are, not {_kind(values.dtype)}")
    fine = values.isfinite() & (values >= 0) & (values <= high)
    if not bool(fine.all()):
        limit = "at least 0" if high == float("inf") else f"in [0, {high:g}]"
        first = int((~fine).flatten().nonzero()[0])
        where = "" if entries is None else f" of {_words({what: int(one[first]) for what, one in entries.items()})}"
        raise ValueError(f"{name} must be finite and {limit}, but that{where} is {values.flatten()[first].item():g}")


def _words(entry: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {number}" for what, number in entry.items())


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
