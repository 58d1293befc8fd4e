"""POTO as its authors published it: ``official`` (what the golden vectors prove)."""

from assignbench.core.parts import GIoU, PairLoss, Preset, point_head

PRESETS = {
    "official": Preset(
        source="Megvii-BaseDetection/DeFCN, poto.res50.fpn.coco.800size.3x_ms, under the recipe's schedule and sizes; "
        "its floor of areas is 1.2e-7 where ours is 1e-6",
        head=point_head(suppress=False),
        loss=PairLoss(box=GIoU(weight=8.0)),  # α·λ = 2
        options={"orphans": "first"},
        recipe={
            "model.style": "caffe",
            "model.pixels": "caffe",
            "model.pyramid": "p5_relu",
        },
        schedule={"model.weights": "msra", "train.warmup": 1000},
        padding_is_background=True,
    ),
}
