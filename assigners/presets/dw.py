"""DW as its authors published it: ``official``, and without the refinement of boxes ``unrefined``.

The golden vectors prove both.
"""

from dataclasses import replace

from assignbench.core.parts import Focal, GIoU, ImplicitObjectness, Network, PairLoss, Preset, point_head

HEAD = point_head(ImplicitObjectness(), class_prior=0.02, box_bias=4.0, make=Network("refined"))
OFFICIAL = Preset(
    source="strongwolf/DW, dw_r50_fpn_1x_coco",
    head=HEAD,
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
)
PRESETS = {
    "official": OFFICIAL,
    "unrefined": replace(OFFICIAL, source="strongwolf/DW, dw_r50_fpn_worefine_1x_coco", head=replace(HEAD, make=None)),
}
