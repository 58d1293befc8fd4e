"""What a detector is made of: heads, extra outputs, codings, losses, presets."""

from assignbench.core.box_loss import (
    BOX_LOSSES,
    BoxLoss,
    CIoU,
    DIoU,
    DistributionFocal,
    GIoU,
    Late,
    LogIoU,
    SmoothL1,
    SquareIoU,
    SumOf,
)
from assignbench.core.class_loss import CLASS_LOSSES, ClassLoss, CrossEntropy, Focal, QualityFocal, Varifocal
from assignbench.core.coding import CenterSize, Coding, Corners, Deltas, Distances, Distribution, LogDistances
from assignbench.core.extras import (
    EXTRAS,
    AuxiliaryObjectness,
    Centerness,
    Cost,
    ExplicitObjectness,
    ImplicitObjectness,
    Objectness,
    PredictedIoU,
    Refinement,
    joining,
)
from assignbench.core.guides import GuideLocation, GuideShape
from assignbench.core.head import Network, anchor_head, point_head, predictions_of
from assignbench.core.pair_view import PairLoss
from assignbench.core.preset import Preset
from assignbench.core.types import RawOutputs

__all__ = [
    "BOX_LOSSES",
    "CLASS_LOSSES",
    "EXTRAS",
    "AuxiliaryObjectness",
    "BoxLoss",
    "CIoU",
    "CenterSize",
    "Centerness",
    "ClassLoss",
    "Coding",
    "Corners",
    "Cost",
    "CrossEntropy",
    "DIoU",
    "Deltas",
    "Distances",
    "Distribution",
    "DistributionFocal",
    "ExplicitObjectness",
    "Focal",
    "GIoU",
    "GuideLocation",
    "GuideShape",
    "ImplicitObjectness",
    "Late",
    "LogDistances",
    "LogIoU",
    "Network",
    "Objectness",
    "PairLoss",
    "PredictedIoU",
    "Preset",
    "QualityFocal",
    "RawOutputs",
    "Refinement",
    "SmoothL1",
    "SquareIoU",
    "SumOf",
    "Varifocal",
    "anchor_head",
    "joining",
    "point_head",
    "predictions_of",
]
