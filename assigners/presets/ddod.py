"""DDOD as it was published: ``mmdet`` (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import Deltas, GIoU, PairLoss, PredictedIoU, Preset

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, ddod_r50_fpn_1x_coco; not the deformable first convolution of both towers, nor "
        "positives counted since the start of training",
        head=Head(
            offset=0.0,
            coding=Deltas(),
            conv_bias=False,
            tower_std=0.01,
            extras=(PredictedIoU(weight=1.0, at="box"),),
        ),
        loss=PairLoss(box=GIoU(weight=8.0)),  # α·λ = 2
        options={"reference": True, "normaliser": "image"},
        recipe={
            "model.pyramid": "p5_plain",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "train.norm_decay": True,
            "evaluate.score": "product",
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.6,
        },
        schedule={"train.warmup": 500},
    ),
}
