"""DW: a location's weight as positive and its weight as negative are two functions of its own, both of its prediction.

    S_n      { j : min(l, t, r, b)_nj > 0 }                      all locations in box n, on all levels
    P_nj     p_j(y_n) · exp(−λ·L_box)                            likelihood of j; p joins class and objectness
    G_nj     Π over both axes of exp(−d² / (2σ²))                fixed centre prior, σ = 1.11; d: offset in strides
    w⁺_nj    e^(5 P_nj) P_nj G_nj / Σ_{S_n} e^(3 P) P G          consistency of class and box
    L⁺       α Σ_n Σ_{S_n} w⁺ (−log p_j(y_n) + λ·L_box)   / N
    t_nj     (1 − u²) / 0.75,  u = IoU(predicted box j, b_n)     1 at u = ½, 0 at u = 1
    w⁻_nj    (t_nj − min t) / (min(1, max t) − min t)            min, max over S_n; 1 where u < ½
    L⁻       Σ_j Σ_y w⁻_jy p_j(y)^γ (−log(1 − p_j(y)))   / Σ (1 − w⁻)        w⁻ = 1 but for y = y_n in S_n

N: objects; α = 1/4, λ = 5, γ = 2. No weight carries gradient. Each pair of the bag L⁺ has to be good. The weights of a
bag need not sum to 1, because 5 and 3 differ. w⁻ multiplies the loss, while AutoAssign's multiplies the probability
inside the loss. Boxes are refined in `detector/refined.py`.

Source: arXiv 2203.16730, Section 3. Its code gives the numbers in w⁺ and w⁻, G and the divisors.

Choices: where objects of one class meet at a location, the smaller w⁻ counts (in the code, the last one's). An object
without a location teaches nothing. ``at_least_one`` gives it the nearest location of the finest level.
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
    class_winners,
    inside_pairs,
    max_by,
    min_by,
    pick,
    require,
    require_effect,
    sum_by,
)
from assignbench.core.parts import ImplicitObjectness
from assigners.presets.dw import PRESETS

TINY = 1e-12
CENTRAL = 0.3  # of G: from here on a location is central where the prior is binary


class DW(Assigner):
    """Dual weighting.

    Args:
        center: centre prior: the Gaussian, 1 where it exceeds 0.3 and 0 elsewhere (binary), or 1 everywhere (none).
        sigma: σ of the Gaussian, in strides.
        sharpness: exponent of e in the numerator of w⁺.
        spread: exponent of e in its denominator; equal exponents give weights that sum to 1.
        negative: w⁻ from IoU, or one (1 everywhere).
        same_class: whose w⁻ counts where several objects of a class share a location: the smallest, or the last one's.
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head(extras=(ImplicitObjectness(),))
    source = "DW, arXiv 2203.16730, Section 3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        center: Literal["gaussian", "binary", "none"] = "gaussian",
        sigma: float = 1.11,
        sharpness: float = 5.0,
        spread: float = 3.0,
        negative: Literal["iou", "one"] = "iou",
        same_class: Literal["smallest", "last"] = "smallest",
        at_least_one: bool = False,
    ) -> None:
        super().__init__(setting)
        require(sigma >= 1e-3, f"sigma must be at least 0.001, got {sigma}")
        require(0 <= spread <= sharpness <= 50, f"0 ≤ spread ≤ sharpness ≤ 50 must hold, got {spread} and {sharpness}")
        require_effect(center != "none" or sigma == 1.11, f"sigma={sigma:g}", "center=none has no σ")
        self.center, self.sigma, self.sharpness, self.spread = center, sigma, sharpness, spread
        self.negative, self.same_class, self.at_least_one = negative, same_class, at_least_one

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        objects, locations = inside_pairs(targets, priors, at_least_one=self.at_least_one)
        pair = view(objects, locations)
        center = self.center_prior(pair)
        positive, negative = self.positive_weight(pair, center), self.negative_weight(pair)
        # where several objects of a class want one entry, one of them counts; the weights of the others are 0
        score, inside = -negative if self.same_class == "smallest" else objects, not self.at_least_one
        counts = class_winners(score, objects, locations, targets, priors, self.setting.classes, inside=inside)
        one, count = torch.ones_like(negative), negative.new_tensor(float(len(targets)))
        return Assignment(
            pairs=Pairs(objects, locations, positive, box_weight=positive),
            discounts=Discounts(pair.image, locations, pair.label, factor=one, weight=counts * negative),
            normalisers=Normalisers(positive=count, box=count, negative=(counts * (1 - negative)).sum()),
            bag="all",
            diagnostics={"center": center, "confidence": pair.likelihood.detach()},
        )

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """All locations in the box."""
        pair = view(*inside_pairs(targets, priors, at_least_one=self.at_least_one))
        return Reasons(
            "Every location in the box teaches the object, the more the likelier it and the larger the centre prior "
            "is; where boxes meet, a location teaches each object.",
            pair.objects,
            pair.locations,
            {"centre prior G": self.center_prior(pair), "likelihood P": pair.likelihood, "IoU": pair.overlap},
        )

    def center_prior(self, pair: PairView) -> Tensor:
        """G: ``[pair]``."""
        gaussian = (-pair.offset.square().sum(-1) / (2 * self.sigma**2)).exp()
        if self.center == "none":
            return torch.ones_like(gaussian)
        return gaussian if self.center == "gaussian" else (gaussian > CENTRAL).to(gaussian.dtype)

    def positive_weight(self, pair: PairView, center: Tensor) -> Tensor:
        """w⁺, given G: ``[pair]``."""
        likelihood = pair.likelihood.detach()
        share = likelihood * center
        total = sum_by((self.spread * likelihood).exp() * share, pair.objects, len(pair.targets))
        return (self.sharpness * likelihood).exp() * share / pick(total.clamp(min=TINY), pair.objects)

    def negative_weight(self, pair: PairView) -> Tensor:
        """w⁻: ``[pair]``."""
        objects, count = pair.objects, len(pair.targets)
        if self.negative == "one":
            return torch.ones_like(pair.overlap)
        poor = (1 - pair.overlap.square()) / 0.75
        low = pick(min_by(poor, objects, count), objects)
        high = pick(max_by(poor, objects, count).clamp(max=1), objects)
        return ((poor - low + TINY) / (high - low + TINY)).where(pair.overlap >= 0.5, 1.0)
