"""FoveaBox as it was published: ``mmdet`` (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import Focal, LogDistances, PairLoss, Preset, SmoothL1

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, fovea_r50_fpn_4xb4-1x_coco; objects beyond the outermost ranges, of less than "
        "1 or more than 2048 pixels, which it leaves out, are on the outermost levels",
        head=Head(
            coding=LogDistances(unit=2.0, most=16.0),
            group_norm=False,
            level_scale=False,
        ),
        loss=PairLoss(  # α·λ = 1
            Focal(0.4, 0.6, gamma=1.5, focus=1.5), weight=0.4, box=SmoothL1(weight=2.5, beta=0.11)
        ),
        options={"ties": "last", "normaliser": "local"},
        recipe={
            "model.pyramid": "c5_plain",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "train.norm_decay": True,
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.5,
        },
        schedule={"train.warmup": 500},
        padding_is_background=True,
    ),
}
