"""Dynamic soft label assignment as it was published, in RTMDet: ``mmdet`` (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import GIoU, LogDistances, PairLoss, Preset, QualityFocal

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, rtmdet_l_8xb32-300e_coco: its losses, coding and post-processing; not its CSPNeXt, "
        "its towers, its three levels, or its recipe of 300 epochs with AdamW, mosaic and mixup",
        head=Head(offset=0.0, coding=LogDistances(), level_scale=False, tower_std=0.01),
        loss=PairLoss(QualityFocal(), GIoU(weight=2.0), weight=1.0),
        recipe={
            "evaluate.threshold_on": "output",
            "evaluate.score_threshold": 0.001,
            "evaluate.rank_by": "output",
            "evaluate.candidates": 30000,
            "evaluate.nms": 0.65,
            "evaluate.detections": 300,
        },
    ),
}
