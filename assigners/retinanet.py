"""RetinaNet: anchors are matched by IoU with two thresholds.

    positive    IoU ≥ 0.5 with the object of highest IoU; equal IoU: the object listed first
    background  best IoU < 0.4
    ignored     in between: no class is taught there
    forced      every anchor whose IoU equals m_n = max_j IoU(a_j, b_n) becomes positive for object n, if m_n > 0; an
                anchor forced by several objects goes to the one of highest IoU

A cell has nine anchors: sides 4·s·2^(0, 1/3, 2/3), and height over width 1/2, 1, 2; s: the level's stride.

Source: arXiv 1708.02002, Section 4, with the matcher of the common implementations.

Choices where they differ: the object that forces an anchor owns it. If several objects force it, the best one owns it.
(Elsewhere it is the one listed last, so that the order of annotations matters: ``forced="last"``.) An object that
overlaps no anchor forces nothing. (Elsewhere it claims all anchors with IoU 0, which is every anchor.)
"""

from __future__ import annotations

from typing import Literal

import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Priors,
    Reasons,
    Setting,
    Targets,
    match_overlaps,
    matched_assignment,
    overlap_reasons,
    overlapping_pairs,
    require,
)
from assignbench.core.parts import anchor_head
from assigners.presets.retinanet import PRESETS


class RetinaNet(Assigner):
    """Matching by anchor IoU.

    Args:
        positive_iou: from this overlap on an anchor is positive.
        background_iou: below this overlap an anchor is background.
        forced: which object gets an anchor that several force: the one of best overlap, or the one listed
            last; off: no anchor is forced.
        normaliser: what the losses are divided by: the positives of the batch; those of each image, at least
            one an image; or the latter of each process on its own (local).
    """

    head = anchor_head()
    source = "RetinaNet, arXiv 1708.02002, Section 4"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        positive_iou: float = 0.5,
        background_iou: float = 0.4,
        forced: Literal["best", "last", "off"] = "best",
        normaliser: Literal["batch", "image", "local"] = "batch",
    ) -> None:
        super().__init__(setting)
        require(
            0 < background_iou <= positive_iou <= 1,
            f"0 < background_iou ≤ positive_iou ≤ 1 does not hold for {background_iou} and {positive_iou}",
        )
        self.positive_iou, self.background_iou = positive_iou, background_iou
        self.forced: Literal["best", "last", "off"] = forced
        self.normaliser: Literal["batch", "image", "local"] = normaliser

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        owner = match_overlaps(
            *overlapping_pairs(targets, priors, self.background_iou, best=self.forced != "off"),
            targets,
            priors,
            positive=self.positive_iou,
            background=self.background_iou,
            forced=self.forced,
        )
        return matched_assignment(owner, targets, self.normaliser)

    def explain(self, priors: Priors, targets: Targets) -> Reasons:
        """The anchors that are not background for every object, and m_n."""
        forced = ", and so do those of its own largest IoU" if self.forced != "off" else ""
        return overlap_reasons(
            targets,
            priors,
            self.background_iou,
            f"Anchors teach the object of their highest IoU from {self.positive_iou:g} on{forced}; below "
            f"{self.background_iou:g} they are background, and between the two they are ignored.",
            forced=self.forced != "off",
        )
