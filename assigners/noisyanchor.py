"""NoisyAnchor: how clean an anchor is, by its own predictions, is the score that it learns and how much it counts.

    A       the k anchors of highest IoU with each box                          k = 30, none without overlap
    n(j)    the object that anchor j overlaps most, whoever chose it; equal IoU: the object listed first
    u_j     IoU of the predicted box j with box n(j)
    c_j     p_j(y_n(j))
    s_j     a · u_j / mean u + (1 − a) · c_j / mean c                           cleanliness, a = 0.75
    s'_j    s, moved to the range from mean u to 1                              soft label
    r_j     a · f(u_j) / mean f(u) + (1 − a) · f(c_j) / mean f(c)               f(x) = 1 / (1 − x); 1 outside A
    ℓ_j     s'_j c⁺ ℓ_class(p, 1) + (1 − s'_j) c⁻ p^γ · −log(1 − p)             own class; others: background
    L       K Σ_j r_j ℓ_j / |A|  +  K_box Σ_A r_j λ L_box / |A|                 Σ_j: all anchors and classes

K = Σ ℓ / Σ r ℓ, K_box likewise: r moves shares of a loss and leaves its sum alone. Means and range are over A of the
image, where an anchor that several objects chose counts several times. Nothing of s', r and K carries gradient.

Source: arXiv 1912.05086, Section 3, and the authors' code for what it adds: the range of s', that r counts for all
classes of an anchor, K. Choices: K of each image; the code takes it of the batch, so that what an image teaches depends
on the others (``kept="batch"``). |A| of the batch; the code takes a running average of each process, which is a
memory (``normaliser="start"``: its first value). The code also takes anchors without overlap, where fewer than k have
one. 1 − x is at least 1e-6; where all s are equal, s' is mean u. Anchors of equal IoU at the k-th place: the lower one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Normalisers,
    Pairs,
    PairView,
    PairViews,
    Priors,
    Setting,
    Targets,
    max_by,
    min_by,
    owned_pairs,
    pick,
    require,
    require_effect,
    sum_by,
    taught_locations,
)
from assignbench.core.parts import anchor_head
from assigners.presets.noisyanchor import PRESETS

TINY = 1e-6
START, MOMENTUM = 100.0, 0.9  # of the code's running average


class NoisyAnchor(Assigner):
    """Soft labels and weights by cleanliness.

    Args:
        k: anchors that an object chooses.
        alpha: a, how much the overlap counts in the cleanliness, beside the class probability.
        soft: whether labels are soft; else s' = 1.
        reweight: whether anchors count r; else all count alike.
        kept: what K keeps the sums of: the losses of each image, or of the batch.
        normaliser: |A| of the batch; of each process (local); or the first value of the code's average (start).
    """

    head = anchor_head()
    source = "NoisyAnchor, arXiv 1912.05086, Section 3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        k: int = 30,
        alpha: float = 0.75,
        soft: bool = True,
        reweight: bool = True,
        kept: Literal["image", "batch"] = "image",
        normaliser: Literal["batch", "local", "start"] = "batch",
    ) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        require(0 <= alpha <= 1, f"alpha must lie in [0, 1], got {alpha}")
        require_effect(soft or reweight or alpha == 0.75, f"alpha={alpha:g}", "nothing follows the cleanliness")
        require_effect(reweight or kept == "image", f"kept={kept}", "reweight=false moves nothing")
        self.k, self.alpha, self.soft, self.reweight = k, alpha, soft, reweight
        self.kept, self.normaliser = kept, normaliser

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        objects, locations, times = owned_pairs(targets, priors, self.k)
        pair = view(objects, locations)
        label, share = self.cleanliness(pair, times.to(pair.overlap.dtype))
        by_class, by_box, background = share, share, None
        if self.reweight:
            class_scale, box_scale = self.scales(view, pair, label, share)
            by_class, by_box = (share * pick(scale, pair.image) for scale in (class_scale, box_scale))
            background = class_scale[:, None].repeat(1, len(priors))
            background.view(-1).index_copy_(0, pair.place, by_class)
        count = share.new_tensor(float(len(pair)))
        if self.normaliser == "start":
            count = MOMENTUM * START + (1 - MOMENTUM) * count
        one = torch.ones_like(share)
        return Assignment(
            pairs=Pairs(objects, locations, by_class * label, box_weight=by_box, quality=one),
            discounts=Discounts.of_pairs(objects, locations, targets, factor=one, weight=1 - label),
            normalisers=Normalisers(count, count, count, local=self.normaliser != "batch"),
            background=background,
            diagnostics={"soft": label, "share": share},
        )

    def cleanliness(self, pair: PairView, times: Tensor) -> tuple[Tensor, Tensor]:
        """Soft label s' and share r of anchors: ``[pair]`` each."""
        image, images, one = pair.image, pair.targets.images, torch.ones_like(times)
        counts = sum_by(times, image, images)

        def mean(values: Tensor) -> Tensor:
            return pick(sum_by(times * values, image, images) / counts, image)

        def mixed(of_box: Tensor, of_class: Tensor) -> Tensor:
            parts = (each / mean(each).clamp(min=TINY) for each in (of_box, of_class))
            return self.alpha * next(parts) + (1 - self.alpha) * next(parts)

        overlap, score = pair.overlap, pair.logit.sigmoid()
        clean, lowest = mixed(overlap, score), mean(overlap)
        low, high = (pick(by(clean, image, images), image) for by in (min_by, max_by))
        label = lowest + (clean - low) / (high - low).clamp(min=TINY) * (1 - lowest)
        share = mixed(*(1 / (1 - each).clamp(min=TINY) for each in (overlap, score)))
        return label.clamp(0, 1) if self.soft else one, share if self.reweight else one

    def scales(self, view: PairViews, pair: PairView, label: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """K and K_box of each image: ``[image]`` each."""
        image, images, classes = pair.image, pair.targets.images, pair.loss.classes
        background = view.background()
        taught = taught_locations(pair.priors, pair.targets).flatten().index_fill(0, pair.place, False)
        others = (background * taught.view_as(background)).sum(1)
        positive = classes.positive_weight * classes.positive(pair.logit, torch.ones_like(label))
        negative = classes.negative_weight * classes.background(pair.logit)
        cost = pick(background.flatten(), pair.place) + label * (positive - negative)

        def scale(cost: Tensor, others: Tensor) -> Tensor:
            before, after = (others + sum_by(each, image, images) for each in (cost, share * cost))
            if self.kept == "batch":
                before, after = (each.sum().expand(images) for each in (before, after))
            return torch.where(after > 0, before / after, 1.0)

        return scale(cost, others), scale(pair.box_part, torch.zeros_like(others))
