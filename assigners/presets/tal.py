"""TAL as it was published: ``mmdet`` (its losses are what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import GIoU, LogDistances, PairLoss, Preset, QualityFocal

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, tood_r50_fpn_1x_coco with two towers in place of its task-aligned head: the "
        "paper's “parallel head + TAL”",
        head=Head(offset=0.0, coding=LogDistances(), conv_bias=False, tower_std=0.01),
        loss=PairLoss(QualityFocal(), GIoU(weight=2.0), weight=1.0),
        options={"atss_focal": True},
        recipe={
            "model.pyramid": "p5_plain",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "train.norm_decay": True,
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.clip": False,
            "evaluate.nms": 0.6,
        },
        schedule={"train.warmup": 500},
    ),
}
