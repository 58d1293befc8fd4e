"""All that a strategy may import."""

from assignbench.core.assigner import Assigner, Head, Setting, assign, point_head
from assignbench.core.extras import (
    Centerness,
    Extra,
    ImplicitObjectness,
    Objectness,
    PredictedIoU,
    join_logits,
)
from assignbench.core.geometry import (
    Coding,
    Deltas,
    Distances,
    area,
    centerness,
    centers,
    giou,
    iou,
    iou_matrix,
    sides,
)
from assignbench.core.loss import BoxLoss, GIoU, PairBoxes, PairLoss, SmoothL1, pair_boxes, pair_logits
from assignbench.core.matching import (
    best_of,
    best_overlap,
    class_winners,
    hard_assignment,
    inside_pairs,
    matrix_pairs,
    max_by,
    min_by,
    object_chunks,
    smallest_k,
    sum_by,
    winners,
)
from assignbench.core.types import (
    Assignment,
    Discounts,
    Normalisers,
    Pairs,
    Predictions,
    Priors,
    Regions,
    Targets,
)
