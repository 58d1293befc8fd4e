"""Score voting: a detection's box becomes the mean of the candidates around it (PAA, arXiv 2007.08103, Section 3.3).

box_d ← Σ_j p_j s_j box_j / Σ_j p_j s_j,   p_j = exp(−(1 − IoU_dj)² / σ)
j: all candidates of d's class with IoU_dj > 0.01, d itself among them; s_j their scores, which stay as they are
"""

from __future__ import annotations

import torch
from torch import Tensor

from assignbench.core import iou

LEAST_IOU = 0.01


def voted(boxes: Tensor, scores: Tensor, labels: Tensor, kept: Tensor, spread: float) -> Tensor:
    """The boxes of one image, those of detections voted for; means and overlaps in float64: ``[entry, 4]``.

    Args:
        boxes: of the candidates, ``[entry, 4]``.
        scores: at least 0: ``[entry]``.
        labels: ``[entry]``.
        kept: which candidates are detections, bool ``[entry]``.
        spread: σ.
    """
    every, lead = boxes.double(), kept.nonzero()[:, 0]
    overlap = iou(every[lead, None], every)  # [detection, entry]
    near = (overlap > LEAST_IOU) & (labels[lead, None] == labels)
    weight = (-(1 - overlap).square() / spread).exp() * near * scores.double()
    total = weight.sum(1, keepdim=True)  # 0: scores of 0, or a box of so little area that it does not overlap itself
    mean = torch.where(total > 0, weight @ every / total, every[lead])
    return boxes.index_copy(0, lead, mean.to(boxes.dtype))
