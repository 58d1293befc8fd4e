"""What the detector must produce for a strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from assignbench.core.coding import Coding, Deltas, Distances
from assignbench.core.extras import Extra, joining
from assignbench.core.tensors import require_numbers
from assignbench.core.types import Predictions, Priors, RawOutputs

LEVELS = (0, 1, 2, 3, 4)  # P3 … P7
MAIN = "main"  # name of the branch that speaks at test
RESERVED = ("class", "box", "bag", "background", "total", "iteration", "lr")  # names of losses, and of a log's columns


@dataclass(frozen=True)
class Head:
    """Priors, box coding, towers and outputs; the defaults are the controlled protocol's."""

    size: float = 8.0  # side of a prior in strides: 8 · stride covers 64 … 1024 pixels on P3 … P7
    ratios: tuple[float, ...] = (1.0,)  # height over width
    octaves: tuple[float, ...] = (0.0,)  # the side is size · stride · 2^octave; ratios × octaves priors a cell
    outer: Literal["ratio", "octave"] = "ratio"  # which of the two changes more slowly in the order of a cell's priors
    levels: tuple[int, ...] = LEVELS  # of the pyramid that it speaks on: 0 is P3, 4 is P7
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
    # makes the network of the head in place of `detector.head.DenseHead`: (head, classes, channels, depth) → a module
    # that answers to (pyramid, priors) with `RawOutputs`: generated weights, predicted priors; or one of the detector's
    make: Callable[[Head, int, int, int], nn.Module] | Network | None = None
    detached: bool = False  # whether its gradient ends at the pyramid, which it then does not teach
    suppress: bool = True  # whether overlapping detections of a class are suppressed at test
    beside: tuple[Branch, ...] = ()  # further heads, which learn and do not speak at test

    def __post_init__(self) -> None:
        if not self.ratios or not self.octaves:
            raise ValueError("a head needs at least one prior a cell: ratios and octaves must not be empty")
        if self.size <= 0 or min(self.ratios) <= 0:
            raise ValueError(f"size and ratios of priors must be positive, got {self.size} and {self.ratios}")
        if not self.levels or list(self.levels) != sorted(set(self.levels) & set(LEVELS)):
            raise ValueError(f"levels of a head must be some of 0 (P3) to 4 (P7), in this order, got {self.levels}")
        if not 0 < self.class_prior < 1:
            raise ValueError(f"class_prior must lie between 0 and 1, got {self.class_prior}")
        if not (self.make is None or isinstance(self.make, Network) or callable(self.make)):
            raise TypeError(f"make must make a network, which {self.make!r} cannot do: it is not callable")
        if odd := [extra for extra in self.extras if not isinstance(extra, Extra)]:
            raise TypeError(f"extras must be objects of an Extra, as (Centerness(),), not {odd[0]!r}")
        names = [extra.name for extra in self.extras]
        if taken := [name for name in names if name in RESERVED]:
            raise ValueError(f"an extra output cannot be called {taken[0]!r}: that is the name of a loss of its own")
        if len(set(names)) < len(names):
            raise ValueError(f"an extra output is asked for twice: {', '.join(names)}")
        if wide := [
            extra.name for extra in self.extras if extra.channels > 1 and (extra.scales_score or extra.joins_class)
        ]:
            raise ValueError(f"the extra output {wide[0]!r} has several channels: one alone can be part of a score")
        joining(self.extras)
        branches = [MAIN, *(branch.name for branch in self.beside)]
        if len(set(branches)) < len(branches):
            raise ValueError(f"two branches of a head have one name: {', '.join(branches)}")

    @property
    def priors_per_cell(self) -> int:
        """Locations of one cell."""
        return len(self.ratios) * len(self.octaves)

    def by_branch(self) -> dict[str, Head]:
        """The head of each branch by its name, `MAIN` first; a branch without a head of its own has this one."""
        return {MAIN: self, **{branch.name: branch.head or self for branch in self.beside}}

    def controlled(self) -> Head:
        """The head of the controlled protocol: priors, extras and branches stay, all else is the same for everybody."""
        return Head(
            size=self.size,
            ratios=self.ratios,
            octaves=self.octaves,
            extras=self.extras,
            make=self.make,
            detached=self.detached,
            suppress=self.suppress,
            beside=tuple(branch.controlled() for branch in self.beside),
        )

    def coded(self, coding: Coding) -> Head:
        """The same head, and its branches, with another box coding."""
        beside = tuple(replace(one, head=one.head and one.head.coded(coding)) for one in self.beside)
        return replace(self, coding=coding, beside=beside)

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


@dataclass(frozen=True)
class Network:
    """A network that the detector has for heads, by name: see `detector.networks`."""

    name: str
    numbers: tuple[tuple[str, float], ...] = ()  # what it is built with, by name

    @classmethod
    def called(cls, name: str, **numbers: float) -> Network:
        """The network of a name, with numbers that are not its defaults."""
        return cls(name, tuple(sorted(numbers.items())))


@dataclass(frozen=True)
class Branch:
    """One more head on the same pyramid, with an assignment of its own: it learns, and does not speak at test."""

    name: str
    head: Head | None = None  # None: the outputs of the main head, taught a second time

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the name of a branch must be an identifier, got {self.name!r}")
        if self.head is not None and self.head.beside:
            raise ValueError(f"the head of branch {self.name!r} must not have branches of its own")

    def controlled(self) -> Branch:
        """As `Head.controlled`."""
        return self if self.head is None else replace(self, head=self.head.controlled())


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


def predictions_of(raw: RawOutputs, head: Head, priors: Priors, pyramid: tuple[Tensor, ...] = ()) -> Predictions:
    """The head's raw outputs as strategies and objective read them: boxes decoded, joining extras joined.

    Raises:
        ValueError: the outputs are not those of this head for these priors.
    """
    fitting(raw, head, priors)
    boxes = head.coding.decode(raw.regression, priors.boxes, priors.stride)
    for extra in head.extras:
        boxes = extra.moved(boxes, raw.extras[extra.name], priors.points)
    return Predictions(
        outputs=raw.logits,
        boxes=boxes,
        regression=raw.regression,
        extras=raw.extras,
        joined=joining(head.extras),
        pyramid=pyramid,
    )


def fitting(raw: RawOutputs, head: Head, priors: Priors) -> None:
    """Refuse outputs that are not those of a head: what a network of a strategy's own may get wrong."""
    if not isinstance(raw, RawOutputs):
        raise TypeError(f"the head's network must put out RawOutputs, not {type(raw).__name__}")
    locations = priors.boxes.shape[-2]  # a length would become a fixed number in an exported network
    require_numbers("RawOutputs.logits", raw.logits, None, locations, None)
    images = raw.logits.shape[0]
    require_numbers("RawOutputs.regression", raw.regression, images, locations, head.coding.outputs)
    if raw.priors is not None:
        require_numbers("RawOutputs.priors", raw.priors, images, locations, 4)
    if set(raw.extras) != {extra.name for extra in head.extras}:
        asked = ", ".join(extra.name for extra in head.extras) or "none"
        raise ValueError(
            f"the head's network puts out the extras {', '.join(raw.extras) or 'none'}, asked for: {asked}"
        )
    for extra in head.extras:
        axes = (images, locations, *(() if extra.channels == 1 else (extra.channels,)))
        require_numbers(f"RawOutputs.extras[{extra.name!r}]", raw.extras[extra.name], *axes)
