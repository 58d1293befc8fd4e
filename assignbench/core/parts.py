"""What a detector is made of: heads, extra outputs, codings, losses, presets."""

from assignbench.core.box_loss import BOX_LOSSES, BoxLoss, CIoU, DIoU, DistributionFocal, GIoU, LogIoU, SmoothL1, SumOf
from assignbench.core.class_loss import CLASS_LOSSES, ClassLoss, CrossEntropy, Focal, QualityFocal, Varifocal
from assignbench.core.coding import Coding, Deltas, Distances, Distribution, LogDistances
from assignbench.core.extras import (
    EXTRAS,
    AuxiliaryObjectness,
    Centerness,
    Cost,
    ExplicitObjectness,
    ImplicitObjectness,
    Objectness,
    PredictedIoU,
    joining,
)
from assignbench.core.head import anchor_head, point_head, predictions_of
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
    "Centerness",
    "ClassLoss",
    "Coding",
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
    "ImplicitObjectness",
    "LogDistances",
    "LogIoU",
    "Objectness",
    "PairLoss",
    "PredictedIoU",
    "Preset",
    "QualityFocal",
    "RawOutputs",
    "SmoothL1",
    "SumOf",
    "Varifocal",
    "anchor_head",
    "joining",
    "point_head",
    "predictions_of",
]
