"""ATSS: each object sets its own IoU threshold from the statistics of its nearest priors.

    C_n    on every level the k priors nearest to the object's centre       k = 9 for each prior of a cell
    t_n    mean + standard deviation of IoU(prior, b_n) over C_n            n − 1 in the deviation
    S_n    { j ∈ C_n : IoU ≥ t_n,  min(l, t, r, b) > 0.01 }                 the prior's centre inside the box
    n(j)   a prior in several S_n goes to the highest IoU; equal IoU: the object listed first
    c*     centerness of the prior's centre: learned beside, and weight of the box part

Source: arXiv 1912.02424, Algorithm 1. Choices where implementations differ or are silent: equal distances go to
the lower prior index on every device; one candidate has deviation 0; when no candidate inside the box reaches
t_n (a threshold can exceed every IoU, and rounding can lift a mean above equal values) the best ones inside are
taken, unless ``reference`` is set.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Centerness,
    Deltas,
    GIoU,
    Head,
    PairLoss,
    Predictions,
    Priors,
    Setting,
    Targets,
    centerness,
    centers,
    hard_assignment,
    iou,
    matrix_pairs,
    max_by,
    sides,
    smallest_k,
    sum_by,
    winners,
)

MARGIN = 0.01  # pixels between a positive prior's centre and the box's sides


class ATSS(Assigner):
    """Adaptive training sample selection.

    Args:
        k: candidates per level and object, per prior of a cell.
        reference: True leaves an object without positive when no candidate reaches its threshold.
    """

    head = Head(offset=0.0, coding=Deltas((0.1, 0.1, 0.2, 0.2)), extras=(Centerness(),))
    published = PairLoss(alpha=0.25, gamma=2.0, box=GIoU(weight=8.0))  # α·λ = 2
    source = "ATSS, arXiv 1912.02424, Algorithm 1"

    def __init__(self, setting: Setting, *, k: int = 9, reference: bool = False) -> None:
        super().__init__(setting)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k, self.reference = k, reference

    @torch.no_grad()
    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        objects, locations = self.candidates(priors, targets)
        prior, box = priors.boxes_at(targets.image[objects], locations), targets.boxes[objects]
        overlap = iou(prior, box)
        inside = sides(box, centers(prior)).amin(-1) > MARGIN

        positive = inside & (overlap >= threshold(overlap, objects, len(targets))[objects])
        if not self.reference:
            without = sum_by(positive.float(), objects, len(targets)) == 0
            best = max_by(overlap.where(inside, -1.0), objects, len(targets))
            positive |= inside & without[objects] & (overlap == best[objects])

        objects, locations = objects[positive], locations[positive]
        won = winners(overlap[positive], objects, locations, targets, priors)
        return hard_assignment(
            objects[won],
            locations[won],
            targets,
            box_weight=centerness(box[positive][won], centers(prior[positive][won])),
        )

    def candidates(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """C_n: on every level the k priors nearest to each object's centre."""

        def nearest(chunk: slice) -> Tensor:
            points = priors.centers_of(targets.image[chunk])
            distance = (points - centers(targets.boxes[chunk])[:, None]).norm(dim=-1)
            chosen = torch.zeros_like(distance, dtype=torch.bool)
            for level in range(self.setting.levels):
                on_level = distance.masked_fill(priors.level != level, float("inf"))
                chosen |= smallest_k(on_level, self.k * self.head.priors_per_cell)
            return chosen

        return matrix_pairs(nearest, len(targets), len(priors))


def threshold(overlap: Tensor, objects: Tensor, object_count: int) -> Tensor:
    """t_n = mean + standard deviation (n − 1) of the overlaps of each object's candidates: ``[object]``."""
    count = sum_by(torch.ones_like(overlap), objects, object_count).clamp(min=1)
    mean = sum_by(overlap, objects, object_count) / count
    variance = sum_by((overlap - mean[objects]).square(), objects, object_count) / (count - 1).clamp(min=1)
    return mean + variance.sqrt()
