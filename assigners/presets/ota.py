"""OTA as its authors published it: ``official`` (what the golden vectors prove)."""

from assignbench.core.parts import GIoU, PairLoss, PredictedIoU, Preset, point_head

PRESETS = {
    "official": Preset(
        source="Megvii-BaseDetection/OTA, ota.res50.fpn.coco.800size.1x; not what it does with an object without "
        "candidates; its floor of areas is 1.2e-7 where ours is 1e-6",
        head=point_head(PredictedIoU(), offset=0.0),
        loss=PairLoss(box=GIoU(weight=8.0)),  # α·λ = 2
        recipe={
            "model.style": "caffe",
            "model.pixels": "caffe",
            "model.pyramid": "p5_relu",
            "evaluate.score": "root",
            "evaluate.threshold_on": "score",
            "evaluate.rank_by": "score",
            "evaluate.nms": 0.6,
        },
        schedule={"model.weights": "msra", "train.warmup": 1000},
        padding_is_background=True,
    ),
}
