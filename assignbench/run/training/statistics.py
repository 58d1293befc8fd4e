"""Assignment → statistics: how many locations teach an object, by its size and on which level.

The number of positives of an object is (Σ w)² / Σ w² over its pairs: the count of pairs when all weigh the
same, and the effective count when the weights are soft, so hard and soft strategies share one scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core import Assignment, Priors, Targets, sum_by

SIZES = (16, 32, 64, 128, 256)  # pixels of the network input: borders of the size bins, √area
BINS = ("<16", "16-32", "32-64", "64-128", "128-256", ">=256")
LEVELS = ("P3", "P4", "P5", "P6", "P7")


@dataclass(frozen=True)
class Tally:
    """Sums over objects, by size bin; two of them add up."""

    objects: Tensor  # [bin] float64
    without: Tensor  # [bin] objects that no location teaches
    positives: Tensor  # [bin, level] positives, spread over levels by weight

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.objects + other.objects, self.without + other.without, self.positives + other.positives)

    def packed(self) -> Tensor:
        """All numbers in one row, for one collective call and for checkpoints."""
        return torch.cat((self.objects, self.without, self.positives.flatten()))

    @staticmethod
    def unpacked(numbers: Tensor) -> Tally:
        """Inverse of `packed`."""
        bins = len(BINS)
        return Tally(numbers[:bins], numbers[bins : 2 * bins], numbers[2 * bins :].view(bins, len(LEVELS)))

    @staticmethod
    def empty(device: torch.device | str = "cpu") -> Tally:
        """Nothing seen yet."""
        zeros = torch.zeros(len(BINS), len(LEVELS), dtype=torch.float64, device=device)
        return Tally(zeros[:, 0].clone(), zeros[:, 0].clone(), zeros)


@torch.no_grad()
def tally(assignment: Assignment, priors: Priors, targets: Targets) -> Tally:
    """Count one batch."""
    pairs, count = assignment.pairs, len(targets)
    weight = pairs.weight.detach().double()
    mass = sum_by(weight, pairs.object, count)
    positives = mass.square() / sum_by(weight.square(), pairs.object, count).clamp(min=1e-300)

    size = (targets.boxes[:, 2:] - targets.boxes[:, :2]).prod(-1).sqrt()
    bins = torch.bucketize(size, torch.tensor(SIZES, device=size.device, dtype=size.dtype), right=True)
    counted = positives[pairs.object] * weight / mass[pairs.object].clamp(min=1e-300)
    cell = bins[pairs.object] * len(LEVELS) + priors.level[pairs.location]
    return Tally(
        objects=sum_by(torch.ones_like(mass), bins, len(BINS)),
        without=sum_by((mass == 0).double(), bins, len(BINS)),
        positives=sum_by(counted, cell, len(BINS) * len(LEVELS)).view(len(BINS), len(LEVELS)),
    )


def statistics(seen: Tally) -> Mapping[str, float | None]:
    """Named numbers: None where there was no object to speak of.

    ``objects``, ``objects/<16`` … counts of objects seen; ``without_positive/…`` fraction of them that nothing
    taught; ``positives/…`` mean positives an object; ``level/P3`` … fraction of all positives.
    """
    objects, without, positives = seen.objects.sum(), seen.without.sum(), seen.positives.sum()
    numbers: dict[str, float | None] = {
        "objects": objects.item(),
        "positives": ratio(positives, objects),
        "without_positive": ratio(without, objects),
    }
    for index, name in enumerate(BINS):
        here = seen.objects[index]
        numbers[f"objects/{name}"] = here.item()
        numbers[f"positives/{name}"] = ratio(seen.positives[index].sum(), here)
        numbers[f"without_positive/{name}"] = ratio(seen.without[index], here)
    for index, name in enumerate(LEVELS):
        numbers[f"level/{name}"] = ratio(seen.positives[:, index].sum(), positives)
    return numbers


def ratio(part: Tensor, whole: Tensor) -> float | None:
    """Part of the whole, None of nothing."""
    return (part / whole).item() if whole > 0 else None
