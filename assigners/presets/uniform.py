"""Uniform matching as it was published, in YOLOF: ``mmdet`` (what the golden vectors prove)."""

from assignbench.core import Head
from assignbench.core.parts import Deltas, GIoU, PairLoss, Preset

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, yolof_r50-c5_8xb8-1x_coco: its one level, anchors, matching, losses; P5 of the "
        "pyramid and the towers of all strategies in place of its dilated encoder and towers of two and four "
        "convolutions; without its implicit objectness (add it by name) and random shifts; 64 pictures a step at "
        "four times the learning rate",
        head=Head(
            levels=(2,),
            size=1.0,
            octaves=(0.0, 1.0, 2.0, 3.0, 4.0),  # 32 to 512 pixels
            offset=0.0,
            coding=Deltas((1.0, 1.0, 1.0, 1.0), max_shift=32.0),
            tower_std=0.01,
            level_scale=False,
        ),
        loss=PairLoss(box=GIoU(weight=4.0)),  # α·λ = 1
        options={"conflicts": "last", "normaliser": "image"},
        recipe={
            "model.style": "caffe",
            "model.pixels": "caffe",
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.6,
        },
        schedule={
            "model.weights": "detectron",
            "train.lr": 0.03,
            "train.backbone_lr": 1 / 3,
            "train.warmup": 1500,
        },
    ),
}
