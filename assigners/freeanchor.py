"""FreeAnchor: an object is learned by a bag of anchors, of which one good one is enough.

    A_n     the k anchors of highest IoU with box n                                  k = 50, no threshold
    P_nj    exp(−ℓ_nj) = p_j(y_n) · exp(−λ·L_box)                                    likelihood of anchor j
    w_nj    (1 / (1 − P_nj)) / Σ_A_n (1 / (1 − P_ni))                                mean-max: mean early, max late
    L⁺      −α Σ_n log Σ_j w_nj P_nj                      / N
    A_jy    max_{n: y_n = y} clamp( (IoU_nj − t₁) / (t₂n − t₁), 0, 1 )               chance that j detects a y
            IoU_nj of the *predicted* box, t₁ = 0.6, t₂n = max_j IoU_nj
    L⁻      −(1 − α) Σ_j Σ_y q^γ log(1 − q),  q = p_j(y) (1 − A_jy)   / (k · N)

N: objects. The weights w carry gradient, A does not.
Source: arXiv 1909.02466, Sections 3.2–3.4 (mean-max: Eq. 7; A: Eq. 5). Our name ← the paper's: pairs ← bag,
discount factor 1 − A ← P{a ∈ A₋}. Objects of one class over one anchor: the larger A counts. Anchors of equal
IoU at the end of a bag: the lower index (``ties="topk"``: whichever `torch.topk` finds, as the references).

Presets: ``mmdet`` (default; what the golden vectors prove), ``official``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    MASKRCNN_BENCHMARK,
    MASKRCNN_BENCHMARK_SCHEDULE,
    Assigner,
    Assignment,
    Deltas,
    Discounts,
    Normalisers,
    PairLoss,
    Pairs,
    Predictions,
    Preset,
    Priors,
    Setting,
    SmoothL1,
    Targets,
    anchor_head,
    beside,
    best_of,
    class_winners,
    max_by,
    near_pairs,
    overlapping_pairs,
    overlaps,
    pair_likelihood,
    smallest_columns,
    sum_by,
    sure_overlap,
)


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
    presets = {
        "mmdet": Preset(
            source="mmdetection 3.3.0, freeanchor_r50_fpn_1x_coco",
            head=anchor_head(coding=Deltas()),
            loss=PairLoss(alpha=0.5, box=SmoothL1(weight=0.75, beta=0.11)),
            options={"ties": "topk", "normaliser": "local"},
            recipe={
                "model.pyramid": "c5_plain",
                "model.pyramid_init": "xavier",
                "model.norm_affine": True,
                "train.norm_decay": True,
                "evaluate.threshold_on": "output",
                "evaluate.rank_by": "output",
                "evaluate.nms": 0.5,
            },
            schedule={"train.warmup": 500, "train.clip": 35.0},
            padding_is_background=True,
        ),
        "official": Preset(
            source="zhangxiaosong18/FreeAnchor, free_anchor_R-50-FPN_1x; anchors at half a cell, half a pixel from "
            "its own; not its widths + 1 or the doubled rate of the norms' biases",
            head=anchor_head(coding=Deltas(), offset=0.5, class_prior=0.02),
            loss=PairLoss(alpha=0.5, box=SmoothL1(weight=0.75, beta=0.11)),
            options={"ties": "topk", "normaliser": "local"},
            recipe={**MASKRCNN_BENCHMARK, "evaluate.nms": 0.5},
            schedule=MASKRCNN_BENCHMARK_SCHEDULE,
            padding_is_background=True,
        ),
    }

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
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if not 0 <= least_iou < 1:
            raise ValueError(f"least_iou must lie in [0, 1), got {least_iou}")
        self.k, self.least_iou, self.ties, self.normaliser = k, least_iou, ties, normaliser

    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        objects, locations = self.bags(priors, targets)
        likelihood = pair_likelihood(
            predictions, priors, targets, objects, locations, loss=self.setting.loss, coding=self.setting.coding
        )
        raw = 1 / (1 - likelihood).clamp(min=1e-12)
        weight = raw / sum_by(raw, objects, len(targets))[objects]
        count = targets.boxes.new_tensor(float(len(targets)))
        one = torch.ones_like(weight)
        return Assignment(
            pairs=Pairs(objects, locations, weight, box_weight=weight, quality=one, likelihood=likelihood),
            discounts=self.detections(predictions, priors, targets),
            normalisers=Normalisers(count, count, count * self.k, local=self.normaliser == "local"),
            bagged=True,
        )

    @torch.no_grad()
    def bags(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """A_n: the k anchors of highest overlap."""
        if self.ties == "topk":
            return self.bags_of_all(priors, targets)
        host, anchors = targets.on_host(), priors.on_host()
        sure = sure_overlap(host, replace(anchors, extent=None), self.k)  # anchors in the padding belong to bags too
        if not bool((sure > 0).all()):
            return self.bags_of_all(priors, targets)
        objects, locations, overlap = overlapping_pairs(host, anchors.boxes, sure)
        best = best_of(objects, overlap, self.k)
        return beside(objects[best], priors.boxes), beside(locations[best], priors.boxes)

    def bags_of_all(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """A_n, looking at every anchor: some of a bag may not overlap the object, or ties are `torch.topk`'s."""
        found = [torch.zeros(0, 2, dtype=torch.int64, device=targets.boxes.device)]
        k = min(self.k, len(priors))
        for part in overlaps(targets, priors.boxes):
            if self.ties == "first":
                locations = smallest_columns(-part.iou, k)
            else:
                locations = part.iou.topk(k, dim=1, sorted=False).indices.sort(1).values
            found.append(torch.stack((part.objects[:, None].expand_as(locations), locations), dim=-1).flatten(0, 1))
        objects, locations = torch.cat(found).unbind(1)
        return objects, locations

    @torch.no_grad()
    def detections(self, predictions: Predictions, priors: Priors, targets: Targets) -> Discounts:
        """1 − A, wherever A can be above 0."""
        least = torch.full((len(targets),), self.least_iou)
        objects, locations, overlap = near_pairs(targets, predictions.boxes, least)
        reach = (max_by(overlap, objects, len(targets)) - self.least_iou).clamp(min=torch.finfo(overlap.dtype).eps)
        chance = ((overlap - self.least_iou) / reach[objects]).clamp(0, 1)
        won = class_winners(chance, objects, locations, targets, priors, predictions.classes)
        return Discounts(
            targets.image[objects], locations, targets.labels[objects], factor=1 - chance, weight=won.to(chance.dtype)
        )
