"""Uniform matching (YOLOF): every object, small or large, has the same number of anchors, the ones most like it.

    d_nj     |x_j − x_n| + |y_j − y_n| + |w_j − w_n| + |h_j − h_n|      between a box of location j and box n, pixels
    A_n      the k locations whose anchors have the smallest d          k = 4
    P_n      the k locations whose predicted boxes have it
    S_n      { j ∈ A_n, and again j ∈ P_n : IoU(anchor j, b_n) ≥ t_pos }             t_pos = 0.15
    n(j)     the object with j ∈ S_n whose anchor IoU is highest; equal IoU: the object listed first: its class is
             learned at j
    box      all of S_n, whoever has the class: twice where j is in A_n and in P_n
    ignored  locations in some A_n or P_n and in no S_n; and those in none of them whose predicted box has
             IoU > t_neg with any object                                             t_neg = 0.7

Anchors are squares of 32 to 512 pixels. Here there is one on each level. In the preset there are five in each cell of
one level of stride 32.

Source: arXiv 2103.09460, Section 4 ("Uniform Matching").

Choices: the paper speaks of anchors. The authors' code and mmdetection also match predicted boxes. There, an anchor of
several objects goes to the pair that was written last: by rank, then predictions before anchors, then the order of
annotations. If that pair's IoU is below t_pos, the anchor is ignored (``conflicts="last"``). If distances are equal,
the lower location is taken. (They often are, where w ≠ h and anchors differ only in size.) Positives of the class part
are counted once.
"""

from __future__ import annotations

from typing import Literal

import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Head,
    Normalisers,
    Pairs,
    Predictions,
    Priors,
    Reasons,
    Setting,
    Targets,
    either_pairs,
    image_floor,
    iou,
    nearest_boxes,
    predicted_overlaps,
    require,
    sum_by,
    take,
    winners,
)
from assigners.presets.uniform import PRESETS


class Uniform(Assigner):
    """Uniform matching.

    Args:
        k: anchors, and predicted boxes, of each object.
        positive_iou: t_pos, overlap of its anchor below which a location is ignored and not positive.
        negative_iou: t_neg, overlap of its predicted box above which a location is ignored and not background.
        conflicts: which object a location of several learns: the one of best overlap, or the one that the
            reference writes last.
        normaliser: what the losses are divided by: the positives of the batch, or those of each image, at least one
            an image.
    """

    head = Head(size=4.0)
    source = "YOLOF, arXiv 2103.09460, Section 4"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        k: int = 4,
        positive_iou: float = 0.15,
        negative_iou: float = 0.7,
        conflicts: Literal["best", "last"] = "best",
        normaliser: Literal["batch", "image"] = "batch",
    ) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        require(0 <= positive_iou < 1, f"positive_iou must lie in [0, 1), got {positive_iou:g}")
        require(0 < negative_iou <= 1, f"negative_iou must lie in (0, 1], got {negative_iou:g}")
        self.k, self.positive_iou, self.negative_iou = k, positive_iou, negative_iou
        self.conflicts, self.normaliser = conflicts, normaliser

    @torch.no_grad()
    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        taken = [nearest_boxes(targets, boxes, priors, self.k) for boxes in (predictions.boxes, priors.boxes)]
        objects, locations, rank = (torch.cat(parts) for parts in zip(*taken, strict=True))
        image = targets.image[objects]
        overlap = iou(priors.boxes_at(image, locations), take(targets.boxes, objects))
        matched = overlap >= self.positive_iou

        if self.conflicts == "best":
            score = overlap
        else:
            anchors = torch.arange(len(rank), device=rank.device) >= len(taken[0][0])
            score = ((2 * rank + anchors) * len(targets) + objects).double()
        won = (matched & winners(score, objects, locations, targets, priors)).nonzero()[:, 0]
        learned = objects[won], locations[won]
        one = torch.ones_like(overlap)
        count = one[won].sum() if self.normaliser == "batch" else image_floor(learned[0], targets)

        near, close, iou_of_near = predicted_overlaps(targets, predictions, priors, self.negative_iou)
        place = image * len(priors) + locations
        ignored = torch.zeros(targets.images * len(priors), device=place.device).scatter_reduce_(
            0, targets.image[near] * len(priors) + close, (iou_of_near > self.negative_iou).float(), "amax"
        )
        ignored = ignored.index_fill_(0, place, 1.0).index_fill_(0, place[won], 0.0).bool()

        # every pair once: its box weighs how often it was matched
        kept = matched.nonzero()[:, 0]
        pair, entry = (objects * len(priors) + locations)[kept].unique(return_inverse=True)
        weight = sum_by(torch.zeros_like(overlap).index_fill_(0, won, 1.0)[kept], entry, len(pair))
        return Assignment(
            pairs=Pairs(pair // len(priors), pair % len(priors), weight, sum_by(one[kept], entry, len(pair))),
            discounts=Discounts.of_pairs(*learned, targets, torch.zeros_like(one[won])),
            normalisers=Normalisers(count, count, count),
            ignored=ignored.view(targets.images, len(priors)),
        )

    def explain(self, predictions: Predictions, priors: Priors, targets: Targets) -> Reasons:
        """A_n and P_n."""
        boxes = {"predicted box": predictions.boxes, "anchor": priors.boxes}
        near = {name: nearest_boxes(targets, box, priors, self.k)[:2] for name, box in boxes.items()}
        objects, locations = either_pairs(near["predicted box"], near["anchor"], priors)
        key = objects * len(priors) + locations
        among = {f"nearest {name}": torch.isin(key, one * len(priors) + at) for name, (one, at) in near.items()}
        return Reasons(
            f"The {self.k} nearest anchors and the {self.k} nearest predicted boxes teach the object where the IoU of "
            f"the anchor is at least {self.positive_iou:g}, else they are ignored; a class goes to the highest IoU.",
            objects,
            locations,
            {"IoU of the anchor": iou(priors.boxes_at(targets.image[objects], locations), targets.boxes[objects])}
            | among,
        )
