"""FCOS, improved: a location teaches the smallest box that it is central in and that fits its level.

    inside      min(l, t, r, b) > 0
    central     |x − x_n| < ρ·s  and  |y − y_n| < ρ·s           ρ = 1.5, s the level's stride, (x_n, y_n) the centre
    in range    lo_l ≤ max(l, t, r, b) ≤ hi_l                   both ends inclusive
    n(j)        the smallest box that passes; equal areas: the object listed first
    c*          √( min(l, r)/max(l, r) · min(t, b)/max(t, b) )  centerness: learned beside, and weight of the box part

Ranges in pixels for P3 … P7: up to 64, 64–128, 128–256, 256–512, from 512: multiples of 8 strides.
Source: arXiv 1904.01355, Sections 3.1–3.2; centre sampling, GIoU and centerness on the box tower are the
improvements of its released version (38.7 AP, ResNet-50, 1×). Choices where implementations differ: range ends
inclusive; box part weighted by centerness and divided by its sum, at least 1 (``least_box``; mmdetection: 1e-6);
areas compared without a finite sentinel. Each part is an option; without all of them this is `plain`, bit for bit.

Presets: ``mmdet`` (default; what the golden vectors prove), ``official``, ``torchvision``.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from assignbench.core import (
    MASKRCNN_BENCHMARK,
    MASKRCNN_BENCHMARK_SCHEDULE,
    Assigner,
    Assignment,
    Centerness,
    GIoU,
    Head,
    Normalisers,
    PairLoss,
    Predictions,
    Preset,
    Priors,
    Setting,
    Targets,
    area,
    centerness,
    centers,
    hard_assignment,
    inside_pairs,
    point_head,
    sides,
    winners,
)


class FCOS(Assigner):
    """Centre sampling and scale ranges, with centerness.

    Args:
        radius: ρ, half side of the central square in strides; 0 switches centre sampling off.
        scale_ranges: whether a level takes only objects of its range.
        base_range: upper end of the finest level's range, in strides; each level doubles it in pixels.
        least_box: floor of the sum of centerness that the box part is divided by.
        centerness: whether centerness is learned, scales the score and weights the box part.
    """

    head = Head(extras=(Centerness(),))
    source = "FCOS, arXiv 1904.01355, Sections 3.1–3.2"
    reads_predictions = False
    presets = {
        "mmdet": Preset(
            source="mmdetection 3.3.0, fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
            head=point_head(Centerness()),
            loss=PairLoss(box=GIoU(weight=4.0)),  # α·λ = 1
            options={"least_box": 1e-6},
            recipe={
                "model.style": "caffe",
                "model.pixels": "caffe",
                "model.pyramid": "p5_relu",
                "model.pyramid_init": "xavier",
                "train.bias_lr": 2.0,
                "train.bias_decay": False,
                "train.norm_decay": True,
                "evaluate.score": "product",
                "evaluate.threshold_on": "output",
                "evaluate.rank_by": "output",
                "evaluate.nms": 0.6,
            },
            schedule={"model.weights": "msra", "train.warmup": 500, "train.warmup_start": 1 / 3},
            padding_is_background=True,
        ),
        "official": Preset(
            source="tianzhi0549/FCOS, fcos_imprv_R_50_FPN_1x; not its widths + 1, its GIoU with (I + 1) / (U + 1), "
            "its constant warm-up, or the doubled rate of the norms' biases",
            head=point_head(Centerness()),
            loss=PairLoss(box=GIoU(weight=4.0)),
            recipe={
                **MASKRCNN_BENCHMARK,
                "evaluate.score": "root",
                "evaluate.threshold_on": "class",
                "evaluate.rank_by": "score",
                "evaluate.nms": 0.6,
            },
            schedule=MASKRCNN_BENCHMARK_SCHEDULE,
            padding_is_background=True,
        ),
        "torchvision": Preset(
            source="torchvision 0.28, fcos_resnet50_fpn; to evaluate its checkpoints: its training differs in "
            "open range ends, an unweighted box part and 26 epochs",
            head=point_head(Centerness(), offset=0.0, spacing="image", level_scale=False),
            loss=PairLoss(box=GIoU(weight=4.0)),
            recipe={
                "model.pyramid": "p5_relu",
                "evaluate.score": "root",
                "evaluate.threshold_on": "score",
                "evaluate.score_threshold": 0.2,
                "evaluate.rank_by": "score",
                "evaluate.nms": 0.6,
            },
            padding_is_background=True,
        ),
    }

    def __init__(
        self,
        setting: Setting,
        *,
        radius: float = 1.5,
        scale_ranges: bool = True,
        base_range: float = 8.0,
        least_box: float = 1.0,
        centerness: bool = True,
    ) -> None:
        super().__init__(setting)
        if radius < 0:
            raise ValueError(f"radius must not be negative, got {radius}")
        if base_range <= 0:
            raise ValueError(f"base_range must be positive, got {base_range}")
        if least_box <= 0:
            raise ValueError(f"least_box must be positive, got {least_box}")
        if not scale_ranges and base_range != 8.0:
            raise ValueError(f"base_range={base_range:g} would change nothing: no ranges; leave scale_ranges=false out")
        self.radius, self.scale_ranges, self.base_range = radius, scale_ranges, base_range
        self.least_box, self.central = least_box, centerness
        if not centerness:
            self.head = replace(type(self).head, extras=())

    @torch.no_grad()
    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        objects, locations = inside_pairs(targets, priors, within=self.candidate_boxes(priors, targets))
        boxes = targets.boxes[objects]
        points = centers(priors.boxes_at(targets.image[objects], locations))
        stride, level = priors.stride[locations], priors.level[locations]
        fits = torch.ones_like(objects, dtype=torch.bool)

        if self.radius > 0:
            fits &= (points - centers(boxes)).abs().amax(-1) < self.radius * stride
        if self.scale_ranges:
            reach = sides(boxes, points).amax(-1)
            high = self.base_range * stride
            low = torch.where(level == 0, -1.0, high / 2)
            fits &= (reach >= low) & ((reach <= high) | (level == self.setting.levels - 1))

        objects, locations, boxes, points = objects[fits], locations[fits], boxes[fits], points[fits]
        won = winners(-area(boxes), objects, locations, targets, priors)
        if not self.central:
            return hard_assignment(objects[won], locations[won], targets)
        central = centerness(boxes[won], points[won])
        count = won.sum().to(central.dtype)
        return hard_assignment(
            objects[won],
            locations[won],
            targets,
            box_weight=central,
            normalisers=Normalisers(positive=count, box=central.sum(), negative=count, least_box=self.least_box),
        )

    def candidate_boxes(self, priors: Priors, targets: Targets) -> Tensor | None:
        """On each level a box that holds all positive locations of an object: ``[object, level, 4]``; None: its own.

        A location near the centre lies within `radius`; one whose distances to all sides are at most r lies between
        the side on the right minus r and the side on the left plus r.
        """
        if priors.grid is None or (self.radius == 0 and not self.scale_ranges):
            return None
        stride = priors.stride[priors.grid.start, None]  # [level, 1]
        low = high = centers(targets.boxes)[:, None]
        if self.radius > 0:
            low, high = low - self.radius * stride, high + self.radius * stride
        else:
            low, high = low - float("inf"), high + float("inf")
        if self.scale_ranges:
            reach = self.base_range * stride
            reach[-1] = float("inf")
            low = torch.maximum(low, targets.boxes[:, None, 2:] - reach)
            high = torch.minimum(high, targets.boxes[:, None, :2] + reach)
        return torch.cat((low, high), dim=-1)
