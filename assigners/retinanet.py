"""RetinaNet: anchors are matched by IoU with two thresholds.

    positive    IoU ≥ 0.5 with the object of highest IoU; equal IoU: the object listed first
    background  best IoU < 0.4
    ignored     in between: no class is taught there
    forced      every anchor whose IoU equals m_n = max_j IoU(a_j, b_n) becomes positive for object n, if m_n is
                at least 0.0001; an anchor forced by several objects goes to the one of highest IoU

Nine anchors a cell: sides 4·s·2^(0, 1/3, 2/3), height over width 1/2, 1, 2.
Source: arXiv 1708.02002, Section 4, with the matcher of the common implementations. Choices where they differ:
the forcing object owns the forced anchor, the best one if several force it (elsewhere: the one listed last, so
that the order of annotations matters; ``forced="last"`` is that rule); an object that overlaps no anchor forces
nothing (elsewhere it claims all anchors with IoU 0, which is every anchor; ``least_forced=0`` is that rule).

Presets: ``mmdet`` (default; what the golden vectors prove), ``torchvision``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Normalisers,
    PairLoss,
    Predictions,
    Preset,
    Priors,
    Setting,
    SmoothL1,
    Targets,
    anchor_head,
    hard_assignment,
    image_floor,
    max_by,
    overlapping_pairs,
    sure_overlap,
    winners,
)


class RetinaNet(Assigner):
    """Matching by anchor IoU.

    Args:
        positive_iou: from this overlap on an anchor is positive.
        background_iou: below this overlap an anchor is background.
        forced: which object gets an anchor that several force: the one of best overlap, or the one listed
            last; off: no anchor is forced.
        least_forced: overlap below which an object forces nothing.
        normaliser: what the losses are divided by: the positives of the batch; those of each image, at least
            one an image; or the latter of each process on its own (local).
    """

    head = anchor_head()
    source = "RetinaNet, arXiv 1708.02002, Section 4"
    reads_predictions = False
    presets = {
        "mmdet": Preset(
            source="mmdetection 3.3.0, retinanet_r50_fpn_1x_coco",
            head=anchor_head(),
            loss=PairLoss(box=SmoothL1(weight=4.0)),  # α·λ = 1, plain L1
            options={"forced": "last", "least_forced": 0.0, "normaliser": "local"},
            recipe={
                "model.pyramid": "c5_plain",
                "model.pyramid_init": "xavier",
                "model.norm_affine": True,
                "train.norm_decay": True,
                "evaluate.threshold_on": "output",
                "evaluate.rank_by": "output",
                "evaluate.nms": 0.5,
            },
            schedule={"train.warmup": 500},
        ),
        "torchvision": Preset(
            source="torchvision 0.28, retinanet_resnet50_fpn; to evaluate its checkpoints: its training differs in "
            "a normaliser for each image and 26 epochs",
            head=anchor_head(whole_pixels=True, spacing="image"),
            loss=PairLoss(box=SmoothL1(weight=4.0)),
            recipe={
                "model.pyramid": "p5_relu",
                "evaluate.threshold_on": "output",
                "evaluate.rank_by": "output",
                "evaluate.nms": 0.5,
                "evaluate.detections": 300,
            },
            padding_is_background=True,
        ),
    }

    def __init__(
        self,
        setting: Setting,
        *,
        positive_iou: float = 0.5,
        background_iou: float = 0.4,
        forced: Literal["best", "last", "off"] = "best",
        least_forced: float = 1e-4,
        normaliser: Literal["batch", "image", "local"] = "batch",
    ) -> None:
        super().__init__(setting)
        if not 0 < background_iou <= positive_iou <= 1:
            raise ValueError(
                f"0 < background_iou ≤ positive_iou ≤ 1 does not hold for {background_iou} and {positive_iou}"
            )
        if not 0 <= least_forced <= 1:
            raise ValueError(f"least_forced must lie in [0, 1], got {least_forced}")
        self.positive_iou, self.background_iou = positive_iou, background_iou
        self.forced, self.least_forced, self.normaliser = forced, least_forced, normaliser

    @torch.no_grad()
    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        best, owner, forced = self.match(priors, targets)
        owner = torch.where(best >= self.positive_iou, owner, -1)
        owner = torch.where(forced >= 0, forced, owner)

        undecided = (owner < 0) & (best >= self.background_iou)
        positive = owner >= 0
        objects, locations = owner[positive], positive.nonzero()[:, 1]
        count = positive.sum().to(best.dtype) if self.normaliser == "batch" else image_floor(objects, targets)
        return hard_assignment(
            objects,
            locations,
            targets,
            background=1 - undecided.to(best.dtype),
            normalisers=Normalisers(count, count, count, local=self.normaliser == "local"),
        )

    def match(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Best IoU of each anchor, its object, and the object that forces it (−1: none): ``[image, location]`` each.

        Overlaps below background_iou that force nothing are left out: there the best IoU is 0.
        """
        least = torch.full_like(targets.boxes[:, 0], self.background_iou)
        if self.forced != "off":
            sure = sure_overlap(targets, priors)
            least = torch.where(sure > 0, least.minimum(sure), least)
        objects, locations, overlap = overlapping_pairs(targets, priors.boxes, least)
        taught = priors.inside_at(targets.image[objects], locations)
        objects, locations, overlap = objects[taught], locations[taught], overlap[taught]

        best = targets.boxes.new_zeros(targets.images, len(priors))
        owner = torch.full_like(best, -1, dtype=torch.int64)
        forced = torch.full_like(owner, -1)
        won = winners(overlap, objects, locations, targets, priors)
        place = targets.image[objects[won]], locations[won]
        best[place], owner[place] = overlap[won], objects[won]

        if self.forced != "off":
            objects, locations, overlap = self.claims(objects, locations, overlap, priors, targets)
            score = overlap if self.forced == "best" else objects
            won = winners(score, objects, locations, targets, priors)
            forced[targets.image[objects[won]], locations[won]] = objects[won]
        return best, owner, forced

    def claims(
        self, objects: Tensor, locations: Tensor, overlap: Tensor, priors: Priors, targets: Targets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs in which an object forces an anchor, of all that overlap, and their IoU: ``[pair]`` each."""
        own_best = max_by(overlap, objects, len(targets))
        best = (overlap == own_best[objects]) & (overlap >= self.least_forced)
        objects, locations, overlap = objects[best], locations[best], overlap[best]
        if self.least_forced == 0:  # all anchors are best, with IoU 0, for an object that overlaps none
            lost = (own_best == 0).nonzero()[:, 0]
            everywhere = torch.arange(len(priors)).repeat(len(lost))
            lost = lost.repeat_interleave(len(priors))
            taught = priors.inside_at(targets.image[lost], everywhere)
            objects = torch.cat((objects, lost[taught]))
            locations = torch.cat((locations, everywhere[taught]))
            overlap = torch.cat((overlap, overlap.new_zeros(int(taught.sum()))))
        return objects, locations, overlap
