"""SAPD as its paper describes it: ``paper``. There is no public code that this could be held against."""

from assignbench.core import Head
from assignbench.core.parts import Distances, LogIoU, PairLoss, Preset

PRESETS = {
    "paper": Preset(
        source="arXiv 1911.12448; its towers of five convolutions are those of all strategies here, and what it "
        "leaves open is as in the anchor-free branch of FSAF, on which it builds",
        head=Head(
            coding=Distances(unit=4.0),
            box_bias=0.1,
            group_norm=False,
            level_scale=False,
        ),
        loss=PairLoss(box=LogIoU(weight=4.0)),  # α·λ = 1
        recipe={"evaluate.nms": 0.5},
    ),
}
