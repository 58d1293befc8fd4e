"""TAL as it was published: ``mmdet``, and ``parallel`` with two towers in place of the task-aligned head.

The golden vectors prove ``mmdet``, and the losses of both.
"""

from dataclasses import replace

from assignbench.core import Head
from assignbench.core.parts import Corners, GIoU, LogDistances, Network, PairLoss, Preset, QualityFocal

HEAD = Head(offset=0.0, coding=Corners(), conv_bias=False, tower_std=0.01, make=Network("task_aligned"))
RECIPE = {
    "model.pyramid": "p5_plain",
    "model.pyramid_init": "xavier",
    "model.norm_affine": True,
    "train.norm_decay": True,
    "evaluate.threshold_on": "output",
    "evaluate.rank_by": "output",
    "evaluate.clip": False,
    "evaluate.nms": 0.6,
}
MMDET = Preset(
    source="mmdetection 3.3.0, tood_r50_fpn_1x_coco",
    head=HEAD,
    loss=PairLoss(QualityFocal(), GIoU(weight=2.0), weight=1.0),
    options={"atss_focal": True},
    recipe={**RECIPE, "model.towers": 6},
    schedule={"train.warmup": 500},
)
PRESETS = {
    "mmdet": MMDET,
    "parallel": replace(
        MMDET,
        source="mmdetection 3.3.0, tood_r50_fpn_1x_coco with two towers in place of its task-aligned head: the "
        "paper's “parallel head + TAL”",
        head=replace(HEAD, coding=LogDistances(), make=None),
        recipe=RECIPE,
    ),
}
