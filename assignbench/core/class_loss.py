"""What a class costs: learned at a location that is to know it, and called background where it is not.

    positive    c⁺ · ℓ(p, q)                        q: the score to learn, 1 for full confidence
    background  c⁻ · p^γ · −log(1 − p)

    focal            ℓ = |q − p|^φ · BCE(p, q)      c⁺ = α, c⁻ = 1 − α, φ = γ = 2     arXiv 1708.02002
    quality focal    the same                       c⁺ = c⁻ = 1, φ = γ = β = 2        arXiv 2006.04388, Eq. 3
    varifocal        ℓ = q · BCE(p, q)              c⁺ = 1, c⁻ = 0.75, γ = 2          arXiv 2008.13367, Eq. 2
    cross-entropy    ℓ = BCE(p, q)                  c⁺ = c⁻ = 1, γ = 0

p is the class probability σ(logit). The background of all locations and classes is one pass of `ClassOutputs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

LEAST_DISTANCE = 1e-6  # of |q − p| under a root, whose slope is infinite at 0


@dataclass(frozen=True)
class ClassLoss(ABC):
    """The cost of a class at a location."""

    positive_weight: float = 1.0  # c⁺
    negative_weight: float = 1.0  # c⁻
    gamma: float = 2.0  # γ: how much background that is learned already fades
    learns_overlap: ClassVar[bool] = False  # the score to learn is the IoU of the predicted box, unless a strategy says

    @abstractmethod
    def positive(self, logits: Tensor, quality: Tensor) -> Tensor:
        """ℓ of pairs on their own class, without c⁺: ``[pair], [pair] → [pair]``; quality in [0, 1]."""

    def background(self, logits: Tensor) -> Tensor:
        """The naive reading of one background entry, without c⁻: ``[...] → [...]``."""
        return logits.sigmoid().pow(self.gamma) * F.softplus(logits)


@dataclass(frozen=True)
class Focal(ClassLoss):
    """Focal loss: what is learned already fades."""

    positive_weight: float = 0.25  # α
    negative_weight: float = 0.75  # 1 − α
    focus: float = 2.0  # φ: how much positives that are learned already fade; 0: plain cross-entropy

    def positive(self, logits: Tensor, quality: Tensor) -> Tensor:
        """See `ClassLoss`; a quality below 1 is learned as by the quality focal loss."""
        return fading(logits, quality, self.focus)


@dataclass(frozen=True)
class QualityFocal(ClassLoss):
    """Quality focal loss: the score to learn is a quality, and positives fade as background does."""

    learns_overlap: ClassVar[bool] = True

    def positive(self, logits: Tensor, quality: Tensor) -> Tensor:
        """See `ClassLoss`."""
        return fading(logits, quality, self.gamma)


@dataclass(frozen=True)
class Varifocal(ClassLoss):
    """Varifocal loss: pairs of high quality count more, only background fades."""

    negative_weight: float = 0.75
    learns_overlap: ClassVar[bool] = True

    def positive(self, logits: Tensor, quality: Tensor) -> Tensor:
        """See `ClassLoss`."""
        return quality * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")


@dataclass(frozen=True)
class CrossEntropy(ClassLoss):
    """Binary cross-entropy: nothing fades."""

    gamma: float = 0.0

    def positive(self, logits: Tensor, quality: Tensor) -> Tensor:
        """See `ClassLoss`."""
        return F.binary_cross_entropy_with_logits(logits, quality, reduction="none")


def fading(logits: Tensor, quality: Tensor, focus: float) -> Tensor:
    """|q − p|^φ · BCE(p, q): ``[pair], [pair] → [pair]``."""
    distance = (quality - logits.sigmoid()).abs()
    if 0 < focus < 1:
        distance = distance.clamp(min=LEAST_DISTANCE)
    return distance.pow(focus) * F.binary_cross_entropy_with_logits(logits, quality, reduction="none")


CLASS_LOSSES: Mapping[str, ClassLoss] = {
    "focal": Focal(),
    "quality_focal": QualityFocal(),
    "varifocal": Varifocal(),
    "cross_entropy": CrossEntropy(),
}
