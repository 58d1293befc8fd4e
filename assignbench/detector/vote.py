"""Several looks at one picture → one list of detections: by suppression, or by the votes of overlapping boxes.

nms    all candidates of all looks together go through the suppression that those of one look go through.
vote   box voting (arXiv 1505.01749) in the soft variant of cvpods (`modeling/test_time_augmentation.py`,
       ``merge_result_from_multi_scales``, ``soft_vote``). Within a class, from the best box to the worst, a box i that
       no better one has taken takes every box j that is left with IoU_ij ≥ the threshold, itself among them:

           box_i ← Σ_j s_j · box_j / Σ_j s_j        score s_i as it is, the highest of its group
           each other j stays where it was, too, with the score s_j · (1 − IoU_ij), if that is at least ``soft``

Equal scores stand in the order of the looks, then of their rank there; what voting left behind comes after what led.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from assignbench.core import iou
from assignbench.detector.postprocess import ImageDetections
from assignbench.detector.score_voting import voted
from assignbench.detector.suppress import best_apart


@dataclass(frozen=True)
class MergeRule:
    """How several looks become one."""

    rule: Literal["nms", "vote"]
    iou: float  # nms: above it the weaker of two boxes of a class goes; vote: from it on they vote together
    soft: float | None  # vote: least score of what stays of a box that voted for another; None: nothing stays
    detections: int  # kept per image
    voting: float | None = None  # nms: σ of score voting, see `score_voting`; None: boxes stay as they are


def merge(found: Sequence[ImageDetections], rule: MergeRule) -> ImageDetections:
    """What several looks at one picture found, as one list, best first.

    Args:
        found: at least one, with boxes in the same pixels: candidates for nms, detections for vote.
        rule: numbers.
    """
    boxes, scores, labels = (torch.cat(column) for column in zip(*(_columns(one) for one in found), strict=True))
    scores, order = scores.sort(descending=True, stable=True)
    every = ImageDetections(boxes[order], scores, labels[order])
    if rule.rule == "vote":
        return vote(every, rule)
    stays = _apart(every, rule.iou, rule.detections)
    if rule.voting is not None:
        every = replace(every, boxes=voted(boxes[order], scores, labels[order], stays, rule.voting))
    return ImageDetections(*(column[stays] for column in _columns(every)))


def vote(every: ImageDetections, rule: MergeRule) -> ImageDetections:
    """The soft vote of the module's docstring; ``every`` is sorted, best first. Means and overlaps in float64."""
    boxes, scores, labels = _columns(every)
    # Suppression wants more than its threshold, voting at least. Groups beyond the best ones cannot come back.
    lead = _apart(every, math.nextafter(rule.iou, 0.0), rule.detections).nonzero()[:, 0]
    overlap = iou(boxes[lead, None].double(), boxes.double())  # [group, entry]
    near = (overlap >= rule.iou) & (labels[lead, None] == labels)
    member = near & (near.cumsum(0) == 1)  # the best leader takes it
    weight = member * scores.double()
    total = weight.sum(1, keepdim=True)  # 0: scores of 0, or a box of so little area that it does not overlap itself
    mean = torch.where(total > 0, weight @ boxes.double() / total, boxes[lead].double()).to(boxes.dtype)
    if rule.soft is None:
        return ImageDetections(mean, scores[lead], labels[lead])
    left = (member * (1 - overlap)).sum(0) * scores.double()  # of one term, or none; 0 for what leads
    stays = left >= rule.soft
    score = torch.cat([scores[lead], left[stays].to(scores.dtype)])
    best = score.sort(descending=True, stable=True).indices[: rule.detections]
    return ImageDetections(
        torch.cat([mean, boxes[stays]])[best], score[best], torch.cat([labels[lead], labels[stays]])[best]
    )


def _apart(every: ImageDetections, threshold: float, limit: int) -> Tensor:
    """`best_apart` in one image: ``[entry]`` bool."""
    valid = torch.ones_like(every.labels, dtype=torch.bool)
    return best_apart(every.boxes[None], every.labels[None], valid[None], threshold, limit)[0]


def _columns(found: ImageDetections) -> tuple[Tensor, Tensor, Tensor]:
    return found.boxes, found.scores, found.labels
