"""PAA: a mixture of two normal distributions splits an object's candidates into easy and hard ones.

    A_n     anchors whose highest IoU is with object n and is ≥ 0.1, and those that n forces as in RetinaNet
    e_j     c⁺ ℓ_class + c⁻ Σ background + w λ L_box of anchor j for its object         −log of the paper's score S
    C_n     of each level the K = 9 candidates of lowest e in A_n
    f_n     w₁ N(e; m₁, v₁) + w₂ N(e; m₂, v₂), fitted to the e of C_n by EM             m₁ starts at min, m₂ at max e
    G_n     { j ∈ C_n : component 1 is the likelier one for e_j }
    S_n     { j ∈ G_n : e_j ≤ e of the anchor in G_n of highest density f_n }           all other anchors: background
    q_j     IoU of the predicted box: learned beside, and weight of the box part

No gradient flows through e.

Source: arXiv 2007.08103, Sections 3.1–3.2 (scheme c of Figure 3; Algorithm 1) and 3.3.

Choices where implementations differ: in e, the box part has the weight with which it is learned (in the official code λ
= 1). If an object has one candidate only, it is positive. If component 1 is left without any candidate, all are
positive (``unsplit="none"``: such an object teaches nothing). If e or f are equal, the lower location is taken. A
forced anchor is treated as in RetinaNet. EM is scikit-learn's, in float64.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Normalisers,
    PairViews,
    Priors,
    Reasons,
    Setting,
    Targets,
    best_of,
    hard_assignment,
    max_by,
    overlapping_pairs,
    pick,
    require,
    sum_by,
    two_gaussians,
    winners,
)
from assignbench.core.parts import PredictedIoU
from assigners.presets.paa import PRESETS


class PAA(Assigner):
    """Probabilistic anchor assignment.

    Args:
        k: K, candidates of a level that the mixture is fitted to.
        least_iou: overlap from which on an anchor is a candidate.
        forced: which object gets an anchor that several force: the one of best overlap, or the one listed last.
        unsplit: what becomes of candidates that the mixture does not split: all are positive, or none.
        least_box: floor of the sum of q that the box part is divided by.
        normaliser: the positives of the batch; or those of each process on its own, at least one an image (local).
    """

    head = Head(extras=(PredictedIoU(),))
    source = "PAA, arXiv 2007.08103, Sections 3.1–3.3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        k: int = 9,
        least_iou: float = 0.1,
        forced: Literal["best", "last"] = "best",
        unsplit: Literal["all", "none"] = "all",
        least_box: float = 1.0,
        normaliser: Literal["batch", "local"] = "batch",
    ) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        require(0 < least_iou < 1, f"least_iou must lie between 0 and 1, got {least_iou}")
        require(least_box > 0, f"least_box must be positive, got {least_box}")
        self.k, self.least_iou, self.forced, self.unsplit = k, least_iou, forced, unsplit
        self.least_box, self.normaliser = least_box, normaliser

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        objects, locations, cost = self.cheapest(priors, targets, view)
        positive = self.easy(cost, objects, len(targets)).nonzero()[:, 0]
        objects, locations = objects[positive], locations[positive]

        overlap = view(objects, locations).overlap
        count, local = overlap.new_ones(len(objects)).sum(), self.normaliser == "local"
        normalisers = Normalisers(
            count,
            overlap.sum(),
            count,
            least_box=self.least_box,
            local=local,
            least=float(targets.images) if local else 1.0,
        )
        return hard_assignment(objects, locations, targets, box_weight=overlap, normalisers=normalisers)

    def cheapest(self, priors: Priors, targets: Targets, view: PairViews) -> tuple[Tensor, Tensor, Tensor]:
        """C_n of all objects and e, ordered by object, then e: ``[pair]`` each."""
        found = self.candidates(targets.on_host(), priors.on_host())
        pair = view(*(part.to(targets.boxes.device, non_blocking=True) for part in found))
        cost = pair.class_cost + view.loss.weight * pair.box_part
        cheap = best_of(pair.objects * self.setting.levels + pair.level, -cost, self.k).nonzero()[:, 0]
        objects, locations, cost = pair.objects[cheap], pair.locations[cheap], cost[cheap]
        ascending = cost.argsort(stable=True)
        ascending = ascending[objects[ascending].argsort(stable=True)]
        return objects[ascending], locations[ascending], cost[ascending]

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """C_n with e, and where it is cut."""
        objects, locations, cost = self.cheapest(priors, targets, view)
        easy = self.easy(cost, objects, len(targets))
        cut = max_by(cost.where(easy, -torch.inf), objects, len(targets))
        return Reasons(
            f"Of the anchors that overlap it most, the {self.k} cheapest of each level are candidates; two normal "
            "distributions split their costs e, and those up to the cut in the easy one teach the object.",
            objects,
            locations,
            {"cost e": cost, "easy": easy},
            {"cut": cut},
        )

    def candidates(self, targets: Targets, priors: Priors) -> tuple[Tensor, Tensor]:
        """A_n of all objects, at most one object an anchor: ``[pair]`` each."""
        objects, locations, overlap = overlapping_pairs(targets, priors, self.least_iou, best=True)
        forcing = overlap == pick(max_by(overlap, objects, len(targets)), objects)
        claim = overlap if self.forced == "best" else 1.0 + objects
        # above all that is not forced; unlike 1 + overlap, a power of two keeps the last digit
        won = winners(torch.where(forcing, 2.0**64 * claim, overlap), objects, locations, targets, priors)
        won = won.nonzero()[:, 0]
        return pick(objects, won), pick(locations, won)

    def easy(self, cost: Tensor, objects: Tensor, count: int) -> Tensor:
        """Which candidates are in S_n, of those of each object in ascending order of cost: bool ``[pair]``."""
        low, density = two_gaussians(cost, objects, count, self.k * self.setting.levels)
        split = max_by(low.to(cost.dtype), objects, count) > 0
        split &= sum_by(torch.ones_like(cost), objects, count) > 1
        place = torch.arange(len(cost), device=cost.device)
        top = best_of(objects, density.where(low, -torch.inf))
        last = max_by(place.where(top, -1), objects, count)
        positive = low & (place <= last[objects])
        return torch.where(split[objects], positive, self.unsplit == "all")
