"""AutoAssign: every location in the box is weighted, positive and negative, by functions that are learned.

    S_n      { j : min(l, t, r, b)_nj > 0 }                        all locations in box n, on all levels
    d_nj     (x_j − x_n) / s_j                                     offset from the box's centre, in strides
    G_nj     Π_{x,y} exp( −(d − μ_y)² / (2 σ_y²) )                 centre weighting; μ, σ learned for each class y
    P⁺_nj    P_j(y | obj) · P_j(obj) · exp(−λ·L_box)               confidence that j detects n   (= exp(−ℓ_nj))
    C_nj     exp(P⁺_nj / τ)                                        confidence weighting, τ = 1/3
    w⁺_nj    C_nj G_nj / Σ_{S_n} C G
    L⁺       −α Σ_n log Σ_{S_n} w⁺ P⁺                      / N         ``bag=geometric``: −α Σ_n Σ_{S_n} w⁺ log P⁺ / N
    u_j      max_m IoU(predicted box j, b_m)                       over all objects of the image
    w⁻_jy    1 − f(1 / (1 − u_j)),  f maps its range over S_n to [0, 1]     for y = y_n;  1 elsewhere
    L⁻       −(1 − α) Σ_j Σ_y q^γ log(1 − q),  q = P_j(y) w⁻_jy    / Σ_n Σ_{S_n} G
    L_centre  0.75 · mean over images of  N_i / Σ_n Σ_{S_n} G      absent from the paper, present in its code

N: objects; x_n, x_j: box centre and location; s_j: stride; α = 1/4, γ = 2, λ = 5. w⁺ carries gradient to every
part of it: locations of one object compete (a location whose P⁺ is more than τ below the bag is pushed down).
w⁻ and the normalisers carry none.

Source: arXiv 2007.03496, Sections 3.2 (S, P), 3.3 (C, w⁺, ImpObj, Eqs. 3–6), 3.4 (G, Eq. 7), and the released
code for what the paper leaves open: L_centre, α, both normalisers, f per object, the class channel of w⁻.
Choices: objects of one class over one location → the smaller w⁻ counts (in the code the one written last, so
that the order of annotations matters; ``same_class="last"`` is that rule); an object without a location costs
the constant α·100 (of a geometric mean: nothing) and teaches nothing (counted in the statistics); an image without
any pair adds nothing to L_centre. σ is used as max(|σ|, 0.001).

The ablations are options. For what the paper leaves open in them: P(cls)-only and P(loc)-only change the argument of
C alone, the bag keeps P⁺ (else nothing would teach boxes); explicit objectness is no factor of P⁺ and has a loss of
its own (`ExplicitObjectness`); the baseline without both weightings is ``center=none,confidence=off,negative=one``,
with either mean. With G = 1 the normaliser Σ G is the number of pairs, up to 171 times as large for a large box.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Extra,
    Head,
    Normalisers,
    Pairs,
    PairView,
    PairViews,
    Predictions,
    Priors,
    Setting,
    Targets,
    best_overlap,
    central_pairs,
    class_winners,
    contested_pairs,
    inside_pairs,
    max_by,
    min_by,
    pick,
    sum_by,
    take,
)
from assignbench.core.parts import AuxiliaryObjectness, ExplicitObjectness, ImplicitObjectness
from assigners.presets.autoassign import PRESETS

OBJECTNESS: Mapping[str, tuple[Extra, ...]] = {
    "implicit": (ImplicitObjectness(),),
    "none": (),
    "explicit": (ExplicitObjectness(),),
    "auxiliary": (AuxiliaryObjectness(),),
}
TINY = 1e-12
LEAST_SIGMA = 1e-3  # strides
WEIGHTLESS = -40 * math.log(2)  # logarithm of a share of a bag: all pairs below it together change no digit of a float


class AutoAssign(Assigner):
    """Differentiable label assignment.

    Args:
        center: centre weighting: μ, σ per category, shared by all, fixed at their start, or none (G = 1).
        mu: initial μ in x and y, in strides.
        sigma: initial σ in x and y, in strides.
        learn: what is learned of the centre prior; the other one stays at its start.
        confidence: argument of C: the joint P⁺, its class part, its location part, or off (C = 1).
        tau: τ, temperature of C.
        objectness: output beside the boxes: implicit (a factor of P, no target), none, explicit (target: in any
            box; scales the score at test, no factor of P), auxiliary (as explicit, but not in the score).
        negative: w⁻ from IoU, or one (1 everywhere).
        same_class: which of several objects of a class over one location sets its w⁻: the one with the
            strongest discount, or the one listed last.
        negative_normaliser: what L⁻ is divided by: Σ G, the number of pairs, or the number of objects.
        center_loss: weight of L_centre; 0 switches it off. There is none where μ and σ are not learned.
        detach_weights: stop the gradient through w⁺ (μ, σ then learn from L_centre alone).
        bag: mean of P⁺ over a bag: arithmetic (one good location is enough), or geometric (all have to be).
    """

    head = Head(extras=(ImplicitObjectness(),))
    source = "AutoAssign, arXiv 2007.03496, Sections 3.2–3.4"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        center: Literal["category", "shared", "fixed", "none"] = "category",
        mu: float = 0.0,
        sigma: float = 1.0,
        learn: Literal["both", "mu", "sigma"] = "both",
        confidence: Literal["joint", "class", "location", "off"] = "joint",
        tau: float = 1 / 3,
        objectness: Literal["implicit", "none", "explicit", "auxiliary"] = "implicit",
        negative: Literal["iou", "one"] = "iou",
        same_class: Literal["strongest", "last"] = "strongest",
        negative_normaliser: Literal["center", "pairs", "objects"] = "center",
        center_loss: float = 0.75,
        detach_weights: bool = False,
        bag: Literal["arithmetic", "geometric"] = "arithmetic",
    ) -> None:
        super().__init__(setting)
        for name, value, lowest in (("tau", tau, 0), ("sigma", sigma, 0), ("center_loss", center_loss, None)):
            if value < 0 or value == lowest:
                raise ValueError(f"{name} must be {'at least 0' if lowest is None else 'positive'}, got {value}")
        learned, prior = center in ("category", "shared"), f"center={center}"
        for useless, option, reason in (
            (center == "none" and mu != 0, f"mu={mu:g}", f"{prior} has no μ"),
            (center == "none" and sigma != 1, f"sigma={sigma:g}", f"{prior} has no σ"),
            (not learned and learn != "both", f"learn={learn}", f"{prior} learns neither μ nor σ"),
            (not learned and center_loss not in (0, 0.75), f"center_loss={center_loss:g}", f"{prior} has no L_centre"),
            (confidence == "off" and tau != 1 / 3, f"tau={tau:g}", "confidence=off has no temperature"),
            (
                detach_weights and confidence == "off" and not learned,
                "detach_weights=true",
                f"with {prior} and confidence=off w⁺ has no gradient to stop",
            ),
        ):
            if useless:
                raise ValueError(f"{option} would change nothing: {reason}; leave one of them out")
        if learned and detach_weights and center_loss == 0:
            raise ValueError(
                f"detach_weights=true with center_loss=0 leaves nothing that teaches μ and σ, but {prior} learns them; "
                "use center=fixed, or leave one of them out"
            )
        self.center, self.confidence, self.tau = center, confidence, tau
        self.negative, self.same_class, self.negative_normaliser = negative, same_class, negative_normaliser
        self.center_loss, self.detach_weights = center_loss, detach_weights
        self.bag: Literal["any", "all"] = "any" if bag == "arithmetic" else "all"
        self.head = replace(type(self).head, extras=OBJECTNESS[objectness])

        rows = setting.classes if center == "category" else 1
        self.mu = nn.Parameter(torch.full((rows, 2), float(mu)), requires_grad=learned and learn != "sigma")
        self.sigma = nn.Parameter(torch.full((rows, 2), float(sigma)), requires_grad=learned and learn != "mu")

    def forward(self, predictions: Predictions, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        inside = inside_pairs(targets, priors)
        objects, locations = self.weighty(inside, priors, targets)
        pair = view(objects, locations)
        exponent, confidence = self.center_exponent(pair), self.confidence_weight(pair)
        center = exponent.exp()
        # w⁺ stays the same if the G of an object are divided by the largest; undivided, all may vanish if σ is small
        largest = max_by(exponent.detach(), objects, len(targets))
        weight = (exponent - pick(largest, objects)).exp() * confidence
        weight = weight / pick(sum_by(weight, objects, len(targets)), objects)
        if self.detach_weights:
            weight = weight.detach()
        return Assignment(
            pairs=Pairs(objects, locations, weight, box_weight=weight),
            discounts=self.negative_weight(inside, predictions, priors, targets),
            normalisers=self.normalisers(center, len(inside[0]), targets),
            bag=self.bag,
            losses=self.losses(center, pair, targets),
            diagnostics={"center": center.detach(), "confidence": confidence.detach()},
        )

    def weighty(self, inside: tuple[Tensor, Tensor], priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """S_n without the pairs that G makes so small that C, at most e^(1/τ), cannot lift them above rounding."""
        if self.center == "none":
            return inside
        gain = 1 / self.tau if self.confidence != "off" else 0.0
        mu, sigma = self.prior_of(targets.labels)
        return central_pairs(targets, priors, mu, sigma, least=WEIGHTLESS - gain)

    def prior_of(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ of classes, in strides: ``[any] → [any, 2], [any, 2]``."""
        row = labels if self.center == "category" else torch.zeros_like(labels)
        return take(self.mu, row), take(self.sigma, row).abs().clamp(min=LEAST_SIGMA)

    def center_exponent(self, pair: PairView) -> Tensor:
        """Log G of the offset from the box's centre, in the location's strides: ``[pair]``."""
        if self.center == "none":
            return torch.zeros_like(pair.stride)
        mu, sigma = self.prior_of(pair.label)
        return -((pair.offset - mu) ** 2 / (2 * sigma**2)).sum(-1)

    def confidence_weight(self, pair: PairView) -> Tensor:
        """C = exp(P⁺ / τ), or with one factor of P⁺ as its argument: ``[pair]``."""
        match self.confidence:
            case "joint":
                confidence = pair.likelihood
            case "class":
                confidence = (-pair.class_part).exp()
            case "location":
                confidence = (-pair.box_part).exp()
            case _:
                return torch.ones_like(pair.stride)
        return (confidence / self.tau).exp()

    @torch.no_grad()
    def negative_weight(
        self, inside: tuple[Tensor, Tensor], predictions: Predictions, priors: Priors, targets: Targets
    ) -> Discounts:
        """w⁻ of every location in a box, for the object's own class."""
        objects, locations = inside
        if self.negative == "one":
            nothing = objects[:0]
            return Discounts(nothing, nothing, nothing, factor=nothing.to(priors.stride.dtype))
        image, labels = pick(targets.image, objects), pick(targets.labels, objects)
        sharp = (1 / (1 - best_overlap(predictions, targets)).clamp(min=TINY)).view(-1)
        sharp = pick(sharp, image * predictions.locations + locations)
        low, high = min_by(sharp, objects, len(targets)), max_by(sharp, objects, len(targets))
        mapped = (sharp - pick(low, objects) + TINY) / pick(high - low + TINY, objects)

        # several objects of a class over one location: one of them counts
        rivals = contested_pairs(targets, priors)
        score = pick(mapped if self.same_class == "strongest" else objects, rivals)
        won = class_winners(score, pick(objects, rivals), pick(locations, rivals), targets, priors, predictions.classes)
        counts = torch.ones_like(mapped).index_put((rivals,), won.to(mapped.dtype))
        return Discounts(image, locations, labels, factor=1 - mapped, weight=counts)

    def normalisers(self, center: Tensor, pairs: int, targets: Targets) -> Normalisers:
        """N for the bags; Σ G, the pairs of S, or N for the negative term."""
        count = center.new_tensor(float(len(targets)))
        negative = {
            "center": center.detach().sum(),
            "pairs": center.new_tensor(float(pairs)),
            "objects": count,
        }[self.negative_normaliser]
        return Normalisers(positive=count, box=count, negative=negative)

    def losses(self, center: Tensor, pair: PairView, targets: Targets) -> dict[str, Tensor]:
        """L_centre: keeps the mass of G up, so that σ does not collapse onto one location."""
        if self.center_loss == 0 or self.center in ("fixed", "none"):
            return {}
        count = sum_by(torch.ones_like(targets.boxes[:, 0]), targets.image, targets.images)
        mass = sum_by(center, pair.image, targets.images)
        pairs = sum_by(torch.ones_like(center), pair.image, targets.images)
        share = torch.where(pairs > 0, count / mass.clamp(min=TINY), 0 * mass)
        return {"center": self.center_loss * share.mean()}

    def learned(self) -> Mapping[str, Tensor]:
        """μ and σ in strides, by class, or one for all."""
        if self.center in ("fixed", "none"):
            return {}
        mu, sigma = self.mu.detach(), self.sigma.detach().abs().clamp(min=LEAST_SIGMA)
        return {"mu_x": mu[:, 0], "mu_y": mu[:, 1], "sigma_x": sigma[:, 0], "sigma_y": sigma[:, 1]}
