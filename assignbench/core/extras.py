"""Outputs a strategy may ask for beside class and box: logits of every location, read off one of the towers.

An extra either has a target of its own (its `loss`), and then most often scales the final score, or it joins the
class probability itself, in training and test (`ImplicitObjectness`), and needs none. A strategy asks for those that
belong to it in its `Head`; any of `EXTRAS` can be added to any strategy.

What is learned at pairs is learned as much as the pair weighs: a pair of weight 0 teaches nothing. What is learned at
all locations leaves out those that the record ignores; whether a location is taught the background of *classes* is
another matter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.assignment import Assignment, Cost
from assignbench.core.fast.giou import giou
from assignbench.core.fast.grid import inside_pairs
from assignbench.core.geometry import centerness, iou, sides
from assignbench.core.pair_view import PairViews
from assignbench.core.types import Priors

MAX_LOG_FACTOR = 10.0  # of a side
LEAST_OVERLAP = 1e-6  # a first box that misses its object is still taught
LEAST_SHARE = 0.01  # of the locations taught: floor of the number in boxes


class Extra(ABC):
    """One extra output. Abstract or final: share functions, not parents."""

    name: ClassVar[str]
    channels: ClassVar[int] = 1  # logits of a location
    joins_class: ClassVar[bool] = False  # σ(extra) is a factor of every class probability of the location
    scales_score: ClassVar[bool] = False  # final score = √(class probability · σ(extra))
    least: ClassVar[float] = 0.0  # a location whose σ(extra) is less is no candidate at test
    tower: ClassVar[Literal["class", "box"]] = "box"  # whose features it is read off
    bias: ClassVar[float] = 0.0  # initial value of its logits

    @abstractmethod
    def loss(self, assignment: Assignment, view: PairViews) -> Cost | None:
        """What it costs; None: nothing to learn, whatever the batch."""

    def predicted_priors(self, raw: Tensor, priors: Priors) -> Tensor | None:
        """The boxes that it puts in the place of the priors, without gradient; None: it leaves the priors alone.

        Args:
            raw: what it puts out, ``[image, location]`` or ``[image, location, channel]``.
            priors: the head's own.

        Returns:
            ``[image, location, 4]``.
        """
        return None

    def moved(self, boxes: Tensor, values: Tensor, points: Tensor) -> Tensor:
        """The predicted boxes as this output moves them; most do not.

        Args:
            boxes: ``[image, location, 4]``.
            values: of this output: ``[image, location]``, or ``[image, location, channel]``.
            points: x, y of the locations: ``[location, 2]``.
        """
        del values, points
        return boxes


@dataclass(frozen=True)
class Centerness(Extra):
    """How central the location lies in the object it learns (FCOS, arXiv 1904.01355, Section 3.2)."""

    outside: float = 0.0  # centerness of a location that lies outside its object's box
    name: ClassVar[str] = "centerness"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """BCE to the geometric centerness. It cannot reach 0: the target is soft, its entropy stays."""
        pair = view(assignment.pairs.object, assignment.pairs.location)
        wanted = centerness(pair.true, pair.point)
        if self.outside:
            wanted = wanted.where(wanted > 0, self.outside)
        return Cost(bce(pair.extra_logit(self.name), wanted, assignment.pairs.weight.detach()))


@dataclass(frozen=True)
class PredictedIoU(Extra):
    """The overlap the location's box will have with its object (IoU-aware heads, PAA, OTA)."""

    weight: float = 0.5
    # where it is learned, and how much: as the class of a pair, or as its box, where the two have weights of their own
    at: Literal["class", "box"] = "class"
    name: ClassVar[str] = "iou"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """Weighted BCE to the overlap of the present prediction, which is not moved by it."""
        pairs, count = assignment.pairs, assignment.normalisers.box
        pair, weight = view(pairs.object, pairs.location), pairs.weight if self.at == "class" else pairs.box_weight
        total = self.weight * bce(pair.extra_logit(self.name), pair.overlap, weight.detach())
        return Cost(total, share=None if self.at == "class" else (count, torch.zeros_like(count)))


@dataclass(frozen=True)
class Objectness(Extra):
    """Is there any object to learn here? One at every pair, zero elsewhere (YOLOX, arXiv 2107.08430).

    In a bag the pair's weight is the target: locations that hardly count are hardly objects.
    """

    name: ClassVar[str] = "objectness"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """BCE over all locations, but those that the record ignores."""
        logits, pairs = view.predictions.extras[self.name], assignment.pairs
        weight = pairs.weight.detach().to(logits.dtype)
        values = (
            (weight > 0).to(logits.dtype) if assignment.bag is None else weight.clamp(max=1)
        )  # rounding may exceed 1
        place = view(pairs.object, pairs.location).place
        wanted = torch.zeros_like(logits).view(-1).scatter_reduce(0, place, values, "amax").view_as(logits)
        return Cost(bce(logits, wanted, taught(assignment, wanted > 0)))


@dataclass(frozen=True)
class ExplicitObjectness(Extra):
    """Does the location lie in any box? One inside, zero outside (AutoAssign, arXiv 2007.03496, Table 4).

    The paper gives neither weight nor normaliser: see `in_box_cost`.
    """

    name: ClassVar[str] = "explicit_objectness"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """See `in_box_cost`."""
        return in_box_cost(self.name, assignment, view)


@dataclass(frozen=True)
class AuxiliaryObjectness(Extra):
    """As `ExplicitObjectness`, but it leaves the score alone: a task beside, for what it teaches the tower."""

    name: ClassVar[str] = "auxiliary_objectness"

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """See `in_box_cost`."""
        return in_box_cost(self.name, assignment, view)


@dataclass(frozen=True)
class Refinement(Extra):
    """A second look at each box: factors of the distances from the location to its sides (VFNet, arXiv 2008.13367).

    side = e^output · side of the first box. The box loss teaches the factors alone, and all that reads predictions
    sees the second box; the first box is taught here, at the pairs, each as much as it overlaps its object.
    """

    weight: float = 1.5
    name: ClassVar[str] = "refinement"
    channels: ClassVar[int] = 4

    def moved(self, boxes: Tensor, values: Tensor, points: Tensor) -> Tensor:
        """See `Extra.moved`."""
        side = sides(boxes.detach(), points) * values.clamp(max=MAX_LOG_FACTOR).exp()
        return torch.cat((points - side[..., :2], points + side[..., 2:]), dim=-1)

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """Weight · (1 − GIoU) of the first box, over the sum of what weighs it."""
        pair = view(assignment.pairs.object, assignment.pairs.location)
        first = view.coding.decode(pair.regression, pair.prior, pair.stride)
        overlap = iou(first.detach(), pair.true).clamp(min=LEAST_OVERLAP)
        share = assignment.pairs.weight.detach() * overlap
        total = self.weight * (share * (1 - giou(first, pair.true))).sum()
        return Cost(total, share=(share.sum(), torch.zeros_like(share.sum())))


@dataclass(frozen=True)
class ImplicitObjectness(Extra):
    """P(class) = σ(class logit) · σ(objectness logit), learned through the class loss alone.

    AutoAssign, arXiv 2007.03496, Section 3.3 "ImpObj".
    """

    name: ClassVar[str] = "implicit_objectness"
    joins_class: ClassVar[bool] = True

    def loss(self, assignment: Assignment, view: PairViews) -> None:
        """Nothing of its own."""
        return


def joining(extras: Iterable[Extra]) -> str | None:
    """Name of the extra that joins the class probability; one at most."""
    names = [extra.name for extra in extras if extra.joins_class]
    if len(names) > 1:
        raise ValueError(f"only one extra may join the class probability, not {' and '.join(names)}")
    return names[0] if names else None


# Those that can be added to any strategy, by name.
EXTRAS: Mapping[str, Extra] = {
    extra.name: extra
    for extra in (
        ImplicitObjectness(),
        Centerness(),
        PredictedIoU(),
        Objectness(),
        ExplicitObjectness(),
        AuxiliaryObjectness(),
    )
}


def in_box_cost(name: str, assignment: Assignment, view: PairViews) -> Cost:
    """BCE over all locations to "lies in a box", over the number of locations that do.

    Outside the boxes it leaves out what the record ignores. The normaliser is at least `LEAST_SHARE` of the locations
    taught: a batch of empty pictures must not cost thousands of times what others do.
    """
    logits, targets = view.predictions.extras[name], view.targets
    objects, locations = inside_pairs(targets, view.priors)
    inside = torch.zeros_like(logits, dtype=torch.bool)
    inside.view(-1).index_fill_(0, targets.image[objects] * len(view.priors) + locations, True)
    weight = taught(assignment, inside)
    every = logits.new_full((), inside.numel()) if weight is None else weight.sum()
    wanted = inside.to(logits.dtype)
    return Cost(bce(logits, wanted, weight), share=(wanted.sum(), LEAST_SHARE * every))


def bce(logits: Tensor, wanted: Tensor, weight: Tensor | None = None) -> Tensor:
    """Σ weight · BCE, all of one shape: ``[...] → []``."""
    return F.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="sum")


def taught(assignment: Assignment, certain: Tensor) -> Tensor | None:
    """1 where an extra is taught, and where it is certain: float ``[image, location]``; None: 1 everywhere."""
    if assignment.ignored is None:
        return None
    return (~assignment.ignored | certain).float()
