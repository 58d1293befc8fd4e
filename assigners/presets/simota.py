"""SimOTA as it was published, in the YOLOX head: ``mmdet`` (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import (
    CenterSize,
    CrossEntropy,
    Late,
    Objectness,
    PairLoss,
    Preset,
    SmoothL1,
    SquareIoU,
    SumOf,
)

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, yolox_s_8xb8-300e_coco: its losses, coding, objectness and post-processing; not its "
        "CSPDarknet, its towers, its three levels, or its recipe of 300 epochs with mosaic",
        head=Head(coding=CenterSize(), level_scale=False, tower_std=0.01, extras=(Objectness(),)),
        loss=PairLoss(
            CrossEntropy(),
            # plain L1 in the last 15 of 300 epochs
            SumOf(parts=(SquareIoU(weight=5.0), Late(part=SmoothL1(), start=0.95))),
            weight=1.0,
        ),
        options={"class_at": "pairs"},
        recipe={
            "evaluate.score": "product",
            "evaluate.threshold_on": "score",
            "evaluate.score_threshold": 0.01,
            "evaluate.rank_by": "score",
            "evaluate.candidates_of": "best_class",
            "evaluate.candidates": 100_000,  # the reference has no limit
            "evaluate.detections": 100_000,
            "evaluate.clip": False,
            "evaluate.nms": 0.65,
        },
        padding_is_background=True,
    ),
}
