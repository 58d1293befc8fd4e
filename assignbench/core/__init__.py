"""The vocabulary: all that the rule of a strategy is written in. What a detector is made of lies in `parts`."""

from assignbench.core.assigner import Assigner, Setting, assign, require, require_effect, taught_locations
from assignbench.core.assignment import Assignment, Discounts, Normalisers, Pairs
from assignbench.core.extras import Extra
from assignbench.core.fast.dynamic import dynamic_k
from assignbench.core.fast.giou import giou
from assignbench.core.fast.grid import and_nearest, around_pairs, central_pairs, inside_pairs, nearest_pairs
from assignbench.core.fast.mixture import two_gaussians
from assignbench.core.fast.overlap import (
    best_overlap,
    best_predicted,
    most_overlapping,
    overlapping_pairs,
    owned_pairs,
    predicted_overlaps,
)
from assignbench.core.fast.rows import best_of
from assignbench.core.geometry import area, centerness, centers, iou, iou_matrix, pick, sides, take
from assignbench.core.head import Branch, Head
from assignbench.core.matching import (
    class_winners,
    hard_assignment,
    image_floor,
    max_by,
    min_by,
    smallest_k,
    softmax_by,
    sum_by,
    winners,
)
from assignbench.core.pair_view import PairView, PairViews
from assignbench.core.types import Predictions, Priors, Regions, Targets

__all__ = [
    "Assigner",
    "Assignment",
    "Branch",
    "Discounts",
    "Extra",
    "Head",
    "Normalisers",
    "PairView",
    "PairViews",
    "Pairs",
    "Predictions",
    "Priors",
    "Regions",
    "Setting",
    "Targets",
    "and_nearest",
    "area",
    "around_pairs",
    "assign",
    "best_of",
    "best_overlap",
    "best_predicted",
    "centerness",
    "centers",
    "central_pairs",
    "class_winners",
    "dynamic_k",
    "giou",
    "hard_assignment",
    "image_floor",
    "inside_pairs",
    "iou",
    "iou_matrix",
    "max_by",
    "min_by",
    "most_overlapping",
    "nearest_pairs",
    "overlapping_pairs",
    "owned_pairs",
    "pick",
    "predicted_overlaps",
    "require",
    "require_effect",
    "sides",
    "smallest_k",
    "softmax_by",
    "sum_by",
    "take",
    "taught_locations",
    "two_gaussians",
    "winners",
]
