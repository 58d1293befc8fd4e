"""MetaAnchor: the last layers are generated from the anchors, which are drawn in training; matched as RetinaNet's.

    b          (ln h/H, ln w/W)                 an anchor by a standard one, H = W = 2.5 strides (20 pixels on P3)
    F_b        last layers of class and box, with kernel θ_b = θ* + W₂ · ReLU(W₁ b)
    anchors    training: nine a cell, drawn for each step: sides of RetinaNet's times 2^u, u uniform in ±spread
               test: RetinaNet's nine
    positive   IoU ≥ 0.5 with the object of highest IoU; equal IoU: the object listed first
    background best IoU < 0.4; in between nothing is taught
    forced     every anchor whose IoU is m_n = max_j IoU(a_j, b_n), if m_n > 0

The draw is a function of the run's seed and the progress of training: see `detector/generated.py`.

Source: arXiv 1807.00980, Sections 3.1–3.3, Eq. 5, 6, 8. The matching is RetinaNet's. The authors released no code. So
there is no preset, and tests can only compare with a slow reading of the paper's formulas.

Choices where the paper is silent: the distribution of the draws, the width of the generators, their initial values, and
one bias for all anchors. The paper's second generator, which also reads the features, is not built.
"""

from __future__ import annotations

from dataclasses import replace

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
from assignbench.core.parts import Network, anchor_head


class MetaAnchor(Assigner):
    """Anchors of any size: the network generates the last layers for them.

    Args:
        positive_iou: from this overlap on an anchor is positive.
        background_iou: below this overlap an anchor is background.
        hidden: width of the generators.
        spread: in octaves, how far the sides of anchors are drawn from RetinaNet's in training; 0: not at all.
    """

    head = anchor_head(make=Network("generated"))
    source = "MetaAnchor, arXiv 1807.00980, Sections 3.1–3.3"

    def __init__(
        self,
        setting: Setting,
        *,
        positive_iou: float = 0.5,
        background_iou: float = 0.4,
        hidden: int = 128,
        spread: float = 0.5,
    ) -> None:
        super().__init__(setting)
        require(
            0 < background_iou <= positive_iou <= 1,
            f"0 < background_iou ≤ positive_iou ≤ 1 does not hold for {background_iou} and {positive_iou}",
        )
        require(hidden >= 1, f"hidden must be at least 1, got {hidden}")
        require(0 <= spread <= 4, f"spread must lie in [0, 4], got {spread}")
        self.positive_iou, self.background_iou = positive_iou, background_iou
        self.head = replace(self.head, make=Network.called("generated", hidden=hidden, spread=spread))

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas; the priors are the anchors that were drawn."""
        owner = match_overlaps(
            *overlapping_pairs(targets, priors, self.background_iou, best=True),
            targets,
            priors,
            positive=self.positive_iou,
            background=self.background_iou,
        )
        return matched_assignment(owner, targets)

    def explain(self, priors: Priors, targets: Targets) -> Reasons:
        """The anchors that are not background for every object, and m_n."""
        return overlap_reasons(
            targets,
            priors,
            self.background_iou,
            f"Anchors teach the object of their highest IoU from {self.positive_iou:g} on, and so do those of its own "
            f"largest IoU; below {self.background_iou:g} they are background, and between the two they are ignored.",
        )
