"""Dual: many locations an object teach one head, a single one the head that speaks; both are chosen by one metric.

    m_nj   1[j in box n] · p_j(y_n)^α · IoU(b̂_j, b_n)^β       each head's own p and b̂;  α = 0.5, β = 6
    many   the k locations of largest m                        k = 13
    one    the location of largest m
    t_nj   m_nj / m*_n · u*_n                                   class score that j learns, and weight of its box part

m*, u*: the largest m and IoU of the object's locations. A location that several objects choose goes to the one of
higher IoU. Both parts are divided by the sum of t. The two metrics are consistent where their α and β have one ratio:
then one is a power of the other, so that what is best for the head of many locations is best for that of one. The head
of one location does not teach the pyramid (stop-gradient), and its detections are not suppressed at test.
Source: YOLOv10, arXiv 2405.14458, Section 3.1, on the metric and the scores t of TOOD, arXiv 2108.07755, Section 3.2,
whose k and box weights are taken. Locations with m = 0 teach nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Branch,
    Head,
    Normalisers,
    PairViews,
    Priors,
    Setting,
    Targets,
    best_of,
    hard_assignment,
    inside_pairs,
    max_by,
    require,
    winners,
)


class Dual(Assigner):
    """Consistent dual assignments.

    Args:
        k: locations that an object takes in the head of many.
        alpha: α of many, how much the class probability counts.
        beta: β of many, how much the overlap counts.
        one_alpha: α of one.
        one_beta: β of one.
        stop_gradient: whether the head of one location leaves the pyramid alone.
    """

    head = Head(detached=True, suppress=False, beside=(Branch("one_to_many", Head()),))
    source = "YOLOv10, arXiv 2405.14458, Section 3.1"

    def __init__(
        self,
        setting: Setting,
        *,
        k: int = 13,
        alpha: float = 0.5,
        beta: float = 6.0,
        one_alpha: float = 0.5,
        one_beta: float = 6.0,
        stop_gradient: bool = True,
    ) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        powers = {"alpha": alpha, "beta": beta, "one_alpha": one_alpha, "one_beta": one_beta}
        for name, power in powers.items():
            require(power >= 0, f"{name} must not be negative, got {power}")
        self.k, self.many, self.one = k, (alpha, beta), (one_alpha, one_beta)
        self.head = replace(self.head, detached=stop_gradient)

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, branches: Mapping[str, PairViews]) -> Mapping[str, Assignment]:
        """See the module's formulas."""
        objects, locations = inside_pairs(targets, priors)
        inside = objects, locations, priors, targets
        return {
            "main": aligned(*inside, branches["main"], *self.one, k=1),
            "one_to_many": aligned(*inside, branches["one_to_many"], *self.many, k=self.k),
        }


def aligned(
    objects: Tensor,
    locations: Tensor,
    priors: Priors,
    targets: Targets,
    view: PairViews,
    alpha: float,
    beta: float,
    *,
    k: int,
) -> Assignment:
    """The k locations of largest m of each object, by what one head says at the pairs."""
    pair = view(objects, locations)
    metric = pair.alignment(alpha, beta)
    best = best_of(objects, metric, k) & (metric > 0)
    best &= winners(pair.overlap.where(best, -1.0), objects, locations, targets, priors)
    chosen = best.nonzero()[:, 0]
    objects, locations, metric, overlap = objects[chosen], locations[chosen], metric[chosen], pair.overlap[chosen]
    most, nearest = (max_by(each, objects, len(targets))[objects] for each in (metric, overlap))
    score = (metric / most * nearest).clamp(max=1)  # rounding may exceed 1
    total = score.sum()
    return hard_assignment(
        objects, locations, targets, quality=score, box_weight=score, normalisers=Normalisers(total, total, total)
    )
