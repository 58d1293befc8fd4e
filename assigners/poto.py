"""POTO: every object is taught at one location, in the matching that is best for all objects together.

    Ω_n    locations in the box and in the square of half side ρ·s around its centre       ρ = 1.5, s the level's stride
    Q_nj   p_j(y_n)^(1 − α) · IoU(b̂_j, b_n)^α   for j ∈ Ω_n                                α = 0.8
    π̂      argmax_π Σ_n Q_nπ(n)                 over all π that give no two objects of an image one location

Each object is taught at one location, so one location detects it, and nothing is suppressed at test. With ``auxiliary``
the classes are taught a second time on the same outputs, at many locations of each object:

    C_nl   the 9 locations in the box of largest Q on level l
    S_n    { j ∈ ∪_l C_nl : Q_nj ≥ t_n }        t_n: mean + standard deviation (n − 1) of Q over ∪_l C_nl
    n(j)   a location in several S_n goes to the largest Q

Source: arXiv 2012.03544, Sections 3.2 (Eq. 3 and 4) and 3.4. The authors' 3D max filtering is a network, and is not
here.

Choices where paper and code differ or are silent: an object that loses all its locations counts −1, as in the authors'
code. It is then not taught. An object with an empty Ω_n is not taught either. ``orphans=first`` teaches both at the
first locations that are left, which is where the authors' solver ends. ``at_least_one`` fills an empty Ω_n with the
location of the finest level that is nearest to the centre. The 9 best are chosen among the locations in the box. The
authors' code chooses first, and then asks whether they lie in the box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Branch,
    Head,
    Normalisers,
    PairView,
    PairViews,
    Priors,
    Reasons,
    Setting,
    Targets,
    above_moments,
    and_orphans,
    best_matching,
    best_of,
    either_pairs,
    hard_assignment,
    inside_pairs,
    require,
    winners,
)
from assigners.presets.poto import PRESETS

CANDIDATES = 9  # of the auxiliary branch, on each level


class POTO(Assigner):
    """Prediction-aware one-to-one label assignment.

    Args:
        alpha: α, how much the overlap counts beside the class probability.
        radius: ρ, half side of the central square in strides; 0: the whole box.
        matching: the best sum over all objects, or every object's own best location, which the better one keeps.
        orphans: what becomes of an object that gets no location: nothing, or the first location that is left.
        auxiliary: whether classes are taught by many locations an object as well.
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head(suppress=False)
    source = "POTO, arXiv 2012.03544, Sections 3.2 and 3.4"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        alpha: float = 0.8,
        radius: float = 1.5,
        matching: Literal["hungarian", "argmax"] = "hungarian",
        orphans: Literal["untaught", "first"] = "untaught",
        auxiliary: bool = False,
        at_least_one: bool = False,
    ) -> None:
        super().__init__(setting)
        require(0 <= alpha <= 1, f"alpha must lie in [0, 1], got {alpha}")
        require(radius >= 0, f"radius must not be negative, got {radius}")
        self.alpha, self.radius, self.matching = alpha, radius, matching
        self.orphans, self.auxiliary, self.at_least_one = orphans, auxiliary, at_least_one
        if auxiliary:
            self.head = replace(self.head, beside=(Branch("auxiliary"),))

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, branches: Mapping[str, PairViews]) -> Mapping[str, Assignment]:
        """See the module's formulas."""
        records = {"main": hard_assignment(*self.one(priors, targets, branches["main"]), targets)}
        if self.auxiliary:
            records["auxiliary"] = self.many(priors, targets, branches["auxiliary"])
        return records

    def candidates(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """Ω of all objects: ``[pair]`` each."""
        return inside_pairs(targets, priors, radius=self.radius or None, at_least_one=self.at_least_one)

    def one(self, priors: Priors, targets: Targets, view: PairViews) -> tuple[Tensor, Tensor]:
        """The matching: ``[pair]`` each."""
        objects, locations = self.candidates(priors, targets)
        quality = self.quality(view(objects, locations))
        if self.matching == "hungarian":
            chosen = best_matching(quality, objects, locations, targets, priors)
        else:
            best = best_of(objects, quality)
            best &= winners(quality.where(best, -1.0), objects, locations, targets, priors)
            chosen = best.nonzero()[:, 0]
        objects, locations = objects[chosen], locations[chosen]
        if self.orphans == "first":
            objects, locations = and_orphans(objects, locations, targets, priors)
        return objects, locations

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """Ω_n with Q."""
        both = self.candidates(priors, targets), self.one(priors, targets, view)
        pair = view(*either_pairs(*both, priors))
        how = "in the matching of largest Q in sum" if self.matching == "hungarian" else "its own of largest Q"
        orphans = "; an object that gets none takes the first that is left" if self.orphans == "first" else ""
        return Reasons(
            f"One location teaches the object, {how}; no location teaches two{orphans}.",
            pair.objects,
            pair.locations,
            {"Q": self.quality(pair), "class probability": pair.logit.sigmoid(), "IoU": pair.overlap},
        )

    def quality(self, pair: PairView) -> Tensor:
        """Q: ``[pair]``."""
        return pair.alignment(1 - self.alpha, self.alpha)

    def many(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """The auxiliary branch: classes alone are taught."""
        objects, locations = inside_pairs(targets, priors, at_least_one=self.at_least_one)
        pair = view(objects, locations)
        quality = self.quality(pair)
        near = best_of(objects * self.setting.levels + pair.level, quality, CANDIDATES)
        objects, locations, quality = objects[near], locations[near], quality[near]
        claims = above_moments(quality, objects, len(targets), torch.ones_like(objects, dtype=torch.bool))
        positive = claims & winners(quality.where(claims, -1.0), objects, locations, targets, priors)
        objects, locations = objects[positive], locations[positive]
        count, none = positive.sum().to(quality.dtype), quality.new_zeros(len(objects))
        shares = Normalisers(count, count, count)
        return hard_assignment(objects, locations, targets, box_weight=none, normalisers=shares)
