"""Outputs a strategy may ask for beside class and box: one logit per location, read off the box tower.

An extra either is learned from the pairs (its `loss`) and then scales the final score, or it joins the
class probability itself, in training and test (`ImplicitObjectness`), and needs no target of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.geometry import centerness, centers, iou
from assignbench.core.types import Pairs, Predictions, Priors, Targets


class Extra(ABC):
    """One extra output. Abstract or final: share functions, not parents."""

    name: ClassVar[str]
    joins_class: ClassVar[bool] = False  # σ(extra) is a factor of every class probability of the location
    scales_score: ClassVar[bool] = False  # final score = √(class probability · σ(extra))

    @abstractmethod
    def loss(self, pairs: Pairs, predictions: Predictions, priors: Priors, targets: Targets) -> Tensor | None:
        """Sum over pairs (the objective divides it by the positive normaliser); None: nothing to learn."""


@dataclass(frozen=True)
class Centerness(Extra):
    """How central the location lies in the object it learns (FCOS, arXiv 1904.01355, Section 3.2)."""

    name: ClassVar[str] = "centerness"
    scales_score: ClassVar[bool] = True

    def loss(self, pairs: Pairs, predictions: Predictions, priors: Priors, targets: Targets) -> Tensor:
        """BCE to the geometric centerness. It cannot reach 0: the target is soft, its entropy stays."""
        image = targets.image[pairs.object]
        prior = priors.boxes_at(image, pairs.location)
        wanted = centerness(targets.boxes[pairs.object], centers(prior))
        logits = predictions.extras[self.name][image, pairs.location]
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")


@dataclass(frozen=True)
class PredictedIoU(Extra):
    """The overlap the location's box will have with its object (IoU-aware heads, PAA, OTA)."""

    weight: float = 0.5
    name: ClassVar[str] = "iou"
    scales_score: ClassVar[bool] = True

    def loss(self, pairs: Pairs, predictions: Predictions, priors: Priors, targets: Targets) -> Tensor:
        """Weighted BCE to the overlap of the present prediction, which is not moved by it."""
        image = targets.image[pairs.object]
        with torch.no_grad():
            wanted = iou(predictions.boxes[image, pairs.location], targets.boxes[pairs.object])
        logits = predictions.extras[self.name][image, pairs.location]
        return self.weight * F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")


@dataclass(frozen=True)
class Objectness(Extra):
    """Is there any object to learn here? One at every pair, zero elsewhere (YOLOX, arXiv 2107.08430)."""

    name: ClassVar[str] = "objectness"
    scales_score: ClassVar[bool] = True

    def loss(self, pairs: Pairs, predictions: Predictions, priors: Priors, targets: Targets) -> Tensor:
        """BCE over all locations of all images."""
        logits = predictions.extras[self.name]
        wanted = torch.zeros_like(logits)
        wanted[targets.image[pairs.object], pairs.location] = 1
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")


@dataclass(frozen=True)
class ImplicitObjectness(Extra):
    """P(class) = σ(class logit) · σ(objectness logit), learned through the class loss alone.

    AutoAssign, arXiv 2007.03496, Section 3.3 "ImpObj".
    """

    name: ClassVar[str] = "implicit_objectness"
    joins_class: ClassVar[bool] = True

    def loss(self, pairs: Pairs, predictions: Predictions, priors: Priors, targets: Targets) -> None:
        """Nothing of its own."""
        return


def joining(extras: Iterable[Extra]) -> str | None:
    """Name of the extra that joins the class probability; one at most."""
    names = [extra.name for extra in extras if extra.joins_class]
    if len(names) > 1:
        raise ValueError(f"only one extra may join the class probability, not {' and '.join(names)}")
    return names[0] if names else None
