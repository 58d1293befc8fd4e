"""RetinaNet as it was published: ``mmdet`` (default; what the golden vectors prove), ``torchvision``."""

from assignbench.core.parts import PairLoss, Preset, SmoothL1, anchor_head

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, retinanet_r50_fpn_1x_coco",
        head=anchor_head(),
        loss=PairLoss(box=SmoothL1(weight=4.0)),  # α·λ = 1, plain L1
        options={"forced": "last", "normaliser": "local"},
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
    ),
    "torchvision": Preset(
        source="torchvision 0.28, retinanet_resnet50_fpn; to evaluate its checkpoints: its training differs in "
        "a normaliser for each image and 26 epochs",
        head=anchor_head(whole_pixels=True, spacing="image"),
        loss=PairLoss(box=SmoothL1(weight=4.0)),
        recipe={
            "model.pyramid": "p5_relu",
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.5,
            "evaluate.detections": 300,
        },
        padding_is_background=True,
    ),
}
