"""TAL: the locations that class and box agree on most teach the object, and learn how much they agree.

    t_nj    p_j(y_n)^α · IoU(predicted box j, b_n)^β        alignment; α = 1, β = 6
    C_n     the k locations of largest t > 0 over all levels                                  k = 13
    S_n     { j ∈ C_n : min(l, t, r, b) > 0.01 }            a location outside the box is left out, not replaced
    n(j)    a location in several S_n goes to the highest IoU; equal IoU: the object listed first
    t̂_nj    t_nj / (max_j t_nj + ε) · max_j IoU_nj          maxima over S_n without what others won; ε = 1e-7
    L       Σ |t̂ − p|² BCE(p, t̂) / Σ t̂   +   Σ t̂ · 2 (1 − GIoU) / Σ t̂          t̂ = 0 in the background

Nothing of t carries gradient. In the first third of the training, predictions do not say much yet, and ATSS teaches
instead: k = 9 priors on each level, of these the ones with IoU ≥ mean + deviation inside the box, 1 as the score, and
box parts weighted by centerness. t̂ is the record's `quality` and box weight, and its sum is every normaliser. The
quality focal loss makes L of it. The controlled protocol's focal loss also has c⁺ = ¼ and c⁻ = ¾.

Source: TOOD, arXiv 2108.07755, Section 3.2 (t: Eq. 3; losses: Eqs. 4–6). Its released code cuts S_n from C_n and gives
ε and the first third.

Choices where implementations are silent: if t is equal, the lower location is taken.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Normalisers,
    Predictions,
    Priors,
    Reasons,
    Setting,
    Targets,
    above_moments,
    best_predicted,
    centerness,
    hard_assignment,
    iou,
    max_by,
    moments_by,
    nearest_pairs,
    require,
    require_effect,
    sides,
    winners,
)
from assigners.presets.tal import PRESETS

MARGIN = 0.01  # pixels between a positive location and the box's sides
EPSILON = 1e-7  # of max t
NEAREST = 9  # ATSS's candidates a level
FOCAL = 0.25  # α of the focal loss


class TAL(Assigner):
    """Task alignment learning.

    Args:
        alpha: α, how much the class probability counts.
        beta: β, how much the overlap counts.
        k: candidates of an object, over all levels.
        atss_until: the share of the training that ATSS teaches; 0: none.
        atss_focal: whether pairs count ¼ and background ¾ while ATSS teaches: this makes a quality focal loss the
            focal loss.
    """

    head = Head()
    source = "TOOD, arXiv 2108.07755, Section 3.2"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        alpha: float = 1.0,
        beta: float = 6.0,
        k: int = 13,
        atss_until: float = 1 / 3,
        atss_focal: bool = False,
    ) -> None:
        super().__init__(setting)
        require(alpha >= 0, f"alpha must not be negative, got {alpha}")
        require(beta > 0, f"beta must be positive, got {beta}")
        require(k >= 1, f"k must be at least 1, got {k}")
        require(0 <= atss_until <= 1, f"atss_until must lie in [0, 1], got {atss_until}")
        self.alpha, self.beta, self.k = alpha, beta, k
        require_effect(atss_until > 0 or not atss_focal, "atss_focal=true", "with atss_until=0 ATSS never teaches")
        self.atss_until, self.atss_focal = atss_until, atss_focal

    @torch.no_grad()
    def forward(self, predictions: Predictions, priors: Priors, targets: Targets, progress: float) -> Assignment:
        """See the module's formulas."""
        if progress < self.atss_until:
            return self.by_atss(priors, targets)
        return self.aligned(predictions, priors, targets)

    def explain(self, predictions: Predictions, priors: Priors, targets: Targets, progress: float) -> Reasons:
        """The candidates of the phase of training."""
        if progress < self.atss_until:
            objects, locations, overlap, inside = self.nearest(priors, targets)
            mean, deviation = moments_by(overlap, objects, len(targets))
            return Reasons(
                f"In the first {self.atss_until:.0%} of the training ATSS teaches: of the {NEAREST} priors nearest to "
                "its centre on each level those inside the box whose IoU reaches the threshold, mean + deviation.",
                objects,
                locations,
                {"IoU": overlap, "inside": inside},
                {"mean IoU": mean, "deviation": deviation, "threshold": mean + deviation},
            )
        objects, locations, alignment, overlap = self.best(predictions, priors, targets)
        inside = sides(targets.boxes[objects], priors.points[locations]).amin(-1) > MARGIN
        return Reasons(
            f"The {self.k} locations of largest alignment t teach the object if they lie inside the box; one of "
            "several objects goes to the highest IoU.",
            objects,
            locations,
            {"IoU": overlap, "alignment t": alignment, "inside": inside},
        )

    def best(self, predictions: Predictions, priors: Priors, targets: Targets) -> tuple[Tensor, ...]:
        """C_n: objects, locations, t and IoU, ``[pair]`` each."""
        return best_predicted(targets, predictions, priors, self.k, lambda p, u: p**self.alpha * u**self.beta)

    def nearest(self, priors: Priors, targets: Targets) -> tuple[Tensor, ...]:
        """ATSS's candidates: objects, locations, IoU and whether they lie inside, ``[pair]`` each."""
        objects, locations = nearest_pairs(targets, priors, NEAREST)
        box = targets.boxes[objects]
        overlap = iou(priors.boxes_at(targets.image[objects], locations), box)
        return objects, locations, overlap, sides(box, priors.points[locations]).amin(-1) > MARGIN

    def aligned(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """The candidates of largest t, and t̂."""
        objects, locations, alignment, overlap = self.best(predictions, priors, targets)
        able = (alignment > 0) & (sides(targets.boxes[objects], priors.points[locations]).amin(-1) > MARGIN)
        won = (able & winners(overlap.where(able, -1.0), objects, locations, targets, priors)).nonzero()[:, 0]
        objects, locations, alignment, overlap = (each[won] for each in (objects, locations, alignment, overlap))

        most, best = (max_by(each, objects, len(targets))[objects] for each in (alignment, overlap))
        quality = alignment / (most + EPSILON) * best
        mass = quality.sum()
        share = Normalisers(positive=mass, box=mass, negative=mass)
        return hard_assignment(objects, locations, targets, quality=quality, box_weight=quality, normalisers=share)

    def by_atss(self, priors: Priors, targets: Targets) -> Assignment:
        """ATSS, arXiv 1912.02424, Algorithm 1."""
        objects, locations, overlap, inside = self.nearest(priors, targets)
        able = above_moments(overlap, objects, len(targets), inside)
        won = (able & winners(overlap.where(able, -1.0), objects, locations, targets, priors)).nonzero()[:, 0]
        objects, locations = objects[won], locations[won]

        central = centerness(targets.boxes[objects], priors.points[locations])
        record = hard_assignment(objects, locations, targets, quality=torch.ones_like(central), box_weight=central)
        if not self.atss_focal:
            return record
        background = central.new_full((targets.images, len(priors)), 1 - FOCAL)
        return replace(record, pairs=replace(record.pairs, weight=FOCAL * record.pairs.weight), background=background)
