"""FCOS as it was published: ``mmdet`` (default; what the golden vectors prove), ``official``, ``torchvision``."""

from assignbench.core.parts import Centerness, GIoU, PairLoss, Preset, point_head
from assigners.presets.maskrcnn_benchmark import MASKRCNN_BENCHMARK, MASKRCNN_BENCHMARK_SCHEDULE

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
        head=point_head(Centerness()),
        loss=PairLoss(box=GIoU(weight=4.0)),  # α·λ = 1
        options={"least_box": 1e-6},
        recipe={
            "model.style": "caffe",
            "model.pixels": "caffe",
            "model.pyramid": "p5_relu",
            "model.pyramid_init": "xavier",
            "train.bias_lr": 2.0,
            "train.bias_decay": False,
            "train.norm_decay": True,
            "evaluate.score": "product",
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.6,
        },
        schedule={"model.weights": "msra", "train.warmup": 500, "train.warmup_start": 1 / 3},
        padding_is_background=True,
    ),
    "official": Preset(
        source="tianzhi0549/FCOS, fcos_imprv_R_50_FPN_1x; not its widths + 1, its GIoU with (I + 1) / (U + 1), "
        "its constant warm-up, or the doubled rate of the norms' biases",
        head=point_head(Centerness()),
        loss=PairLoss(box=GIoU(weight=4.0)),
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
    "torchvision": Preset(
        source="torchvision 0.28, fcos_resnet50_fpn; to evaluate its checkpoints: its training differs in "
        "open range ends, an unweighted box part and 26 epochs",
        head=point_head(Centerness(), offset=0.0, spacing="image", level_scale=False),
        loss=PairLoss(box=GIoU(weight=4.0)),
        recipe={
            "model.pyramid": "p5_relu",
            "evaluate.score": "root",
            "evaluate.threshold_on": "score",
            "evaluate.score_threshold": 0.2,
            "evaluate.rank_by": "score",
            "evaluate.nms": 0.6,
        },
        padding_is_background=True,
    ),
}
