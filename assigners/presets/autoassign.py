"""AutoAssign as it was published: ``mmdet`` (default; what the golden vectors prove), ``official``.

They differ in the backbone's mean colour and in which scores are thresholded and ranked at test time.
"""

from assignbench.core.parts import GIoU, ImplicitObjectness, PairLoss, Preset, point_head

PRESETS = {
    "mmdet": Preset(
        source="mmdetection 3.3.0, autoassign_r50-caffe_fpn_1x_coco",
        head=point_head(ImplicitObjectness(), offset=0.0, class_prior=0.02, box_bias=4.0),
        loss=PairLoss(box=GIoU(weight=5.0), floored=True),
        options={"same_class": "last"},
        recipe={
            "model.style": "caffe",
            "model.pixels": "detectron",
            "model.pyramid": "c5_relu",
            "evaluate.threshold_on": "output",
            "evaluate.rank_by": "output",
            "evaluate.nms": 0.6,
        },
        schedule={"model.weights": "msra", "train.warmup": 1000},
        padding_is_background=True,
    ),
    "official": Preset(
        source="poodarchu/AutoAssign at its release (P6 from C5), auto_assign.res50.fpn.coco.800size.1x; its floor "
        "of areas is 1.2e-7 where ours is 1e-6",
        head=point_head(ImplicitObjectness(), offset=0.0, class_prior=0.02, box_bias=4.0),
        loss=PairLoss(box=GIoU(weight=5.0), floored=True),
        options={"same_class": "last"},
        recipe={
            "model.style": "caffe",
            "model.pixels": "caffe",
            "model.pyramid": "c5_relu",
            "evaluate.threshold_on": "class",
            "evaluate.rank_by": "class",
            "evaluate.candidates_per_location": True,
            "evaluate.nms": 0.6,
        },
        schedule={"model.weights": "msra", "train.warmup": 1000},
        padding_is_background=True,
    ),
}
