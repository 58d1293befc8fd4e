"""The codings in which a head speaks about boxes: raw outputs ↔ boxes, relative to a location's prior."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core.geometry import centers, sides

MAX_LOG_RATIO = math.log(1000 / 16)  # a delta may change width or height by this factor at most, both ways
MAX_LOG_STRIDES = 16.0  # of a length: far beyond any picture, and no box of it overflows
LEAST_STRIDES = 1e-8  # of a length under a logarithm


class Coding(ABC):
    """How the raw outputs of the head stand for a box, relative to the location's prior."""

    @property
    def outputs(self) -> int:
        """Raw outputs of a location."""
        return 4

    @abstractmethod
    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """Raw outputs → boxes: ``[..., outputs], [..., 4], [...] → [..., 4]``, broadcasting."""

    @abstractmethod
    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """Boxes → what the raw outputs should be: the targets of losses on deltas."""


@dataclass(frozen=True)
class Distances(Coding):
    """Left, top, right, bottom from the location in strides: side = ReLU(output) · unit · stride (FCOS: unit 1)."""

    unit: float = 1.0  # strides
    upright: bool = False  # whether the outputs come as top, bottom, left, right (FSAF)

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`; outputs below zero give a side of zero."""
        ordered = regression[..., (2, 0, 3, 1)] if self.upright else regression
        distance = ordered.clamp(min=0) * (self.unit * stride)[..., None]
        center = centers(priors)
        return torch.cat((center - distance[..., :2], center + distance[..., 2:]), dim=-1)

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`."""
        distance = sides(boxes, centers(priors)) / (self.unit * stride)[..., None]
        return distance[..., (1, 3, 0, 2)] if self.upright else distance


@dataclass(frozen=True)
class LogDistances(Coding):
    """Logarithms of left, top, right, bottom: side = e^output · unit · stride (FCOS at first, TOOD, VFNet, RTMDet)."""

    unit: float = 1.0  # strides
    most: float = 1e8  # what is wanted of a side is cut to 1 / most … most units

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`."""
        distance = regression.clamp(max=MAX_LOG_STRIDES).exp() * (self.unit * stride)[..., None]
        center = centers(priors)
        return torch.cat((center - distance[..., :2], center + distance[..., 2:]), dim=-1)

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`; a location outside the box cannot be said: it is asked for 1 / most units."""
        distance = sides(boxes, centers(priors)) / (self.unit * stride)[..., None]
        return distance.clamp(1 / self.most, self.most).log()


@dataclass(frozen=True)
class CenterSize(Coding):
    """The box's centre from the cell's corner, and its width and height, in strides (YOLOX, arXiv 2107.08430).

    x = corner + x_output · stride; w = e^w_output · stride. The corner lies ``offset`` strides before the location.
    """

    offset: float = 0.5

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`."""
        center = centers(priors) + (regression[..., :2] - self.offset) * stride[..., None]
        half = regression[..., 2:].clamp(max=MAX_LOG_STRIDES).exp() * stride[..., None] / 2
        return torch.cat((center - half, center + half), dim=-1)

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`."""
        shift = (centers(boxes) - centers(priors)) / stride[..., None] + self.offset
        size = (boxes[..., 2:] - boxes[..., :2]) / stride[..., None]
        return torch.cat((shift, (size + LEAST_STRIDES).log()), dim=-1)


@dataclass(frozen=True)
class Corners(Coding):
    """x0, y0, x1, y1 from the location in strides, as they come: what a network puts out that makes the boxes itself.

    So a box need not hold its location (TOOD's are read off other locations), and nothing keeps x0 below x1.
    """

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`."""
        center = centers(priors)
        return torch.cat((center, center), dim=-1) + regression * stride[..., None]

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`."""
        center = centers(priors)
        return (boxes - torch.cat((center, center), dim=-1)) / stride[..., None]


@dataclass(frozen=True)
class Deltas(Coding):
    """Shift and log-ratio relative to the prior box, each divided by its scale (Fast R-CNN's coding).

    dx = (x − x_prior) / w_prior / scale_x; dw = ln(w / w_prior) / scale_w. The shift of the centre is not
    clamped, unless ``max_shift`` says so; the log-ratio is, on both sides, at ln(1000/16).
    """

    scale: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    max_shift: float | None = None  # pixels that a prediction's centre may be off its prior's, in x and in y; None: any

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`; the stride is not used."""
        size = priors[..., 2:] - priors[..., :2]
        delta = regression * regression.new_tensor(self.scale)
        shift = delta[..., :2] * size
        if self.max_shift is not None:
            shift = shift.clamp(-self.max_shift, self.max_shift)
        center = centers(priors) + shift
        half = size * delta[..., 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() / 2
        return torch.cat((center - half, center + half), dim=-1)

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`."""
        size = priors[..., 2:] - priors[..., :2]
        shift = (centers(boxes) - centers(priors)) / size
        ratio = ((boxes[..., 2:] - boxes[..., :2]) / size).log()
        return torch.cat((shift, ratio), dim=-1) / boxes.new_tensor(self.scale)


@dataclass(frozen=True)
class Distribution(Coding):
    """Left, top, right, bottom in strides, each the mean of a distribution over 0 … bins − 1 (arXiv 2006.04388).

    side = Σ_k k · softmax(outputs)_k · stride; the outputs of a side stand side by side: ``[..., 4 · bins]``.
    """

    bins: int = 17
    rest: float = 0.01  # below the last whole number that a wanted side ends; 0.1 in the published code

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"bins must be at least 2, got {self.bins}")

    @property
    def outputs(self) -> int:
        """Raw outputs of a location."""
        return 4 * self.bins

    def decode(self, regression: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.decode`: ``[..., 4 · bins] → [..., 4]``."""
        place = torch.arange(self.bins, dtype=regression.dtype, device=regression.device)
        mean = regression.unflatten(-1, (4, self.bins)).softmax(-1) @ place
        distance, center = mean * stride[..., None], centers(priors)
        return torch.cat((center - distance[..., :2], center + distance[..., 2:]), dim=-1)

    def encode(self, boxes: Tensor, priors: Tensor, stride: Tensor) -> Tensor:
        """See `Coding.encode`: the four means, cut to 0 … bins − 1 − rest."""
        return (sides(boxes, centers(priors)) / stride[..., None]).clamp(0, self.bins - 1 - self.rest)
