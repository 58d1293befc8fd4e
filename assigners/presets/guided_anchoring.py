"""Guided Anchoring as it was published: ``mmdet`` (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import Deltas, GuideLocation, GuideShape, Network, PairLoss, Preset, SmoothL1

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, ga-retinanet_r50_fpn_1x_coco, its inverted location branch included; not its "
        "random subset above 128 positives an image, nor its location loss in the batch's padding",
        head=Head(
            size=4.0,
            offset=0.0,
            coding=Deltas((1.0, 1.0, 1.0, 1.0)),
            group_norm=False,
            level_scale=False,
            extras=(GuideLocation(inverted=True, conflicts="last"), GuideShape(conflicts="last")),
            make=Network.called("guided", offset_std=0.0),
        ),
        loss=PairLoss(box=SmoothL1(weight=4.0, beta=0.04)),  # α·λ = 1
        options={"polarity": "inverted", "conflicts": "last", "normaliser": "local"},
        recipe={
            "model.pyramid": "c5_plain",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "train.norm_decay": True,
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.keep_flat": True,
            "evaluate.nms": 0.5,
        },
        schedule={"train.warmup": 500, "train.clip": 35.0},
    ),
}
