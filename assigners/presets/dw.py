"""DW as it was published: ``official``, its authors' code (what the golden vectors prove)."""

from assignbench.core.parts import Focal, GIoU, ImplicitObjectness, PairLoss, Preset, point_head

PRESETS = {
    "official": Preset(
        source="strongwolf/DW, dw_r50_fpn_worefine_1x_coco: without the refinement of boxes",
        head=point_head(ImplicitObjectness(), class_prior=0.02, box_bias=4.0),
        loss=PairLoss(Focal(negative_weight=1.0), box=GIoU(weight=5.0)),
        options={"same_class": "last"},
        recipe={
            "model.pyramid": "p5_relu",
            "evaluate.threshold_on": "class",
            "evaluate.rank_by": "class",
            "evaluate.nms": 0.6,
        },
        schedule={"train.warmup": 1000},
        padding_is_background=True,
    ),
}
