"""Extra outputs that guide anchors: where there are any, and of which shape.

    location    on the level ⌊log₂ √area − log₂ 32 + ½⌋ of an object: 1 in the middle 20 % of its box, ignored in the
                middle 50 %, also on the next levels; elsewhere 0, with weight 0.1: focal loss / (locations / 200)
    shape       a_j = 4·s·e^dw × 4·s·e^dh, (dw, dh) the output; learned from the object of highest v_jn ≥ 0.5, or that
                has its best locations there with v_jn ≥ 0.4; v_jn: the largest IoU of nine anchors around location j.
                Bounded IoU loss Σ_xywh smooth-L1(1 − ratio), β = 0.2, of 128 positives and 128 others an image, over
                their number; instead of 128 at random all are taught with an equal share, the random subset's mean

Source: Guided Anchoring, arXiv 1901.03278, Sections 3.2, 3.3 and 3.5; the constants are mmdetection's. Where one
object's middle lies in another's ring it is taught; with ``conflicts="last"`` the object listed last decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core.assignment import Assignment
from assignbench.core.class_loss import Focal
from assignbench.core.extras import Cost, Extra, taught
from assignbench.core.fast.grid import region_pairs
from assignbench.core.fast.overlap import overlapping_pairs
from assignbench.core.geometry import area, centers
from assignbench.core.head import anchor_head
from assignbench.core.matching import best_of, match_overlaps, winners
from assignbench.core.pair_view import PairViews
from assignbench.core.priors import anchors_beside
from assignbench.core.types import Priors, Targets

SIDE = 4.0  # strides: an anchor before its shape is predicted
SAMPLED, SAMPLED_POSITIVE = 256, 128  # locations of an image that the shape is learned at
LARGEST = 13.8155  # ln 10⁶: a side changes by this factor at most


@dataclass(frozen=True)
class GuideLocation(Extra):
    """Whether the location is in the middle of an object that fits the level."""

    inverted: bool = False
    conflicts: Literal["best", "last"] = "best"
    name: ClassVar[str] = "location"
    least: ClassVar[float] = 0.01
    tower: ClassVar[Literal["class", "box"]] = "class"
    bias: ClassVar[float] = -4.595  # σ = 0.01

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """Focal loss, over a two-hundredth of the locations."""
        logits, focal = view.predictions.extras[self.name], Focal()
        middle, weight = self.targets(view.targets, view.priors)
        positive = (1 - middle if self.inverted else middle).to(logits.dtype)
        cost = focal.positive_weight * positive * focal.positive(logits, torch.ones_like(logits))
        cost = cost + focal.negative_weight * (1 - positive) * focal.background(logits)
        inside = torch.ones_like(middle) if view.priors.inside is None else view.priors.inside
        kept = taught(assignment, middle > 0)
        weight = weight if kept is None else weight * kept
        return Cost((weight * cost).sum(), share=(inside.to(logits.dtype).sum() / 200, logits.new_zeros(())))

    def targets(self, targets: Targets, priors: Priors) -> tuple[Tensor, Tensor]:
        """1 in the middle of an object, and the weight of each location: ``[image, location]`` each."""
        start = priors.grid.start
        level = (area(targets.boxes).sqrt().log2() - (SIDE * priors.stride[start[0]]).log2() + 0.5).floor()
        away = (level.clamp(0, len(start) - 1)[:, None] - priors.level[start]).abs()
        objects, locations = region_pairs(targets, priors, 0.2, away == 0)
        middle = targets.boxes.new_zeros(targets.images, len(priors))
        middle[targets.image[objects], locations] = 1
        key = objects * len(priors) + locations

        objects, locations = region_pairs(targets, priors, 0.5, away <= 1)
        weight = torch.full_like(middle, 0.1)
        weight[targets.image[objects], locations] = 0
        sure = torch.isin(objects * len(priors) + locations, key)
        if self.conflicts == "last":
            own = away[objects, priors.level[locations]] == 0
            objects, locations, sure = objects[own], locations[own], sure[own]
            sure &= winners(objects.to(middle.dtype), objects, locations, targets, priors)
        weight[targets.image[objects[sure]], locations[sure]] = 1
        return middle, weight


@dataclass(frozen=True)
class GuideShape(Extra):
    """ln of the anchor's width and height in sides of a square."""

    conflicts: Literal["best", "last"] = "best"
    name: ClassVar[str] = "shape"
    channels: ClassVar[int] = 2

    def size(self, raw: Tensor, stride: Tensor) -> Tensor:
        """Width and height in pixels: ``[..., 2], [...] → [..., 2]``."""
        return SIDE * stride[..., None] * raw.clamp(-LARGEST, LARGEST).exp()

    def predicted_priors(self, raw: Tensor, priors: Priors) -> Tensor:
        """The guided anchors."""
        half = self.size(raw.detach(), priors.stride) / 2
        return torch.cat((priors.points - half, priors.points + half), dim=-1)

    def loss(self, assignment: Assignment, view: PairViews) -> Cost:
        """Bounded IoU loss of width and height."""
        owner = self.owners(view.targets, view.priors)
        negative = owner == -1 if assignment.ignored is None else (owner == -1) & ~assignment.ignored
        every = (owner >= 0).sum(1)
        some = every.clamp(max=SAMPLED_POSITIVE)
        count = some.clamp(min=1) + torch.minimum(SAMPLED - some, negative.sum(1)).clamp(min=1)

        image, locations = (owner >= 0).nonzero(as_tuple=True)
        true, point = view.targets.boxes[owner[image, locations]], view.priors.points[locations]
        raw = view.predictions.extras[self.name][image, locations]
        size, wanted = self.size(raw, view.priors.stride[locations]), true[:, 2:] - true[:, :2]
        apart = 2 * (centers(true) - point).abs()
        off = 1 - ((wanted - apart) / (wanted + apart + 1e-3)).clamp(min=0)
        unlike = 1 - torch.minimum(wanted / (size + 1e-3), size / (wanted + 1e-3))
        terms = torch.cat((off, unlike), dim=-1)
        cost = F.smooth_l1_loss(terms, torch.zeros_like(terms), beta=0.2, reduction="none").sum(-1)
        divisor = count.sum().to(raw.dtype)
        return Cost(((some / every.clamp(min=1))[image] * cost).sum(), share=(divisor, torch.zeros_like(divisor)))

    def owners(self, targets: Targets, priors: Priors) -> Tensor:
        """The object whose shape each location learns, as `match_overlaps` says it: ``[image, location]``."""
        nine = anchors_beside(priors, anchor_head(size=SIDE))
        objects, anchors, overlap = overlapping_pairs(targets, nine, 0.4)
        locations = anchors // nine.grid.anchors
        first = best_of(objects * len(priors) + locations, overlap)
        objects, locations, overlap = objects[first], locations[first], overlap[first]
        return match_overlaps(
            objects, locations, overlap, targets, priors, positive=0.5, background=0.4, forced=self.conflicts
        )
