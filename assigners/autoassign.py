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

Presets: ``mmdet`` (default; what the golden vectors prove), ``official``: they differ in the backbone's mean colour
and in which scores are thresholded and ranked at test time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from assignbench.core import (
    Assigner,
    Assignment,
    AuxiliaryObjectness,
    Discounts,
    ExplicitObjectness,
    Extra,
    GIoU,
    Grid,
    Head,
    ImplicitObjectness,
    Normalisers,
    PairBoxes,
    PairLoss,
    Pairs,
    Predictions,
    Preset,
    Priors,
    Rectangles,
    Setting,
    Targets,
    Weightings,
    beside,
    best_overlap,
    cell_centers,
    centers,
    class_winners,
    covered_cells,
    inside_pairs,
    max_by,
    min_by,
    pair_likelihood,
    pair_logits,
    pick,
    point_head,
    rectangle_pairs,
    same_class_neighbours,
    sum_by,
    take,
)

OBJECTNESS: Mapping[str, tuple[Extra, ...]] = {
    "implicit": (ImplicitObjectness(),),
    "none": (),
    "explicit": (ExplicitObjectness(),),
    "auxiliary": (AuxiliaryObjectness(),),
}
TINY = 1e-12
LEAST_SIGMA = 1e-3  # strides


@dataclass(frozen=True)
class Bags:
    """Pairs of objects and locations inside them, ordered by object, then location."""

    all_objects: Tensor  # [pair] S_n, whole
    all_locations: Tensor
    rivals: Tensor  # [some] those of them whose box meets another one of its class
    objects: Tensor  # [pair] S_n, as far as it weighs anything
    locations: Tensor


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
    presets = {
        "mmdet": Preset(
            source="mmdetection 3.3.0, autoassign_r50-caffe_fpn_1x_coco",
            head=point_head(ImplicitObjectness(), offset=0.0, class_prior=0.02, box_bias=4.0),
            loss=PairLoss(box=GIoU(weight=5.0)),
            options={"same_class": "last"},
            recipe={
                "model.style": "caffe",
                "model.pixels": "detectron",
                "model.pyramid": "c5_relu",
                "evaluate.threshold_on": "output",
                "evaluate.rank_by": "output",
                "evaluate.nms": 0.6,
            },
            schedule={"model.weights": "msra", "train.warmup": 1000},
            padding_is_background=True,
        ),
        "official": Preset(
            source="poodarchu/AutoAssign at its release (P6 from C5), auto_assign.res50.fpn.coco.800size.1x; its floor "
            "of areas is 1.2e-7 where ours is 1e-6",
            head=point_head(ImplicitObjectness(), offset=0.0, class_prior=0.02, box_bias=4.0),
            loss=PairLoss(box=GIoU(weight=5.0)),
            options={"same_class": "last"},
            recipe={
                "model.style": "caffe",
                "model.pixels": "caffe",
                "model.pyramid": "c5_relu",
                "evaluate.threshold_on": "class",
                "evaluate.rank_by": "class",
                "evaluate.candidates_per_location": True,
                "evaluate.nms": 0.6,
            },
            schedule={"model.weights": "msra", "train.warmup": 1000},
            padding_is_background=True,
        ),
    }

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
        if tau <= 0:
            raise ValueError(f"tau must be positive, got {tau}")
        if sigma <= 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        if center_loss < 0:
            raise ValueError(f"center_loss must not be negative, got {center_loss}")
        learned = center in ("category", "shared")
        prior = f"center={center}"
        for contradicts, option, reason in (
            (center == "none" and mu != 0, f"mu={mu:g}", f"{prior} has no μ"),
            (center == "none" and sigma != 1, f"sigma={sigma:g}", f"{prior} has no σ"),
            (not learned and learn != "both", f"learn={learn}", f"{prior} learns neither μ nor σ"),
            (
                not learned and center_loss not in (0, 0.75),
                f"center_loss={center_loss:g}",
                f"{prior} has no L_centre, which teaches μ and σ alone",
            ),
            (confidence == "off" and tau != 1 / 3, f"tau={tau:g}", "confidence=off has no temperature"),
            (
                confidence == "off" and not learned and detach_weights,
                "detach_weights=true",
                f"with {prior} and confidence=off w⁺ has no gradient to stop",
            ),
        ):
            if contradicts:
                raise ValueError(f"{option} would change nothing: {reason}; leave one of them out")
        if learned and detach_weights and center_loss == 0:
            raise ValueError(
                f"detach_weights=true with center_loss=0 leaves nothing that teaches μ and σ, but {prior} learns them; "
                "use center=fixed, or leave one of them out"
            )
        self.center, self.confidence, self.tau = center, confidence, tau
        self.negative, self.same_class, self.negative_normaliser = negative, same_class, negative_normaliser
        self.center_loss, self.detach_weights = center_loss, detach_weights
        self.geometric = bag == "geometric"
        self.head = replace(type(self).head, extras=OBJECTNESS[objectness])

        rows = setting.classes if center == "category" else 1
        self.mu = nn.Parameter(torch.full((rows, 2), float(mu)), requires_grad=learned and learn != "sigma")
        self.sigma = nn.Parameter(torch.full((rows, 2), float(sigma)), requires_grad=learned and learn != "mu")

    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        bags = self.bags(priors, targets)
        objects, locations = bags.objects, bags.locations
        center = self.center_weight(priors, targets, objects, locations)
        likelihood = pair_likelihood(
            predictions, priors, targets, objects, locations, loss=self.setting.loss, coding=self.setting.coding
        )
        weight = center * self.confidence_weight(predictions, priors, targets, objects, locations, likelihood)
        weight = weight / pick(sum_by(weight, objects, len(targets)).clamp(min=TINY), objects)
        if self.detach_weights:
            weight = weight.detach()

        one = torch.ones_like(weight)
        return Assignment(
            pairs=Pairs(objects, locations, weight, box_weight=weight, quality=one, likelihood=likelihood),
            discounts=self.negative_weight(predictions, priors, targets, bags),
            normalisers=self.normalisers(center, len(bags.all_objects), targets),
            bagged=True,
            geometric=self.geometric,
            losses=self.losses(center, targets, objects),
        )

    @torch.no_grad()
    def weightings(self, predictions: Predictions, priors: Priors, targets: Targets) -> Weightings:
        """G and C over the whole of S_n."""
        bags = self.bags(priors, targets)
        pairs = bags.all_objects, bags.all_locations
        likelihood = pair_likelihood(
            predictions, priors, targets, *pairs, loss=self.setting.loss, coding=self.setting.coding
        )
        return Weightings(
            *pairs,
            center=self.center_weight(priors, targets, *pairs),
            confidence=self.confidence_weight(predictions, priors, targets, *pairs, likelihood),
        )

    @torch.no_grad()
    def bags(self, priors: Priors, targets: Targets) -> Bags:
        """S_n. Counted off on the host, so that a GPU is waited for only once: for μ and σ."""
        host, layout = targets.on_host(), priors.on_host()
        grid = layout.grid
        if self.center == "none" or grid is None or grid.anchors > 1:
            inside = weighted = inside_pairs(host, layout)
            rivals = rivals_of(inside[0], host)
        else:
            cells = covered_cells(host.boxes[:, None], layout)
            inside = rectangle_pairs(cells, grid)
            rivals = rivals_of(inside[0], host)  # before μ and σ are waited for
            weighted = rectangle_pairs(self.weighted_cells(cells, grid, layout, host), grid)
        return Bags(*(beside(each, priors.boxes) for each in (*inside, rivals, *weighted)))

    def weighted_cells(self, cells: Rectangles, grid: Grid, priors: Priors, targets: Targets) -> Rectangles:
        """Of the cells in each box those that G lets weigh anything.

        Where G is so small beside its largest value in the bag that C cannot lift the pair above 2⁻⁴⁰ of it, the
        pair is left out: all of them together change no digit of a float. In a large box that is most of what lies
        on fine levels.
        """
        row = targets.labels if self.center == "category" else torch.zeros_like(targets.labels)
        mu, sigma = torch.stack((self.mu, self.sigma)).cpu()[:, row, None]
        sigma = sigma.abs().clamp(min=LEAST_SIGMA)
        stride = priors.stride[grid.start, None]  # [level, 1]
        middle = centers(targets.boxes)[:, None] + mu * stride  # [object, level, 2]: there G = 1

        # ((d − μ) / σ)² where it is least: nowhere in the bag is G larger
        nearest = cell_centers(cells.nearest_to(middle, grid), priors, grid)
        off = ((nearest - middle) / (sigma * stride)).square().sum(-1)
        least = off.masked_fill(cells.empty, float("inf")).amin(1)[:, None, None]
        gain = 1 / self.tau if self.confidence != "off" else 0.0  # C ≤ e^gain
        reach = sigma * stride * (least + 2 * (40 * math.log(2) + gain)).sqrt()
        return cells.within(middle - reach, middle + reach, grid)

    def center_weight(self, priors: Priors, targets: Targets, objects: Tensor, locations: Tensor) -> Tensor:
        """G: Gaussian of the offset from the box's centre, in the location's strides: ``[pair]``."""
        if self.center == "none":
            return targets.boxes.new_ones(len(objects))
        row = pick(targets.labels, objects) if self.center == "category" else torch.zeros_like(objects)
        mu, sigma = take(self.mu, row), take(self.sigma, row).abs().clamp(min=LEAST_SIGMA)
        place = locations if priors.boxes.ndim == 2 else pick(targets.image, objects) * len(priors) + locations
        offset = take(priors.centers, place) - take(centers(targets.boxes), objects)
        offset = offset / priors.stride[locations, None]
        return (-((offset - mu) ** 2) / (2 * sigma**2)).exp().prod(-1)

    def confidence_weight(
        self,
        predictions: Predictions,
        priors: Priors,
        targets: Targets,
        objects: Tensor,
        locations: Tensor,
        likelihood: Tensor,
    ) -> Tensor:
        """C = exp(P⁺ / τ), or with one factor of P⁺ as its argument: ``[pair]``."""
        loss = self.setting.loss
        match self.confidence:
            case "joint":
                confidence = likelihood
            case "class":
                confidence = (-loss.likelihood_part(pair_logits(predictions, targets, objects, locations))).exp()
            case "location":
                boxes = PairBoxes(predictions, priors, targets, objects, locations, self.setting.coding)
                confidence = (-loss.box(boxes)).exp()
            case _:
                return torch.ones_like(likelihood)
        return (confidence / self.tau).exp()

    @torch.no_grad()
    def negative_weight(self, predictions: Predictions, priors: Priors, targets: Targets, bags: Bags) -> Discounts:
        """w⁻ of every location in a box, for the object's own class."""
        objects, locations, rivals = bags.all_objects, bags.all_locations, bags.rivals
        if self.negative == "one":
            objects, locations, rivals = objects[:0], locations[:0], rivals[:0]
        image, labels = pick(targets.image, objects), pick(targets.labels, objects)
        sharp = (1 / (1 - best_overlap(predictions, targets)).clamp(min=TINY)).view(-1)
        sharp = pick(sharp, image * predictions.locations + locations)
        low = min_by(sharp, objects, len(targets))
        high = max_by(sharp, objects, len(targets))
        mapped = (sharp - pick(low, objects) + TINY) / pick(high - low + TINY, objects)

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

    def losses(self, center: Tensor, targets: Targets, objects: Tensor) -> dict[str, Tensor]:
        """L_centre: keeps the mass of G up, so that σ does not collapse onto one location."""
        if self.center_loss == 0 or self.center in ("fixed", "none"):
            return {}
        image = targets.image
        count = sum_by(torch.ones_like(targets.boxes[:, 0]), image, targets.images)
        mass = sum_by(center, pick(image, objects), targets.images)
        pairs = sum_by(torch.ones_like(center), pick(image, objects), targets.images)
        share = torch.where(pairs > 0, count / mass.clamp(min=TINY), 0 * mass)
        return {"center": self.center_loss * share.mean()}

    def prior_table(self) -> Tensor | None:
        """μx μy σx σy in strides: ``[class, 4]``, or ``[1, 4]`` when shared; None when nothing is learned."""
        if self.center in ("fixed", "none"):
            return None
        return torch.cat((self.mu, self.sigma.abs().clamp(min=LEAST_SIGMA)), dim=1).detach()


def rivals_of(objects: Tensor, targets: Targets) -> Tensor:
    """Which of a list of pairs belong to objects that meet another one of their class: ``[pair] → [some]``."""
    return same_class_neighbours(targets)[objects].nonzero()[:, 0]
