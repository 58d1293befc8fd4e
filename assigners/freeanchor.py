"""FreeAnchor: an object is learned by a bag of anchors, of which one good one is enough.

    A_n     the k anchors of highest IoU with box n                                  k = 50, no threshold
    P_nj    exp(−ℓ_nj) = p_j(y_n) · exp(−λ·L_box)                                    likelihood of anchor j
    w_nj    (1 / (1 − P_nj)) / Σ_A_n (1 / (1 − P_ni))                                mean-max: mean early, max late
    L⁺      −α Σ_n log Σ_j w_nj P_nj                      / N
    A_jy    max_{n: y_n = y} clamp( (IoU_nj − t₁) / (t₂n − t₁), 0, 1 )               chance that j detects a y
            IoU_nj of the *predicted* box, t₁ = 0.6, t₂n = max_j IoU_nj
    L⁻      −(1 − α) Σ_j Σ_y q^γ log(1 − q),  q = p_j(y) (1 − A_jy)   / (k · N)

N: objects; α, γ, λ: of the loss. The weights w carry gradient, and A does not.

Source: arXiv 1909.02466, Sections 3.2–3.4 (mean-max: Eq. 7; A: Eq. 5). What we call pairs is the paper's bag, and our
discount factor 1 − A is its P{a ∈ A₋}.

Choices: if objects of one class claim one anchor, the larger A counts. If anchors at the end of a bag have equal IoU,
the lower index is taken (``ties="topk"``: whichever `torch.topk` finds, as in the references).
"""

from __future__ import annotations

from typing import Literal

import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Normalisers,
    Pairs,
    PairViews,
    Predictions,
    Priors,
    Reasons,
    Setting,
    Targets,
    iou,
    max_by,
    most_overlapping,
    predicted_overlaps,
    require,
    sum_by,
)
from assignbench.core.parts import anchor_head
from assigners.presets.freeanchor import PRESETS


class FreeAnchor(Assigner):
    """Learning to match anchors.

    Args:
        k: anchors in an object's bag.
        least_iou: t₁, overlap of a predicted box from which on it may count as a detection.
        ties: which of several anchors of equal overlap: the first, or any that `torch.topk` finds.
        normaliser: N of the batch, averaged over processes, or of each process on its own (local).
    """

    head = anchor_head()
    source = "FreeAnchor, arXiv 1909.02466, Sections 3.2–3.4"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        k: int = 50,
        least_iou: float = 0.6,
        ties: Literal["first", "topk"] = "first",
        normaliser: Literal["batch", "local"] = "batch",
    ) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        require(0 < least_iou < 1, f"least_iou must lie in (0, 1), got {least_iou}")
        self.k, self.least_iou, self.normaliser = k, least_iou, normaliser
        self.ties: Literal["first", "topk"] = ties

    def forward(self, predictions: Predictions, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        objects, locations = most_overlapping(targets, priors, self.k, ties=self.ties)
        likelihood = view(objects, locations).likelihood
        raw = 1 / (1 - likelihood).clamp(min=1e-12)
        weight = raw / sum_by(raw, objects, len(targets))[objects]
        count = targets.boxes.new_tensor(float(len(targets)))
        return Assignment(
            pairs=Pairs(objects, locations, weight, box_weight=weight),
            discounts=self.detections(predictions, priors, targets),
            normalisers=Normalisers(count, count, count * self.k, local=self.normaliser == "local"),
            bag="any",
        )

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """The bag."""
        pair = view(*most_overlapping(targets, priors, self.k, ties=self.ties))
        return Reasons(
            f"The {self.k} anchors of highest IoU are the object's bag; each teaches it the more the likelier it is. "
            "An anchor in several bags teaches each object.",
            pair.objects,
            pair.locations,
            {"likelihood P": pair.likelihood, "IoU of the anchor": iou(pair.prior, pair.true)},
        )

    @torch.no_grad()
    def detections(self, predictions: Predictions, priors: Priors, targets: Targets) -> Discounts:
        """1 − A, wherever A can be above 0."""
        objects, locations, overlap = predicted_overlaps(targets, predictions, priors, self.least_iou)
        reach = (max_by(overlap, objects, len(targets)) - self.least_iou).clamp(min=torch.finfo(overlap.dtype).eps)
        chance = ((overlap - self.least_iou) / reach[objects]).clamp(0, 1)
        return Discounts.of_pairs(objects, locations, targets, factor=1 - chance)  # the smallest counts: the largest A
