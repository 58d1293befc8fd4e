"""The vocabulary: all that the rule of a strategy is written in. What a detector is made of lies in `parts`."""

from assignbench.core.assigner import (
    Assigner,
    Setting,
    assign,
    reasons_of,
    require,
    require_effect,
    taught_locations,
)
from assignbench.core.assignment import Assignment, Discounts, Normalisers, Pairs
from assignbench.core.extras import Extra
from assignbench.core.fast.blocks import best_overlap
from assignbench.core.fast.box_features import box_features
from assignbench.core.fast.dynamic import dynamic_k
from assignbench.core.fast.gaussian import log_gaussian
from assignbench.core.fast.giou import giou
from assignbench.core.fast.grid import (
    and_nearest,
    around_pairs,
    central_pairs,
    inside_pairs,
    nearest_pairs,
    or_nearest,
    shrunk_pairs,
)
from assignbench.core.fast.mixture import two_gaussians
from assignbench.core.fast.nearest_boxes import nearest_boxes
from assignbench.core.fast.one_to_one import and_orphans, best_matching
from assignbench.core.fast.overlap import (
    best_predicted,
    most_overlapping,
    overlapping_pairs,
    owned_pairs,
    predicted_overlaps,
)
from assignbench.core.fast.rows import best_of
from assignbench.core.fast.sinkhorn import transport
from assignbench.core.geometry import area, centerness, centers, iou, iou_matrix, pick, sides, take
from assignbench.core.head import Branch, Head
from assignbench.core.matching import (
    above_moments,
    class_winners,
    hard_assignment,
    image_floor,
    level_means,
    match_overlaps,
    matched_assignment,
    max_by,
    mean_by,
    min_by,
    moments_by,
    smallest_k,
    softmax_by,
    sum_by,
    winners,
)
from assignbench.core.pair_view import PairView, PairViews
from assignbench.core.reasons import Reasons, competing_pairs, dynamic_reasons, either_pairs, overlap_reasons
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
    "Reasons",
    "Regions",
    "Setting",
    "Targets",
    "above_moments",
    "and_nearest",
    "and_orphans",
    "area",
    "around_pairs",
    "assign",
    "best_matching",
    "best_of",
    "best_overlap",
    "best_predicted",
    "box_features",
    "centerness",
    "centers",
    "central_pairs",
    "class_winners",
    "competing_pairs",
    "dynamic_k",
    "dynamic_reasons",
    "either_pairs",
    "giou",
    "hard_assignment",
    "image_floor",
    "inside_pairs",
    "iou",
    "iou_matrix",
    "level_means",
    "log_gaussian",
    "match_overlaps",
    "matched_assignment",
    "max_by",
    "mean_by",
    "min_by",
    "moments_by",
    "most_overlapping",
    "nearest_boxes",
    "nearest_pairs",
    "or_nearest",
    "overlap_reasons",
    "overlapping_pairs",
    "owned_pairs",
    "pick",
    "predicted_overlaps",
    "reasons_of",
    "require",
    "require_effect",
    "shrunk_pairs",
    "sides",
    "smallest_k",
    "softmax_by",
    "sum_by",
    "take",
    "taught_locations",
    "transport",
    "two_gaussians",
    "winners",
]
