"""Everything about a list of pairs, seen once: by the strategy that weighs them and by the objective that charges them.

    ℓ      = c⁺ · ℓ_class(p, q)  +  w · λ · L_box     one pair, learned on its own
    ℓ_bag  = −log p + λ · L_box                       one pair of a bag: P = exp(−ℓ_bag) is its likelihood

Each quantity is computed when it is first asked for, with its gradient whatever the caller's mode is, and kept. The
objective asks for the same view that the strategy asked for, so nothing is computed twice, and nothing that a strategy
puts out can take the place of what is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from assignbench.core.box_loss import BoxLoss, GIoU
from assignbench.core.class_loss import ClassLoss, Focal
from assignbench.core.coding import Coding
from assignbench.core.fast.class_outputs import OverClasses, by_location, join_logits
from assignbench.core.fast.entries import entry_by_entry
from assignbench.core.fast.rows import object_chunks
from assignbench.core.geometry import centers, iou, pick, take
from assignbench.core.types import Predictions, Priors, Targets

KEPT = 4  # views of a batch that are kept at a time


@dataclass(frozen=True)
class PairLoss:
    """What teaching one location one object costs; see the module's formulas."""

    classes: ClassLoss = field(default_factory=Focal)
    box: BoxLoss = field(default_factory=GIoU)
    weight: float = 0.25  # w: of box parts and of bags beside background; α of the focal loss in every paper
    # whether the cost of a bag ends at 100, and its gradient fades from 28 on, as in the references' cross-entropy
    floored: bool = False
    # what weighs the box part of each pair in place of the strategy's box weights, and sums to its normaliser: the
    # highest class probability of the location (GFL), or the overlap of its box (VFNet); neither carries gradient
    weigh_by: Literal["score", "overlap"] | None = None

    def __post_init__(self) -> None:
        for part, kind in ((self.classes, ClassLoss), (self.box, BoxLoss)):
            if not isinstance(part, kind):
                raise TypeError(
                    f"a PairLoss is made of objects, as PairLoss(Focal(), GIoU()); {part!r} is no {kind.__name__}"
                )

    def weighing_boxes(self, weight: float) -> PairLoss:
        """The same with another λ."""
        return replace(self, box=replace(self.box, weight=weight))


SEEN: set[str] = set()  # names of all that a view shows


def _seen(compute: Callable[[Any], Tensor]) -> cached_property[Tensor]:
    """Computed once, with gradient even where the first who asks wants none: the next may want it."""

    def once(self: PairView) -> Tensor:
        with torch.enable_grad():
            value = compute(self)
        self._made[compute.__name__] = value, value._version
        return value

    SEEN.add(compute.__name__)
    once.__doc__ = compute.__doc__
    return cached_property(once)


@dataclass(frozen=True, eq=False)
class PairView:
    """What is known about pairs; all ``[pair]`` unless said otherwise."""

    objects: Tensor  # int64, index into the targets
    locations: Tensor  # int64
    predictions: Predictions
    priors: Priors
    targets: Targets
    coding: Coding
    loss: PairLoss
    progress: float = 0.0
    _made: dict[str, tuple[Tensor, int]] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.objects)

    def intact(self) -> PairView:
        """The same view, if nobody has written to what it shows.

        Raises:
            ValueError: names the quantity.
        """
        for name in SEEN & (self.__dict__.keys() | self._made.keys()):
            value, version = self._made.get(name, (None, None))
            if value is None or self.__dict__.get(name) is not value or value._version != version:
                raise ValueError(f"view.{name} was changed by the strategy; it is for reading: work on a copy")
        return self

    @_seen
    def image(self) -> Tensor:
        """The object's image, int64."""
        return pick(self.targets.image, self.objects)

    @_seen
    def label(self) -> Tensor:
        """The object's class, int64."""
        return pick(self.targets.labels, self.objects)

    @_seen
    def place(self) -> Tensor:
        """Index of image and location among all locations of the batch, int64."""
        return torch.add(self.locations, self.image, alpha=self.predictions.locations)

    @_seen
    def stride(self) -> Tensor:
        """Stride of the location's level, pixels."""
        return pick(self.priors.stride, self.locations)

    @_seen
    def level(self) -> Tensor:
        """Level of the location, int64, 0 = finest."""
        return pick(self.priors.level, self.locations)

    @_seen
    def point(self) -> Tensor:
        """The location's x, y in pixels: ``[pair, 2]``."""
        return take(self.priors.points, self.locations)

    @_seen
    def offset(self) -> Tensor:
        """From the box's centre to the location, in strides: ``[pair, 2]``."""
        return (self.point - take(centers(self.targets.boxes), self.objects)) / self.stride[:, None]

    @_seen
    def true(self) -> Tensor:
        """The object's box: ``[pair, 4]``."""
        return take(self.targets.boxes, self.objects)

    @_seen
    def prior(self) -> Tensor:
        """The location's prior box: ``[pair, 4]``."""
        return self.priors.boxes_at(self.image, self.locations)

    @_seen
    def predicted(self) -> Tensor:
        """The location's predicted box: ``[pair, 4]``."""
        return take(self.predictions.boxes, self.place)

    @_seen
    def regression(self) -> Tensor:
        """The same as raw outputs in the head's own coding: ``[pair, number]``."""
        return take(self.predictions.regression, self.place)

    @_seen
    def wanted(self) -> Tensor:
        """What a raw output should be, the object's box in the head's own coding: ``[pair, 4]``."""
        return self.coding.encode(self.true, self.prior, self.stride)

    @_seen
    def overlap(self) -> Tensor:
        """IoU of the predicted and the object's box, without gradient."""
        with torch.no_grad():
            return iou(self.predicted, self.true)

    @_seen
    def score(self) -> Tensor:
        """Highest class probability of the location, of any class, without gradient."""
        with torch.no_grad():
            return self._all_logits().amax(-1).sigmoid()

    @_seen
    def logit(self) -> Tensor:
        """Logit of the object's own class."""
        return self.predictions.logits_at(self.image, self.locations, self.label)

    @_seen
    def class_part(self) -> Tensor:
        """−log p of the own class, what it costs in a bag. No focusing: exp(−ℓ_bag) has to be a probability."""
        return self.predictions.surprise_at(self.image, self.locations, self.label)

    @_seen
    def box_part(self) -> Tensor:
        """λ · L_box."""
        return self.loss.box(self)

    @_seen
    def cost(self) -> Tensor:
        """ℓ_bag = −log p + λ · L_box."""
        return self.class_part + self.box_part

    @_seen
    def likelihood(self) -> Tensor:
        """P = exp(−ℓ_bag) = p · exp(−λ · L_box)."""
        return (-self.cost).exp()

    @_seen
    def class_cost(self) -> Tensor:
        """What all classes of the location cost if it learns this object alone, without gradient.

        c⁺ ℓ_class(p, q) of the own class and c⁻ p^γ · −log(1 − p) of every other one.
        """
        with torch.no_grad():
            classes = self.loss.classes
            quality = self.overlap if classes.learns_overlap else torch.ones_like(self.overlap)
            own = classes.positive_weight * classes.positive(self.logit, quality)
            costs = torch.empty_like(own)
            for some in object_chunks(len(self), self.predictions.classes, own.device):
                each = classes.negative_weight * classes.background(self._all_logits(some))
                torch.sum(each.scatter_(1, self.label[some, None], own[some, None]), dim=-1, out=costs[some])
            return costs

    @torch.no_grad()
    def alignment(self, alpha: float, beta: float) -> Tensor:
        """p^α · IoU^β of the own class and the predicted box, by which TOOD and POTO rank; equal pairs rank alike."""
        return entry_by_entry(lambda logit, u: logit.sigmoid() ** alpha * u**beta, self.logit.detach(), self.overlap)

    @torch.no_grad()
    def beyond_background(self, quality: Tensor) -> Tensor:
        """What the own class costs with q ``[pair]`` as the score to learn, less what it costs as background."""
        classes = self.loss.classes
        background = classes.negative_weight * classes.background(self.logit)
        return classes.positive_weight * classes.positive(self.logit, quality) - background

    def _all_logits(self, some: slice = slice(None)) -> Tensor:
        """Logits of all classes of the location, of some pairs: ``[some, class]``."""
        predictions, place = self.predictions, self.place[some]
        logits = predictions.outputs.flatten(0, 1).index_select(0, place)
        if predictions.joined is None:
            return logits
        return join_logits(logits, pick(predictions.extras[predictions.joined].flatten(), place))

    def on_map(self, values: Tensor, elsewhere: Tensor) -> Tensor:
        """Numbers at the pairs' locations, others elsewhere: ``[pair], [image, location] → [image, location]``."""
        return elsewhere.flatten().index_copy(0, self.place, values).view_as(elsewhere)

    def extra_logit(self, name: str) -> Tensor:
        """Logits of an extra output: ``[pair]``, or ``[pair, channel]`` of several channels."""
        if name not in self.predictions.extras:
            known = ", ".join(self.predictions.extras) or "none"
            raise ValueError(f"the head has no extra output {name!r}; it has: {known}")
        return self.predictions.extras[name][self.image, self.locations]


@dataclass(frozen=True, eq=False)
class PairViews:
    """A batch as pairs see it: ``view(objects, locations)``. The same lists give the same view, computed once."""

    predictions: Predictions
    priors: Priors
    targets: Targets
    coding: Coding
    loss: PairLoss = field(default_factory=PairLoss)
    progress: float = 0.0  # how far training is, from 0 to 1
    _kept: list[tuple[PairView, int, int]] = field(default_factory=list, init=False, repr=False)

    def __call__(self, objects: Tensor, locations: Tensor) -> PairView:
        """The view of a list of pairs: ``[pair]`` each. A list that was written to is another list."""
        versions = objects._version, locations._version
        for view, *seen in self._kept:
            if view.objects is objects and view.locations is locations and tuple(seen) == versions:
                return view
        view = self.unkept(objects, locations)
        self._kept.append((view, *versions))
        del self._kept[:-KEPT]
        return view

    def unkept(self, objects: Tensor, locations: Tensor) -> PairView:
        """As a call, for a list of pairs that nobody will ask for again."""
        own = self.predictions, self.priors, self.targets, self.coding, self.loss, self.progress
        return PairView(objects, locations, *own)

    def background(self) -> Tensor:
        """What each location costs if it learns no object, without gradient: ``[image, location]``.

        c⁻ · p^γ · −log(1 − p), summed over the classes.
        """
        predictions, classes = self.predictions, self.loss.classes
        extra = None if predictions.joined is None else predictions.extras[predictions.joined]
        return classes.negative_weight * by_location(classes.background, predictions.outputs, extra)

    def over_classes(self, cost: Callable[[Tensor, Tensor], Tensor]) -> OverClasses:
        """Σ over classes of a cost of logits ``[some, class]`` at places ``[some]``, at those that are asked for.

        A place is an image · locations + a location, as in `PairView.place`. Without gradient.
        """
        quiet = self.predictions.detached()
        return OverClasses(cost, quiet.outputs, None if quiet.joined is None else quiet.extras[quiet.joined])

    def detached(self) -> PairViews:
        """The same batch without gradient, for a strategy that looks at far more pairs than it chooses."""
        return replace(self, predictions=self.predictions.detached())

    def intact(self) -> None:
        """Refuse the batch where somebody has written to what a view shows; see `PairView.intact`."""
        for view, *_ in self._kept:
            view.intact()
