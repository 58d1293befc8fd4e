"""Dynamic soft labels: cost and class score follow how well each prediction overlaps the object (RTMDet).

    candidates   locations strictly inside any box
    c_nj         Σ_classes QFL(z_j, u_nj · one-hot y_n) − 3 ln(u_nj + 10⁻⁷) + 10^(d_nj − 3)
    k_n          max(1, ⌊Σ of the 13 largest u_nj over all candidates⌋)
    S_n          the k_n candidates of least c_nj
    n(j)         a candidate in several S_n goes to the object of least c_nj among all of the image
    q            u of the pair: the class score to learn, and weight of the box part; its sum divides all terms

QFL(z, t) = |t − σ(z)|² · BCE(σ(z), t), z: class logits; u_nj: IoU of the box predicted at j and box n; d_nj: distance
from location to centre in strides. Nothing carries gradient. ``at_least_one`` makes a candidate for a box that has
none: the location of the finest level that is nearest to the centre of the box.

Source: RTMDet, arXiv 2212.07784, Section 3.3, Equations 1–4. Dynamic k is as in SimOTA, arXiv 2107.08430.

Choices where implementations differ or are silent: an object may take a candidate that lies only in another box, as in
mmdetection. ``require_inside`` forbids this. (Distances to the sides cannot reach an object from such a location.) A
location so far away that its cost overflows, some 40 strides, is never taken.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Normalisers,
    PairView,
    PairViews,
    Priors,
    Reasons,
    Setting,
    Targets,
    competing_pairs,
    dynamic_k,
    dynamic_reasons,
    hard_assignment,
    inside_pairs,
    require,
    require_effect,
    sides,
)
from assignbench.core.parts import QualityFocal
from assigners.presets.soft_label import PRESETS

QFL = QualityFocal()
LEAST_OVERLAP = 1e-7
NEAR = 3.0  # strides at which the distance costs 1


class SoftLabel(Assigner):
    """Dynamic k by a cost with soft labels.

    Args:
        candidates: largest overlaps whose sum is an object's k.
        require_inside: whether an object takes only locations inside its own box.
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head()
    source = "RTMDet, arXiv 2212.07784, Section 3.3"
    presets = PRESETS

    def __init__(
        self, setting: Setting, *, candidates: int = 13, require_inside: bool = False, at_least_one: bool = False
    ) -> None:
        super().__init__(setting)
        require(candidates >= 1, f"candidates must be at least 1, got {candidates}")
        require_effect(not (at_least_one and require_inside), "at_least_one=true", "require_inside=true forbids it")
        self.candidates, self.require_inside, self.at_least_one = candidates, require_inside, at_least_one

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        candidates = inside_pairs(targets.on_host(), priors.on_host(), at_least_one=self.at_least_one)
        objects, locations = dynamic_k(view, *candidates, cost=self.cost(view), most=self.candidates, least=by_overlap)
        overlap = view(objects, locations).overlap
        total = overlap.sum()
        return hard_assignment(
            objects,
            locations,
            targets,
            quality=overlap,
            box_weight=overlap,
            normalisers=Normalisers(positive=total, box=total, negative=total),
        )

    def cost(self, view: PairViews) -> Callable[[PairView], Tensor]:
        """C of pairs: ``[pair]``."""
        nothing = view.over_classes(lambda logit, _: QFL.background(logit))  # what it costs that no class is there

        def cost(pair: PairView) -> Tensor:
            soft = nothing(pair.place) - QFL.background(pair.logit) + QFL.positive(pair.logit, pair.overlap)
            distance = pair.offset.square().sum(-1).sqrt()
            total = soft.clamp(min=0) + by_overlap(pair.overlap) + 10 ** (distance - NEAR)
            if self.require_inside:
                total = total.where(sides(pair.true, pair.point).amin(-1) > 0, torch.inf)
            return total

        return cost

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """Every candidate of the image, c and u, and k of each object."""
        inside = inside_pairs(targets, priors, at_least_one=self.at_least_one)
        pair = view(*competing_pairs(*inside, targets, priors))
        return dynamic_reasons(
            pair,
            self.cost(view)(pair),
            self.candidates,
            f"The object takes its k cheapest candidates, k the sum of its {self.candidates} largest IoU, rounded "
            "down, at least 1; candidates lie in any box; one of several objects goes to the least cost.",
        )


def by_overlap(overlap: Tensor) -> Tensor:
    """The part of the cost that the overlap makes, which is never more than all of it: any shape."""
    return -3 * (overlap + LEAST_OVERLAP).log()
