"""AutoAssign: every location in a box is weighted as positive and as negative, by predictions and by learned μ and σ.

    S_n       { j : min(l, t, r, b)_nj > 0 }                all locations in box n, on all levels
    P_j(y)    P_j(y | obj) · P_j(obj)                       P(cls) of the paper; P_j(obj): its ImpObj, without a target
    P⁺_nj     P_j(y_n) · exp(−λ·L_box)                      confidence that j detects n; L_box = 1 − GIoU
    d_nj      (x_j − x_n) / s_j                             offset from the box's centre, in strides
    G_nj      Π over both axes of exp(−(d − μ)² / (2σ²))    centre weighting; μ, σ of class y_n, learned
    C_nj      exp(P⁺_nj / τ)                                confidence weighting, τ = 1/3
    w⁺_nj     C_nj G_nj / Σ_{S_n} C G
    B_n       Σ_{S_n} w⁺ P⁺                                 the bag of n
    L⁺        −α/N · Σ_n log B_n
    u_j       max_m IoU(predicted box j, b_m)               over all objects of the image
    w⁻_jy     1 − f̂(u_j)                                    for y = y_n and j in S_n; 1 elsewhere
              f(u) = 1/(1 − u); f̂: f rescaled to [0, 1] over S_n
    L⁻        −(1 − α)/(Σ_n Σ_{S_n} G) · Σ_j Σ_y q^γ log(1 − q),  q = P_j(y) w⁻_jy
    L_centre  0.75 · mean over images i of  N_i / Σ_{n in i} Σ_{S_n} G                      in the code only

N: objects of the batch, N_i: of image i; x_n, x_j: box centre and location; s_j: stride; α = 1/4, γ = 2, λ = 5. This
file makes w⁺, w⁻, L_centre and the divisors of L⁺ and L⁻. The objective computes L⁺ and L⁻ from them. Gradient flows
through C and G of w⁺, so the locations of an object compete: a location with P⁺ < B_n − τ is pushed down. w⁻ and the
divisors of L⁺ and L⁻ carry no gradient.

Source: arXiv 2007.03496, Sections 3.2 (S, P), 3.3 (C, w⁺, ImpObj, Eqs. 3–6), 3.4 (G, Eq. 7). The released code decides
what the paper leaves open: L_centre, α, both divisors, f̂ for each object, the class channel of w⁻.

Choices: where objects of one class meet at a location, the smaller w⁻ counts. In the code the one written last counts,
so that the order of annotations matters (``same_class="last"``). An object without a location costs the constant
α·100/N (with geometric bags it costs nothing). It teaches nothing, and the statistics count it. An image without any
pair adds 0 to L_centre. ``at_least_one`` gives an object without a location the one of the finest level that is nearest
to its centre. σ is used as max(|σ|, 0.001), and Σ C G has no floor (in the code: no floor, and 1e-12).

Ablations: in P(cls)-only and P(loc)-only, only the argument of C changes, and the bag keeps P⁺. Otherwise one of them
would teach no boxes, and the other no classes. Explicit objectness is no factor of P and has a loss of its own
(`ExplicitObjectness`). The baseline without w⁺ and w⁻ is ``center=none,confidence=off,negative=one``, with either mean.
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
    Priors,
    Reasons,
    Setting,
    Targets,
    best_overlap,
    central_pairs,
    class_winners,
    inside_pairs,
    log_gaussian,
    max_by,
    min_by,
    pick,
    require,
    require_effect,
    softmax_by,
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


class AutoAssign(Assigner):
    """Differentiable label assignment.

    Args:
        center: centre weighting: μ, σ of each category, shared by all, fixed at their start, or none (G = 1).
        mu: initial μ in x and y, in strides.
        sigma: initial σ in x and y, in strides.
        learn: which of μ and σ is learned; the other keeps its start value.
        confidence: argument of C: the joint P⁺, its class part, its location part, or off (C = 1).
        tau: τ, temperature of C.
        objectness: an extra output: implicit (the paper's ImpObj, a factor of P without a target), none, explicit
            (target: in any box; scales the score at test, no factor of P), auxiliary (as explicit, not in the score).
        negative: w⁻ from IoU, or one (1 everywhere).
        same_class: which object sets w⁻ where several of one class share a location: the one with the strongest
            discount, or the one listed last.
        negative_normaliser: what L⁻ is divided by: Σ G, the number of pairs, or the number of objects.
        center_loss: weight of L_centre; 0 switches it off. There is none where μ and σ are not learned.
        detach_weights: stop the gradient through w⁺ (μ, σ then learn from L_centre alone).
        at_least_one: whether an object without a candidate takes the nearest location.
        bag: weighted mean of P⁺ over S_n in L⁺: arithmetic (one good location is enough) or geometric (each has to be).
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
        at_least_one: bool = False,
        bag: Literal["arithmetic", "geometric"] = "arithmetic",
    ) -> None:
        super().__init__(setting)
        require(tau > 0, f"tau must be positive, got {tau}")
        require(sigma >= 1e-3, f"sigma must be at least 0.001, got {sigma}")
        require(center_loss >= 0, f"center_loss must be at least 0, got {center_loss}")
        prior, weighs, learns = f"center={center}", center != "none", center in ("category", "shared")
        require_effect(weighs or mu == 0, f"mu={mu:g}", f"{prior} has no μ")
        require_effect(weighs or sigma == 1, f"sigma={sigma:g}", f"{prior} has no σ")
        require_effect(learns or learn == "both", f"learn={learn}", f"{prior} learns neither μ nor σ")
        require_effect(learns or center_loss in (0, 0.75), f"center_loss={center_loss:g}", f"{prior} has no L_centre")
        require_effect(confidence != "off" or tau == 1 / 3, f"tau={tau:g}", "confidence=off has no temperature")
        reason = f"with {prior} and confidence=off w⁺ has no gradient to stop"
        require_effect(not detach_weights or learns or confidence != "off", "detach_weights=true", reason)
        require(
            not (detach_weights and learns and center_loss == 0),
            f"detach_weights=true with center_loss=0 leaves nothing that teaches μ and σ, but {prior} learns them; "
            "use center=fixed, or leave one of them out",
        )
        self.center, self.confidence = center, confidence
        self.tau = tau if confidence != "off" else math.inf  # so that C = 1
        self.negative, self.same_class, self.negative_normaliser = negative, same_class, negative_normaliser
        self.center_loss, self.detach_weights = center_loss if learns else 0.0, detach_weights
        self.at_least_one = at_least_one
        self.bag: Literal["any", "all"] = "any" if bag == "arithmetic" else "all"
        self.head = replace(self.head, extras=OBJECTNESS[objectness])

        rows = setting.classes if center == "category" else 1
        sigma = float(sigma) if weighs else math.inf  # so that G = 1
        self.mu = nn.Parameter(torch.full((rows, 2), float(mu)), requires_grad=learns and learn != "sigma")
        self.sigma = nn.Parameter(torch.full((rows, 2), sigma), requires_grad=learns and learn != "mu")

    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        inside = view(*inside_pairs(targets, priors, at_least_one=self.at_least_one))
        pair = inside
        if self.center != "none":  # the pairs of S_n whose G · C, with C ≤ e^(1/τ), is not lost in rounding
            prior, gain = self.prior_of(targets.labels), 1 / self.tau
            pair = view(*central_pairs(targets, priors, *prior, gain=gain, at_least_one=self.at_least_one))
        log_center, log_confidence = self.log_center(pair), self.log_confidence(pair)
        center = log_center.exp()
        weight = softmax_by(log_center + log_confidence, pair.objects, len(targets))
        if self.detach_weights:
            weight = weight.detach()
        count = center.new_tensor(float(len(targets)))
        negative = {"center": center.detach().sum(), "pairs": center.new_tensor(float(len(inside))), "objects": count}
        return Assignment(
            pairs=Pairs(pair.objects, pair.locations, weight, box_weight=weight),
            discounts=self.negative_weight(inside),
            normalisers=Normalisers(positive=count, box=count, negative=negative[self.negative_normaliser]),
            bag=self.bag,
            losses=self.center_losses(center, pair),
            diagnostics={"center": center.detach(), "confidence": log_confidence.detach().exp()},
        )

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """S_n with G, C and P⁺, and the prior of each object."""
        pair = view(*inside_pairs(targets, priors, at_least_one=self.at_least_one))
        center, confidence = (log.exp() for log in (self.log_center(pair), self.log_confidence(pair)))
        mu, sigma = self.prior_of(targets.labels)
        prior = {"μ x, strides": mu[:, 0], "μ y": mu[:, 1], "σ x, strides": sigma[:, 0], "σ y": sigma[:, 1]}
        return Reasons(
            "Every location in the box teaches the object, with weight w⁺ = G · C over their sum; where boxes meet, a "
            "location teaches each object. A weight that rounding would lose is left out.",
            pair.objects,
            pair.locations,
            {"centre prior G": center, "confidence C": confidence, "likelihood P⁺": pair.likelihood},
            {} if self.center == "none" else prior,
        )

    def prior_of(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ of classes, in strides: ``[any] → [any, 2], [any, 2]``."""
        row = labels if self.center == "category" else torch.zeros_like(labels)
        return take(self.mu, row), take(self.spread(), row)

    def spread(self) -> Tensor:
        """σ as it is used: above 0."""
        return self.sigma.abs().clamp(min=LEAST_SIGMA)

    def log_center(self, pair: PairView) -> Tensor:
        """Log G: ``[pair]``."""
        mu, sigma = self.prior_of(pair.targets.labels)
        return log_gaussian(pair.offset, mu, sigma, pair.objects)

    def log_confidence(self, pair: PairView) -> Tensor:
        """Log C = P⁺ / τ, or one factor of P⁺ over τ: ``[pair]``."""
        match self.confidence:
            case "class":
                return (-pair.class_part).exp() / self.tau
            case "location":
                return (-pair.box_part).exp() / self.tau
            case _:  # joint; where it is off, τ = ∞
                return pair.likelihood / self.tau

    @torch.no_grad()
    def negative_weight(self, pair: PairView) -> Discounts:
        """w⁻ of every location in a box, for the object's own class."""
        objects, locations, targets = pair.objects, pair.locations, pair.targets
        if self.negative == "one":
            return Discounts.none(targets)
        best = best_overlap(pair.predictions, targets, pair.priors)
        sharp = pick((1 / (1 - best).clamp(min=TINY)).flatten(), pair.place)
        low, high = min_by(sharp, objects, len(targets)), max_by(sharp, objects, len(targets))
        scaled = (sharp - pick(low, objects) + TINY) / pick(high - low + TINY, objects)
        factor = 1 - scaled
        if self.same_class == "strongest":  # of several factors for one entry the smallest counts
            return Discounts(pair.image, locations, pair.label, factor)
        inside = not self.at_least_one
        wins = class_winners(objects, objects, locations, targets, pair.priors, self.setting.classes, inside=inside)
        return Discounts.of_pairs(objects, locations, targets, factor, weight=wins.to(factor.dtype))

    def center_losses(self, center: Tensor, pair: PairView) -> dict[str, Tensor]:
        """L_centre: keeps the sum of G up, so that σ does not collapse onto one location."""
        if self.center_loss == 0:
            return {}
        image, images = pair.targets.image, pair.targets.images
        mass, pairs = (sum_by(each, pair.objects, len(image)) for each in (center, torch.ones_like(center)))
        mass, pairs, count = (sum_by(each, image, images) for each in (mass, pairs, torch.ones_like(mass)))
        ratio = torch.where(pairs > 0, count / mass.clamp(min=TINY), 0.0)
        return {"center": self.center_loss * ratio.mean()}

    def learned(self) -> Mapping[str, Tensor]:
        """μ and σ in strides, by class, or one for all."""
        if not (self.mu.requires_grad or self.sigma.requires_grad):
            return {}
        mu, sigma = self.mu.detach(), self.spread().detach()
        return {"mu_x": mu[:, 0], "mu_y": mu[:, 1], "sigma_x": sigma[:, 0], "sigma_y": sigma[:, 1]}
