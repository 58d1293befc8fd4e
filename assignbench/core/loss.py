"""What teaching one location one object costs, and what background costs.

    ℓ      = −log p · (1 − p)^φ + λ · L_box         one pair, learned on its own (focal loss, arXiv 1708.02002)
    ℓ_bag  = −log p             + λ · L_box         one pair of a bag: exp(−ℓ_bag) is its likelihood
    ℓ⁻     = −log(1 − p) · p^γ                      one class at one location that should be background

p is the class probability σ(logit); φ and γ are both 2 in the focal loss. Positive sums are weighted by α,
negative ones by 1 − α, so a pair's box part counts α·λ: with α = 1/4 and λ = 5 that is 1.25 times GIoU.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch.nn.functional as F
from torch import Tensor

from assignbench.core.geometry import Coding, giou, pick, take
from assignbench.core.types import Predictions, Priors, Targets


@dataclass(frozen=True)
class PairBoxes:
    """The boxes of a list of pairs, in all forms a box loss may want; each is gathered when it is asked for."""

    predictions: Predictions
    priors: Priors
    targets: Targets
    objects: Tensor  # [pair]
    locations: Tensor  # [pair]
    coding: Coding

    @property
    def predicted(self) -> Tensor:
        """Decoded boxes: ``[pair, 4]``."""
        return take(self.predictions.boxes, self._place)

    @property
    def regression(self) -> Tensor:
        """The same as raw head outputs: ``[pair, 4]``."""
        return take(self.predictions.regression, self._place)

    @property
    def true(self) -> Tensor:
        """The objects' boxes: ``[pair, 4]``."""
        return take(self.targets.boxes, self.objects)

    @property
    def prior(self) -> Tensor:
        """``[pair, 4]``."""
        return take(self.priors.boxes, self.locations if self.priors.boxes.ndim == 2 else self._place)

    @property
    def stride(self) -> Tensor:
        """``[pair]``."""
        return self.priors.stride[self.locations]

    @cached_property
    def _place(self) -> Tensor:
        return pick(self.targets.image, self.objects) * self.predictions.locations + self.locations


@dataclass(frozen=True)
class BoxLoss(ABC):
    """λ · L_box of pairs."""

    weight: float = 1.0  # λ

    @abstractmethod
    def __call__(self, boxes: PairBoxes) -> Tensor:
        """Cost of each pair, ≥ 0: ``[pair]``."""


@dataclass(frozen=True)
class GIoU(BoxLoss):
    """λ · (1 − GIoU), L_box in [0, 2] (arXiv 1902.09630)."""

    weight: float = 5.0  # λ

    def __call__(self, boxes: PairBoxes) -> Tensor:
        """See `BoxLoss`."""
        return self.weight * (1 - giou(boxes.predicted, boxes.true))


@dataclass(frozen=True)
class SmoothL1(BoxLoss):
    """λ · Σ smooth-L1 over the four coded numbers; ``beta`` 0 is plain L1."""

    beta: float = 0.0

    def __call__(self, boxes: PairBoxes) -> Tensor:
        """See `BoxLoss`."""
        wanted = boxes.coding.encode(boxes.true, boxes.prior, boxes.stride)
        return self.weight * F.smooth_l1_loss(boxes.regression, wanted, beta=self.beta, reduction="none").sum(-1)


@dataclass(frozen=True)
class PairLoss:
    """The cost of one pair and of background; see the module's formulas."""

    alpha: float = 0.25  # share of the positive terms; the negative ones get 1 − alpha
    focus: float = 2.0  # φ: how much positives that are learned already fade; 0: plain cross-entropy
    gamma: float = 2.0  # γ: how much background that is learned already fades
    box: BoxLoss = field(default_factory=GIoU)

    def weighing_boxes(self, weight: float) -> PairLoss:
        """The same with another λ."""
        return replace(self, box=replace(self.box, weight=weight))

    def class_part(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Focal cost of pairs on their own class: ``[pair], [pair] → [pair]``.

        ``quality`` is the score to learn; at 1 this is the focal loss, below it the quality focal loss
        |q − p|^φ · BCE(p, q) (arXiv 2006.04388, Eq. 1).
        """
        distance = (quality - logits.sigmoid()).abs()
        return distance.pow(self.focus) * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")

    def likelihood_part(self, logits: Tensor) -> Tensor:
        """−log p of pairs in a bag: ``[pair] → [pair]``. No focusing: exp(−ℓ) has to be a probability."""
        return F.softplus(-logits)

    def background_part(self, logits: Tensor) -> Tensor:
        """Focal cost of calling these background: ``[...] → [...]``. Of all outputs: `Ledger.background`."""
        return logits.sigmoid().pow(self.gamma) * F.softplus(logits)


def pair_logits(predictions: Predictions, targets: Targets, objects: Tensor, locations: Tensor) -> Tensor:
    """The logit of each object's own class at its pair's location: ``[pair], [pair] → [pair]``."""
    return predictions.logits_at(pick(targets.image, objects), locations, pick(targets.labels, objects))


def pair_likelihood(
    predictions: Predictions,
    priors: Priors,
    targets: Targets,
    objects: Tensor,
    locations: Tensor,
    *,
    loss: PairLoss,
    coding: Coding,
) -> Tensor:
    """exp(−ℓ_bag) = p · exp(−λ L_box) of pairs, what a bag is made of: ``[pair], [pair] → [pair]``."""
    cost = pair_cost(predictions, priors, targets, objects, locations, loss=loss, coding=coding)
    return (-cost).exp()


def pair_cost(
    predictions: Predictions,
    priors: Priors,
    targets: Targets,
    objects: Tensor,
    locations: Tensor,
    *,
    loss: PairLoss,
    coding: Coding,
) -> Tensor:
    """ℓ_bag = −log p + λ L_box of pairs: ``[pair], [pair] → [pair]``."""
    cost = loss.likelihood_part(pair_logits(predictions, targets, objects, locations))
    return cost + loss.box(PairBoxes(predictions, priors, targets, objects, locations, coding))
