"""PAA as it was published: ``mmdet`` (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import Deltas, GIoU, PairLoss, PredictedIoU, Preset

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, paa_r50_fpn_1x_coco; its IoU branch is divided by the positives even where they are "
        "fewer than the images",
        head=Head(offset=0.0, coding=Deltas(), conv_bias=False, tower_std=0.01, extras=(PredictedIoU(),)),
        loss=PairLoss(box=GIoU(weight=5.2)),  # α·λ = 1.3
        options={"forced": "last", "unsplit": "none", "least_box": 1e-6, "normaliser": "local"},
        recipe={
            "model.pyramid": "p5_plain",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "train.norm_decay": True,
            "evaluate.score": "root",
            "evaluate.threshold_on": "score",
            "evaluate.rank_by": "score",
            "evaluate.nms": 0.6,
            "evaluate.candidates_of": "location",
            "evaluate.voting": 0.025,
        },
        schedule={"train.warmup": 500},
    ),
}
