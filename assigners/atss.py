"""ATSS: each object sets its own IoU threshold from the statistics of its nearest priors.

    C_n    on every level the k priors nearest to the object's centre       k = 9 for each prior of a cell
    t_n    mean + standard deviation of IoU(prior, b_n) over C_n            n − 1 in the deviation
    S_n    { j ∈ C_n : IoU ≥ t_n,  min(l, t, r, b) > 0.01 }                 the prior's centre inside the box
    n(j)   a prior in several S_n goes to the highest IoU; equal IoU: the object listed first
    c*     centerness of the prior's centre: learned beside, and weight of the box part

b_n: box of object n; l, t, r, b: distances in pixels from the prior's centre to its sides. ``at_least_one`` lets an
object with no candidate inside its box have the location of the finest level that is nearest to its centre. The
centerness of this location counts as 1.

Source: arXiv 1912.02424, Algorithm 1.

Choices where implementations differ or are silent: equal distances go to the lower prior index, on every device. The
deviation of one candidate alone is 0. If no candidate inside the box reaches t_n, the best ones inside are taken. (This
happens when a threshold exceeds every IoU, or when rounding lifts a mean above equal values.) ``reference`` undoes the
first and the last choice: equal distances are as `torch.topk` finds them, and no candidate is rescued.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import compress
from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Normalisers,
    Priors,
    Reasons,
    Setting,
    Targets,
    above_moments,
    centerness,
    hard_assignment,
    image_floor,
    iou,
    moments_by,
    nearest_pairs,
    or_nearest,
    require,
    sides,
    winners,
)
from assignbench.core.parts import Centerness, Refinement
from assigners.presets.atss import PRESETS

MARGIN = 0.01  # pixels between a positive prior's centre and the box's sides


class ATSS(Assigner):
    """Adaptive training sample selection.

    Args:
        k: candidates per level and object, per prior of a cell.
        reference: decide as the reference implementations where they leave it to rounding and to `torch.topk`.
        normaliser: what the class part and centerness are divided by: the positives of the batch, or those of
            each image, at least one an image.
        centerness: whether centerness is learned, scales the score and weights the box part.
        refine: whether each box is predicted twice, the second time by factors of the sides of the first.
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head(extras=(Centerness(),))
    source = "ATSS, arXiv 1912.02424, Algorithm 1"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        k: int = 9,
        reference: bool = False,
        normaliser: Literal["batch", "image"] = "batch",
        centerness: bool = True,
        refine: bool = False,
        at_least_one: bool = False,
    ) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        self.k, self.reference, self.normaliser, self.central = k, reference, normaliser, centerness
        self.at_least_one = at_least_one
        extras = (Centerness(outside=1.0 if at_least_one else 0.0), Refinement())
        self.head = replace(self.head, extras=tuple(compress(extras, (centerness, refine))))

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        objects, locations, overlap, inside = self.candidates(priors, targets)
        positive = above_moments(overlap, objects, len(targets), inside, rescue=not self.reference)
        objects, locations, overlap = objects[positive], locations[positive], overlap[positive]
        won = winners(overlap, objects, locations, targets, priors)
        objects, locations = objects[won], locations[won]
        central = centerness(targets.boxes[objects], priors.points[locations])
        if self.at_least_one:
            central = central.where(central > 0, 1.0)
        central = central if self.central else torch.ones_like(central)
        count = won.sum().to(central.dtype) if self.normaliser == "batch" else image_floor(objects, targets)
        return hard_assignment(
            objects,
            locations,
            targets,
            box_weight=central,
            normalisers=Normalisers(positive=count, box=central.sum(), negative=count),
        )

    def candidates(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """C_n of all objects, their IoU, and which of them lie inside: ``[pair]`` each."""
        objects, locations = nearest_pairs(targets, priors, self.k, ties="topk" if self.reference else "first")
        box = targets.boxes[objects]
        overlap = iou(priors.boxes_at(targets.image[objects], locations), box)
        inside = sides(box, priors.points[locations]).amin(-1) > MARGIN
        if self.at_least_one:
            inside = or_nearest(inside, objects, locations, targets, priors)
        return objects, locations, overlap, inside

    def explain(self, priors: Priors, targets: Targets) -> Reasons:
        """The candidates, and t_n."""
        objects, locations, overlap, inside = self.candidates(priors, targets)
        mean, deviation = moments_by(overlap, objects, len(targets))
        return Reasons(
            f"The candidates are the {self.k} priors nearest to the object's centre on each level. A candidate teaches "
            "the object if it lies inside the box and its IoU reaches the threshold: mean + deviation of the "
            "candidates' IoU. If none does, the best inside does. "
            "The highest IoU wins a prior that several objects want.",
            objects,
            locations,
            {"IoU": overlap, "inside": inside},
            {"mean IoU": mean, "deviation": deviation, "threshold": mean + deviation},
        )
