"""ATSS as it was published: ``mmdet`` (default; what the golden vectors prove), ``official``; and what was built on it.

``gfl`` (arXiv 2006.04388) learns the overlap as class score, and a distribution over each side: golden vectors, too.
``vfnet`` (arXiv 2008.13367) learns the overlap of a second box as class score: golden losses.
"""

from assignbench.core import Head
from assignbench.core.parts import (
    Centerness,
    Deltas,
    Distribution,
    DistributionFocal,
    GIoU,
    LogDistances,
    PairLoss,
    Preset,
    QualityFocal,
    Refinement,
    SumOf,
    Varifocal,
)
from assigners.presets.maskrcnn_benchmark import MASKRCNN_BENCHMARK, MASKRCNN_BENCHMARK_SCHEDULE

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, atss_r50_fpn_1x_coco",
        head=Head(offset=0.0, coding=Deltas(), conv_bias=False, tower_std=0.01, extras=(Centerness(),)),
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
    "official": Preset(
        source="sfzhang15/ATSS, atss_R_50_FPN_1x; not its widths + 1, its constant warm-up, or the doubled rate "
        "of the norms' biases",
        head=Head(coding=Deltas(), tower_std=0.01, extras=(Centerness(),)),
        loss=PairLoss(box=GIoU(weight=8.0)),
        options={"reference": True},
        recipe={
            **MASKRCNN_BENCHMARK,
            "evaluate.score": "root",
            "evaluate.threshold_on": "class",
            "evaluate.rank_by": "score",
            "evaluate.nms": 0.6,
        },
        schedule=MASKRCNN_BENCHMARK_SCHEDULE,
        padding_is_background=True,
    ),
    "gfl": Preset(
        source="mmdetection 3.3.0, gfl_r50_fpn_1x_coco",
        head=Head(offset=0.0, coding=Distribution(rest=0.1), conv_bias=False, tower_std=0.01),
        loss=PairLoss(
            QualityFocal(),
            SumOf(parts=(GIoU(weight=2.0), DistributionFocal(weight=0.25, rest=0.1))),
            weight=1.0,
            weigh_by="score",
        ),
        options={"reference": True, "normaliser": "image", "centerness": False},
        recipe={
            "model.pyramid": "p5_plain",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "train.norm_decay": True,
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.6,
        },
        schedule={"train.warmup": 500},
    ),
    "vfnet": Preset(
        source="mmdetection 3.3.0, vfnet_r50_fpn_1x_coco; its losses and its second boxes, not the layers behind its "
        "towers: star-shaped convolutions, which look where the first box's sides are, and scales of the second boxes",
        head=Head(offset=0.0, coding=LogDistances(unit=8.0), conv_bias=False, tower_std=0.01, extras=(Refinement(),)),
        loss=PairLoss(Varifocal(), GIoU(weight=2.0), weight=1.0, weigh_by="overlap"),
        options={"reference": True, "centerness": False, "refine": True},
        recipe={
            "model.pyramid": "p5_relu",
            "model.pyramid_init": "xavier",
            "model.norm_affine": True,
            "model.towers": 3,
            "train.bias_lr": 2.0,
            "train.bias_decay": False,
            "train.norm_decay": True,
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.6,
        },
        schedule={"train.warmup": 500, "train.warmup_start": 0.1},
    ),
}
