"""What a replay found: one number a quantity, and what it may be at most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LOSS, GRADIENT, OUTPUT = 1e-5, 1e-4, 1e-4  # relative errors that are allowed
BOX, SCORE = 1e-2, 1e-5  # of detections: pixels, and absolute


@dataclass(frozen=True)
class Quantity:
    """One thing that was compared."""

    name: str  # "loss cls", "gradient reg.2", "assigned 0"
    error: float  # relative error, pixels, or a count of differing entries


@dataclass(frozen=True)
class Check:
    """The worst of a group of quantities that share a tolerance."""

    group: str  # "losses", "gradients", "assigned", …
    worst: Quantity
    tolerance: float

    @property
    def passed(self) -> bool:
        """NaN is no pass."""
        return self.worst.error <= self.tolerance


@dataclass(frozen=True)
class Replay:
    """One file of vectors, replayed."""

    strategy: str
    kind: str  # losses, network, detections, trajectory
    case: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything is within its tolerance."""
        return all(check.passed for check in self.checks)


def relative(ours: Tensor, golden: Tensor) -> float:
    """‖ours − golden‖ / ‖golden‖ in float64; infinite where golden is 0 and ours is not, or shapes differ."""
    if ours.shape != golden.shape:
        return math.inf
    ours, golden = ours.detach().double().cpu(), golden.detach().double().cpu()
    distance, size = torch.linalg.vector_norm(ours - golden).item(), torch.linalg.vector_norm(golden).item()
    if size == 0:
        return math.inf if distance else 0.0
    return distance / size


def worst(group: str, quantities: Iterable[Quantity], tolerance: float) -> Iterator[Check]:
    """The check of a group; none when there is nothing in it."""
    listed = list(quantities)
    if listed:
        # NaN compares with nothing: it counts as the worst there can be
        yield Check(group, max(listed, key=lambda one: math.inf if math.isnan(one.error) else one.error), tolerance)
