"""FSAF as it was published: ``mmdet``, the anchor-free branch alone (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import Distances, LogIoU, PairLoss, Preset

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, fsaf_r50_fpn_1x_coco; crowds teach nothing by the rule of all strategies, not in "
        "the half of their size that it takes",
        head=Head(
            size=1.0,
            offset=0.0,
            coding=Distances(unit=4.0, upright=True),
            box_bias=0.25,
            group_norm=False,
            level_scale=False,
        ),
        loss=PairLoss(box=LogIoU(weight=4.0, least_output=1e-4)),  # α·λ = 1
        options={"same_class": "ignored", "normaliser": "local"},
        recipe={
            "model.pyramid": "c5_plain",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "train.norm_decay": True,
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.5,
        },
        schedule={"train.warmup": 500, "train.clip": 10.0},
        crowd_is_background=False,
    ),
}
