"""Dual: many locations an object teach one head, a single one the head that speaks.

    main          taught by `one`           at test its detections are not suppressed; it does not teach the pyramid
    one_to_many   taught by `many`          teaches the pyramid, and is not there at test

Each head sees its own predictions only. By default both choose by one metric:

    m_nj   1[j in box n] · p_j(y_n)^α · IoU(b̂_j, b_n)^β       each head's own p and b̂;  α = 0.5, β = 6
    many   the k locations of largest m                        k = 13
    one    the location of largest m
    t_nj   m_nj / m*_n · u*_n                                   class score that j learns, and weight of its box part

m*, u*: the largest m and IoU of the object's locations. If several objects choose a location, the one with the higher
IoU gets it. Both parts are divided by the sum of t. Locations with m = 0 teach nothing. The two metrics are consistent
if the ratio of α to β is the same in both. Then one metric is a power of the other, and what is best for the head of
many locations is also best for the head of one. Any two strategies may teach the heads instead, as in
``dual[many=atss,one=poto]``. Each head then has the priors and extra outputs of its strategy.

Source: YOLOv10, arXiv 2405.14458, Section 3.1, on the metric and the scores t of TOOD, arXiv 2108.07755, Section 3.2.
The k and the box weights are TOOD's.
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
    Reasons,
    Setting,
    Targets,
    assign,
    best_of,
    hard_assignment,
    inside_pairs,
    max_by,
    reasons_of,
    require,
    require_effect,
    winners,
)


class Dual(Assigner):
    """Consistent dual assignments, or any two.

    Args:
        many: the strategy of the head of many locations; null: the k of largest m.
        one: the strategy of the head that speaks; null: the one of largest m.
        k: locations that an object takes in the head of many.
        alpha: α of many, how much the class probability counts.
        beta: β of many, how much the overlap counts.
        one_alpha: α of one.
        one_beta: β of one.
        stop_gradient: whether the head that speaks leaves the pyramid alone.
    """

    head = Head(detached=True, suppress=False, beside=(Branch("one_to_many", Head()),))
    source = "YOLOv10, arXiv 2405.14458, Section 3.1"

    def __init__(
        self,
        setting: Setting,
        *,
        many: Assigner | None = None,
        one: Assigner | None = None,
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
        require_effect(many is None or (k, alpha, beta) == (13, 0.5, 6), "k, alpha or beta", "many has a strategy")
        require_effect(one is None or (one_alpha, one_beta) == (0.5, 6), "one_alpha or one_beta", "one has a strategy")
        self.many = Aligned(setting, k=k, alpha=alpha, beta=beta) if many is None else many
        self.one = Aligned(setting, k=1, alpha=one_alpha, beta=one_beta) if one is None else one
        for name, taught in (("many", self.many), ("one", self.one)):
            require(not taught.head.beside, f"{name} must be a strategy of one head, {type(taught).__name__} has more")
        beside = (Branch("one_to_many", self.many.head),)
        self.head = replace(self.one.head, detached=stop_gradient, suppress=False, beside=beside)

    def forward(self, branches: Mapping[str, PairViews], progress: float) -> Mapping[str, Assignment]:
        """Each strategy decides for its own head."""
        return {
            "main": assign(self.one, branches["main"], progress),
            "one_to_many": assign(self.many, branches["one_to_many"], progress),
        }

    def explain(self, branches: Mapping[str, PairViews], progress: float) -> Reasons | None:
        """What the strategy of the head that speaks says."""
        return reasons_of(self.one, {"main": branches["main"]}, progress)

    def learned(self) -> Mapping[str, Tensor]:
        """What both strategies have learned."""
        return {**self.one.learned(), **{f"many_{name}": value for name, value in self.many.learned().items()}}


class Aligned(Assigner):
    """The k locations of largest m of each object, by what one head says at the pairs."""

    head = Head()

    def __init__(self, setting: Setting, *, k: int = 13, alpha: float = 0.5, beta: float = 6.0) -> None:
        super().__init__(setting)
        self.k, self.alpha, self.beta = k, alpha, beta

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        objects, locations = inside_pairs(targets, priors)
        pair = view(objects, locations)
        metric = pair.alignment(self.alpha, self.beta)
        best = best_of(objects, metric, self.k) & (metric > 0)
        best &= winners(pair.overlap.where(best, -1.0), objects, locations, targets, priors)
        chosen = best.nonzero()[:, 0]
        objects, locations, metric, overlap = objects[chosen], locations[chosen], metric[chosen], pair.overlap[chosen]
        most, nearest = (max_by(each, objects, len(targets))[objects] for each in (metric, overlap))
        score = (metric / most * nearest).clamp(max=1)  # rounding may exceed 1
        total = score.sum()
        share = Normalisers(total, total, total)
        return hard_assignment(objects, locations, targets, quality=score, box_weight=score, normalisers=share)

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """Locations in the box with m and u."""
        pair = view(*inside_pairs(targets, priors))
        most = "The location" if self.k == 1 else f"The {self.k} locations"
        return Reasons(
            f"{most} in the box of largest metric m teach the object; one of several objects goes to the highest IoU.",
            pair.objects,
            pair.locations,
            {"IoU": pair.overlap, "metric m": pair.alignment(self.alpha, self.beta)},
        )
