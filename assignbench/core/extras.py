"""Outputs a strategy may ask for beside class and box: one logit per location, read off the box tower.

An extra either has a target of its own (its `loss`), and then most often scales the final score, or it joins the
class probability itself, in training and test (`ImplicitObjectness`), and needs none. A strategy asks for those that
belong to it in its `Head`; any of `EXTRAS` can be added to any strategy.

What is learned at pairs is learned once a hard pair; in a bag, whose weights sum to 1, as much as the pair weighs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.assignment import Assignment
from assignbench.core.cells import inside_pairs
from assignbench.core.geometry import centerness, centers, iou
from assignbench.core.tensors import beside
from assignbench.core.types import Predictions, Priors, Targets

LEAST_SHARE = 0.01  # of the locations taught: floor of the number in boxes


@dataclass(frozen=True)
class Cost:
    """What an extra output costs: a sum, and what the objective divides it by."""

    total: Tensor  # []
    # this process's share of a normaliser of its own, and of that normaliser's floor: [] each; the objective averages
    # both over processes, then floors at 1. None: the positive normaliser
    share: tuple[Tensor, Tensor] | None = None


class Extra(ABC):
    """One extra output. Abstract or final: share functions, not parents."""

    name: ClassVar[str]
    joins_class: ClassVar[bool] = False  # σ(extra) is a factor of every class probability of the location
    scales_score: ClassVar[bool] = False  # final score = √(class probability · σ(extra))

    @abstractmethod
    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> Cost | None:
        """What it costs; None: nothing to learn, whatever the batch."""


@dataclass(frozen=True)
class Centerness(Extra):
    """How central the location lies in the object it learns (FCOS, arXiv 1904.01355, Section 3.2)."""

    name: ClassVar[str] = "centerness"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> Cost:
        """BCE to the geometric centerness. It cannot reach 0: the target is soft, its entropy stays."""
        pairs, image = assignment.pairs, targets.image[assignment.pairs.object]
        prior = priors.boxes_at(image, pairs.location)
        wanted = centerness(targets.boxes[pairs.object], centers(prior))
        logits = predictions.extras[self.name][image, pairs.location]
        return Cost(bce(logits, wanted, bag_weight(assignment)))


@dataclass(frozen=True)
class PredictedIoU(Extra):
    """The overlap the location's box will have with its object (IoU-aware heads, PAA, OTA)."""

    weight: float = 0.5
    name: ClassVar[str] = "iou"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> Cost:
        """Weighted BCE to the overlap of the present prediction, which is not moved by it."""
        pairs, image = assignment.pairs, targets.image[assignment.pairs.object]
        with torch.no_grad():
            wanted = iou(predictions.boxes[image, pairs.location], targets.boxes[pairs.object])
        logits = predictions.extras[self.name][image, pairs.location]
        return Cost(self.weight * bce(logits, wanted, bag_weight(assignment)))


@dataclass(frozen=True)
class Objectness(Extra):
    """Is there any object to learn here? One at every pair, zero elsewhere (YOLOX, arXiv 2107.08430).

    In a bag the pair's weight is the target: locations that hardly count are hardly objects.
    """

    name: ClassVar[str] = "objectness"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> Cost:
        """BCE over all locations, but those that may not be taught background."""
        logits, pairs = predictions.extras[self.name], assignment.pairs
        weight = bag_weight(assignment)
        place = targets.image[pairs.object] * predictions.locations + pairs.location
        values = torch.ones_like(pairs.weight) if weight is None else weight.clamp(max=1)  # rounding may exceed 1
        wanted = torch.zeros_like(logits).view(-1).scatter_reduce(0, place, values.to(logits.dtype), "amax")
        return Cost(bce(logits, wanted.view_as(logits), taught(assignment, wanted.view_as(logits) > 0)))


@dataclass(frozen=True)
class ExplicitObjectness(Extra):
    """Does the location lie in any box? One inside, zero outside (AutoAssign, arXiv 2007.03496, Table 4).

    The paper gives neither weight nor normaliser: see `in_box_cost`.
    """

    name: ClassVar[str] = "explicit_objectness"
    scales_score: ClassVar[bool] = True

    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> Cost:
        """See `in_box_cost`."""
        return in_box_cost(predictions.extras[self.name], assignment, priors, targets)


@dataclass(frozen=True)
class AuxiliaryObjectness(Extra):
    """As `ExplicitObjectness`, but it leaves the score alone: a task beside, for what it teaches the tower."""

    name: ClassVar[str] = "auxiliary_objectness"

    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> Cost:
        """See `in_box_cost`."""
        return in_box_cost(predictions.extras[self.name], assignment, priors, targets)


@dataclass(frozen=True)
class ImplicitObjectness(Extra):
    """P(class) = σ(class logit) · σ(objectness logit), learned through the class loss alone.

    AutoAssign, arXiv 2007.03496, Section 3.3 "ImpObj".
    """

    name: ClassVar[str] = "implicit_objectness"
    joins_class: ClassVar[bool] = True

    def loss(self, assignment: Assignment, predictions: Predictions, priors: Priors, targets: Targets) -> None:
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


def in_box_cost(logits: Tensor, assignment: Assignment, priors: Priors, targets: Targets) -> Cost:
    """BCE over all locations to "lies in a box", over the number of locations that do.

    Outside the boxes it leaves out what may not be taught background. The normaliser is at least `LEAST_SHARE` of
    the locations taught: a batch of empty pictures must not cost thousands of times what others do.
    """
    host = targets.on_host()
    objects, locations = inside_pairs(host, priors.on_host())
    inside = torch.zeros(targets.images, len(priors), dtype=torch.bool)
    inside[host.image[objects], locations] = True
    inside = beside(inside, logits)
    weight = taught(assignment, inside)
    every = logits.new_full((), inside.numel()) if weight is None else weight.sum().to(logits.dtype)
    wanted = inside.to(logits.dtype)
    return Cost(bce(logits, wanted, weight), share=(wanted.sum(), LEAST_SHARE * every))


def bce(logits: Tensor, wanted: Tensor, weight: Tensor | None = None) -> Tensor:
    """Σ weight · BCE, all of one shape: ``[...] → []``."""
    return F.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="sum")


def bag_weight(assignment: Assignment) -> Tensor | None:
    """How much each pair of a bag counts, without gradient: ``[pair]``; None: all pairs count 1."""
    return assignment.pairs.weight.detach() if assignment.bagged else None


def taught(assignment: Assignment, certain: Tensor) -> Tensor | None:
    """How much each location is taught, 1 where it is certain: ``[image, location]``; None: 1 everywhere."""
    if assignment.background is None:
        return None
    return assignment.background.masked_fill(certain, 1.0)
