"""DDOD: classes and boxes are learned at locations of their own, each chosen by what the network says.

    C_n     on every level the k priors nearest to the object's centre        k = 9 for each prior of a cell
    q_nj    p_j(y_n)^(1−a) · u_nj^a    p: class probability, u: IoU(predicted box j, box n); a = 0.8 classes, 0.5 boxes
    t_n     mean + standard deviation of q over C_n                           n − 1 in the deviation
    S_n     { j ∈ C_n : q ≥ t_n,  min(l, t, r, b) > 0.01 }                    the prior's centre inside the box
    n(j)    a prior in several S_n goes to the highest q; equal q: the object listed first
    v_l     2 − (c_l − min c) / (max c − min c)    c_l: positives of level l; every term of a level counts v_l times

ATSS runs twice, with q in place of the priors' overlap: once for classes, and once for boxes and predicted IoU. A
location may learn the class of one object and the box of another. The v of classes counts only their positives. The v
of boxes counts both. ``at_least_one`` lets an object with no candidate inside its box have the location of the finest
level that is nearest to its centre.

Source: arXiv 2107.02963, Section 3, and mmdetection for the two values of a, for v and for the divisors.

Choices: mmdetection counts c from the first step of training on, which is a memory. Here c counts one image
(``counts="batch"``: the batch, as the reference does in its first step). Equal distances go to the lower prior index.
If no candidate inside the box reaches t_n, the best ones inside are taken. ``reference`` undoes these two.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Head,
    Normalisers,
    Pairs,
    PairView,
    PairViews,
    Priors,
    Reasons,
    Setting,
    Targets,
    above_moments,
    image_floor,
    moments_by,
    nearest_pairs,
    or_nearest,
    require,
    sides,
    sum_by,
    winners,
)
from assignbench.core.parts import PredictedIoU
from assigners.presets.ddod import PRESETS

MARGIN = 0.01  # pixels between a positive prior's centre and the box's sides


class DDOD(Assigner):
    """Disentangled assignment of classes and boxes.

    Args:
        k: candidates per level and object, per prior of a cell.
        class_alpha: a of the class positives: how much the overlap counts in their q.
        box_alpha: a of the box positives.
        counts: c of each image, or of the batch; none: v = 1, all levels count alike.
        reference: decide as the reference where it leaves it to rounding and to `torch.topk`.
        normaliser: what divides the parts: the positives of the batch, or of each image, at least one an image.
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head(extras=(PredictedIoU(weight=1.0, at="box"),))
    source = "DDOD, arXiv 2107.02963, Section 3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        k: int = 9,
        class_alpha: float = 0.8,
        box_alpha: float = 0.5,
        counts: Literal["image", "batch", "none"] = "image",
        reference: bool = False,
        normaliser: Literal["batch", "image"] = "batch",
        at_least_one: bool = False,
    ) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        for name, alpha in (("class_alpha", class_alpha), ("box_alpha", box_alpha)):
            require(0 <= alpha <= 1, f"{name} must lie in [0, 1], got {alpha}")
        self.k, self.class_alpha, self.box_alpha, self.reference = k, class_alpha, box_alpha, reference
        self.counts, self.normaliser, self.at_least_one = counts, normaliser, at_least_one

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        pair = view(*nearest_pairs(targets, priors, self.k, ties="topk" if self.reference else "first"))
        by_class, by_box = self.positives(pair, self.class_alpha), self.positives(pair, self.box_alpha)
        kept = by_class | by_box
        objects, locations = pair.objects[kept], pair.locations[kept]
        level = pair.image[kept] * self.setting.levels + pair.level[kept]
        by_class, by_box = by_class[kept].to(pair.true.dtype), by_box[kept].to(pair.true.dtype)
        counts = sum_by(by_class, level, targets.images * self.setting.levels)
        class_levels = self.level_weight(counts)
        box_levels = self.level_weight(counts + sum_by(by_box, level, len(counts)))
        count, box_count = self.divisor(objects, by_class, targets), self.divisor(objects, by_box, targets)
        return Assignment(
            pairs=Pairs(objects, locations, by_class * class_levels[level], box_weight=by_box * box_levels[level]),
            discounts=Discounts.of_pairs(objects, locations, targets, factor=1 - by_class),
            normalisers=Normalisers(positive=count, box=box_count, negative=count),
            background=class_levels.view(targets.images, -1)[:, priors.level],
        )

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """C_n with both q, and both t_n."""
        pair = view(*nearest_pairs(targets, priors, self.k, ties="topk" if self.reference else "first"))
        alphas = {"class": self.class_alpha, "box": self.box_alpha}
        quality = {f"q of the {part}": pair.alignment(1 - alpha, alpha) for part, alpha in alphas.items()}
        moments = {name: moments_by(values, pair.objects, len(targets)) for name, values in quality.items()}
        return Reasons(
            f"Of the {self.k} priors nearest to its centre on each level those inside whose q reaches its threshold, "
            "mean + deviation, teach the object: once for the class, once for the box; one of several objects goes "
            "to the highest q.",
            pair.objects,
            pair.locations,
            {**quality, "inside": sides(pair.true, pair.point).amin(-1) > MARGIN},
            {f"threshold of {name}": mean + deviation for name, (mean, deviation) in moments.items()},
        )

    def positives(self, pair: PairView, alpha: float) -> Tensor:
        """Which candidates are in S_n and win their prior: bool ``[pair]``."""
        objects, targets = pair.objects, pair.targets
        quality = pair.alignment(1 - alpha, alpha)
        able = sides(pair.true, pair.point).amin(-1) > MARGIN
        if self.at_least_one:
            able = or_nearest(able, objects, pair.locations, targets, pair.priors)
        found = above_moments(quality, objects, len(targets), able, rescue=not self.reference)
        return found & winners(quality.where(found, -1.0), objects, pair.locations, targets, pair.priors)

    def divisor(self, objects: Tensor, positive: Tensor, targets: Targets) -> Tensor:
        """How many pairs are positive (1, else 0), as ``normaliser`` counts them: ``[]``."""
        return positive.sum() if self.normaliser == "batch" else image_floor(objects[positive > 0], targets)

    def level_weight(self, counts: Tensor) -> Tensor:
        """Weight v of each image and level, of their positives: ``[image · level] → [image · level]``."""
        if self.counts == "none":
            return torch.ones_like(counts)
        table = counts.view(-1, self.setting.levels)
        table = table if self.counts == "image" else table.sum(0, keepdim=True).expand_as(table)
        low, high = table.amin(1, keepdim=True), table.amax(1, keepdim=True)
        return (2 - (table - low) / (high - low + 1e-10)).flatten()
