"""Guided Anchoring: the network predicts where anchors are and of which shape; these are matched by IoU.

    guided anchor   a_j = 4·s·e^dw × 4·s·e^dh around location j; (dw, dh): the shape branch's outputs, s: stride
    positive        IoU(a_j, b_n) ≥ 0.5 with the object of highest IoU; equal IoU: the object listed first
    background      the rest
    forced          every guided anchor whose IoU is m_n = max_j IoU(a_j, b_n), if m_n > 0, as in RetinaNet

`core/guides.py` says what the location branch and the shape branch learn. At test, locations with σ(location) < 0.01
are left out. Class and box are read off features that are adapted to the anchor's shape: `detector/guided.py`.

Source: arXiv 1901.03278, Sections 3.1–3.5.

Choices where implementations differ: the location branch learns 1 in the middle of objects, as in the paper
(mmdetection 2 and 3 teach 0 there and 1 elsewhere: ``polarity="inverted"``). If two objects claim a location, the one
that fits better gets it (mmdetection: the one listed last, ``conflicts="last"``). An object that overlaps no guided
anchor forces nothing (mmdetection: it claims all anchors of the image).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
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
from assignbench.core.parts import GuideLocation, GuideShape, Network
from assigners.presets.guided_anchoring import PRESETS


class GuidedAnchoring(Assigner):
    """Region proposal by guided anchoring, as a one-stage detector.

    Args:
        iou: from this overlap of its guided anchor on a location is positive, below it is background.
        polarity: whether the location branch learns 1 in the middle of objects (right), or 0 (inverted).
        conflicts: who decides about a location that several objects claim: the one that fits best, or the one
            listed last.
        normaliser: what class and box part are divided by: the positives of the batch; those of each image, at
            least one an image; or the latter of each process on its own (local).
    """

    head = Head(size=4.0, extras=(GuideLocation(), GuideShape()), make=Network("guided"))
    source = "Guided Anchoring, arXiv 1901.03278, Sections 3.1–3.5"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        iou: float = 0.5,
        polarity: Literal["right", "inverted"] = "right",
        conflicts: Literal["best", "last"] = "best",
        normaliser: Literal["batch", "image", "local"] = "batch",
    ) -> None:
        super().__init__(setting)
        require(0 < iou <= 1, f"iou must lie in (0, 1], got {iou}")
        self.iou = iou
        self.normaliser: Literal["batch", "image", "local"] = normaliser
        self.conflicts: Literal["best", "last"] = conflicts
        self.head = replace(self.head, extras=(GuideLocation(polarity == "inverted", conflicts), GuideShape(conflicts)))

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas; the priors are the guided anchors."""
        owner = match_overlaps(
            *overlapping_pairs(targets, priors, self.iou, best=True),
            targets,
            priors,
            positive=self.iou,
            background=self.iou,
            forced=self.conflicts,
        )
        return matched_assignment(owner, targets, self.normaliser)

    def explain(self, priors: Priors, targets: Targets) -> Reasons:
        """The guided anchors that overlap enough, and m_n."""
        return overlap_reasons(
            targets,
            priors,
            self.iou,
            f"Guided anchors, which the network predicts, teach the object of their highest IoU from {self.iou:g} on, "
            "and so do those of its own largest IoU.",
        )
