"""λ · L_box: what it costs that a pair's box is not the object's.

giou     1 − IoU + (C − U) / C                          C: area around both, U: of their union     arXiv 1902.09630
diou     1 − IoU + ρ² / c²                              ρ: between centres, c: diagonal around both arXiv 1911.08287
ciou     diou + α v,  v = 4/π² (atan w/h − atan ŵ/ĥ)²   α = v / (1 − IoU + v), without gradient
log_iou  −ln IoU, at most −ln 10⁻⁶                                                                  arXiv 1608.01471
l1       Σ |raw output − wanted| over the four coded numbers, smooth below β
distribution_focal   mean over the sides of the cross-entropy to the two whole numbers around the wanted distance,
each by its nearness; for heads whose coding is `Distribution`                arXiv 2006.04388
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.coding import Coding, Distribution
from assignbench.core.fast.giou import giou, outer
from assignbench.core.geometry import EPS, centers, iou


class CodedPairs(Protocol):
    """What a box loss reads of a list of pairs: tensors that a `PairView` computes when they are asked for."""

    @property
    def coding(self) -> Coding:
        """Of the head in use."""
        ...

    @property
    def predicted(self) -> Any:
        """``[pair, 4]``."""
        ...

    @property
    def true(self) -> Any:
        """``[pair, 4]``."""
        ...

    @property
    def regression(self) -> Any:
        """Raw outputs in the head's own coding: ``[pair, number]``."""
        ...

    @property
    def wanted(self) -> Any:
        """What they should say: ``[pair, 4]``."""
        ...

    @property
    def prior(self) -> Any:
        """``[pair, 4]``."""
        ...

    @property
    def stride(self) -> Any:
        """``[pair]``."""
        ...


LEAST_IOU = 1e-6  # under a logarithm


@dataclass(frozen=True)
class BoxLoss(ABC):
    """λ · L_box of pairs."""

    weight: float = 1.0  # λ

    @property
    def coding(self) -> Coding | None:
        """The coding that it needs; None: any."""
        return None

    @abstractmethod
    def __call__(self, pair: CodedPairs) -> Tensor:
        """Cost of each pair, ≥ 0: ``[pair]``."""


@dataclass(frozen=True)
class GIoU(BoxLoss):
    """λ · (1 − GIoU), L_box in [0, 2]."""

    weight: float = 5.0  # λ

    def __call__(self, pair: CodedPairs) -> Tensor:
        """See `BoxLoss`."""
        return self.weight * (1 - giou(pair.predicted, pair.true))


@dataclass(frozen=True)
class DIoU(BoxLoss):
    """λ · (1 − DIoU), L_box in [0, 2]."""

    weight: float = 5.0  # λ

    def __call__(self, pair: CodedPairs) -> Tensor:
        """See `BoxLoss`."""
        return self.weight * (1 - iou(pair.predicted, pair.true) + center_distance(pair.predicted, pair.true))


@dataclass(frozen=True)
class CIoU(BoxLoss):
    """λ · (1 − CIoU): as DIoU, and the shape counts."""

    weight: float = 5.0  # λ

    def __call__(self, pair: CodedPairs) -> Tensor:
        """See `BoxLoss`."""
        overlap = iou(pair.predicted, pair.true)
        angle = [((box[:, 2] - box[:, 0]) / (box[:, 3] - box[:, 1]).clamp(min=EPS)).atan() for box in
                 (pair.predicted, pair.true)]  # fmt: skip
        shape = 4 / math.pi**2 * (angle[0] - angle[1]).square()
        alpha = (shape / (1 - overlap + shape).clamp(min=EPS)).detach()
        return self.weight * (1 - overlap + center_distance(pair.predicted, pair.true) + alpha * shape)


@dataclass(frozen=True)
class LogIoU(BoxLoss):
    """λ · −ln max(IoU, 10⁻⁶)."""

    least_output: float | None = None  # raw outputs below it count as it, and are not moved; None: there is none

    def __call__(self, pair: CodedPairs) -> Tensor:
        """See `BoxLoss`."""
        predicted = pair.predicted
        if self.least_output is not None:
            predicted = pair.coding.decode(pair.regression.clamp(min=self.least_output), pair.prior, pair.stride)
        return self.weight * -iou(predicted, pair.true).clamp(min=LEAST_IOU).log()


@dataclass(frozen=True)
class SmoothL1(BoxLoss):
    """λ · Σ smooth-L1 over the coded numbers; ``beta`` 0 is plain L1."""

    beta: float = 0.0

    def __call__(self, pair: CodedPairs) -> Tensor:
        """See `BoxLoss`."""
        return self.weight * F.smooth_l1_loss(pair.regression, pair.wanted, beta=self.beta, reduction="none").sum(-1)


@dataclass(frozen=True)
class DistributionFocal(BoxLoss):
    """λ · the distribution focal loss, mean over the four sides.

    Raises:
        ValueError: the head's coding is no `Distribution`.
    """

    weight: float = 0.25  # λ

    @property
    def coding(self) -> Coding | None:
        """See `BoxLoss`."""
        return Distribution()

    def __call__(self, pair: CodedPairs) -> Tensor:
        """See `BoxLoss`."""
        coding = pair.coding
        if not isinstance(coding, Distribution):
            raise ValueError("the distribution focal loss needs a head whose coding is Distribution")
        wanted = pair.wanted  # [pair, side]
        low = wanted.floor().long()
        scores = pair.regression.unflatten(-1, (4, coding.bins)).log_softmax(-1)
        near, far = (-scores.gather(-1, (low + step)[..., None])[..., 0] for step in (0, 1))
        return self.weight * (near * (low + 1 - wanted) + far * (wanted - low)).mean(-1)


@dataclass(frozen=True)
class SumOf(BoxLoss):
    """λ · the sum of several box losses."""

    parts: tuple[BoxLoss, ...] = field(default=())

    @property
    def coding(self) -> Coding | None:
        """See `BoxLoss`."""
        return next((part.coding for part in self.parts if part.coding is not None), None)

    def __call__(self, pair: CodedPairs) -> Tensor:
        """See `BoxLoss`."""
        return self.weight * torch.stack([part(pair) for part in self.parts]).sum(0)


def center_distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of centres by the squared diagonal around both, in [0, 1]: ``[box, 4], [box, 4] → [box]``."""
    width, height = outer(a, b)
    return (centers(a) - centers(b)).square().sum(-1) / (width.square() + height.square()).clamp(min=EPS)


BOX_LOSSES: Mapping[str, BoxLoss] = {
    "giou": GIoU(),
    "diou": DIoU(),
    "ciou": CIoU(),
    "l1": SmoothL1(),
    "giou_distribution": SumOf(parts=(GIoU(), DistributionFocal())),
}
