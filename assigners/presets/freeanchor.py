"""FreeAnchor as it was published: ``mmdet`` (default; what the golden vectors prove), ``official``."""

from assignbench.core.parts import Deltas, Focal, PairLoss, Preset, SmoothL1, anchor_head
from assigners.presets.maskrcnn_benchmark import MASKRCNN_BENCHMARK, MASKRCNN_BENCHMARK_SCHEDULE

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, freeanchor_r50_fpn_1x_coco",
        head=anchor_head(coding=Deltas()),
        loss=PairLoss(Focal(0.5, 0.5), weight=0.5, box=SmoothL1(weight=0.75, beta=0.11), floored=True),
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
        loss=PairLoss(Focal(0.5, 0.5), weight=0.5, box=SmoothL1(weight=0.75, beta=0.11), floored=True),
        options={"ties": "topk", "normaliser": "local"},
        recipe={**MASKRCNN_BENCHMARK, "evaluate.nms": 0.5},
        schedule=MASKRCNN_BENCHMARK_SCHEDULE,
        padding_is_background=True,
    ),
}
