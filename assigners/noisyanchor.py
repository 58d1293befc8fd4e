"""NoisyAnchor: how clean an anchor is, by its own predictions, is the score that it learns and how much it counts.

    A       the k anchors of highest IoU with each box                          k = 30, none without overlap
    n(j)    the object that anchor j overlaps most, whoever chose it; equal IoU: the object listed first
    u, c    u_j: IoU of the predicted box j with box n(j);  c_j: p_j(y_n(j))
    s_j     a · u_j / mean u + (1 − a) · c_j / mean c                           cleanliness, a = 0.75
    s'_j    s, moved to the range from mean u to 1                              soft label
    r_j     a · f(u_j) / mean f(u) + (1 − a) · f(c_j) / mean f(c)               f(x) = 1 / (1 − x); 1 outside A
    ℓ_j     s'_j c⁺ ℓ_class(p, 1) + (1 − s'_j) c⁻ p^γ · −log(1 − p)     own class; others: background; c, γ: of the loss
    L       K Σ_j r_j ℓ_j / |A|  +  K_box Σ_A r_j λ L_box / |A|                 Σ_j: all anchors and classes

K = Σ ℓ / Σ r ℓ, and K_box likewise: r moves shares of a loss and leaves its sum as it was. Means and range are over A
of the image. An anchor that several objects chose counts several times there. Nothing of s', r and K carries gradient.

Source: arXiv 1912.05086, Section 3. The authors' code gives the range of s', the r of all classes, and K.

Choices: K is that of each image (in the code, that of the batch). |A| is that of the batch (in the code, an average
over past batches). If fewer than k anchors overlap an object, only these are taken (the code also takes anchors without
overlap). If all s are equal, s' is mean u. If anchors have equal IoU, the lower one is taken.
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
    Reasons,
    Setting,
    iou,
    max_by,
    mean_by,
    min_by,
    owned_pairs,
    pick,
    require,
    require_effect,
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
    def forward(self, view: PairViews) -> Assignment:
        """See the module's formulas."""
        objects, locations, times = owned_pairs(view.targets, view.priors, self.k)
        pair = view(objects, locations)
        label, share = self.cleanliness(pair, times.to(pair.overlap.dtype))
        weights = self.weights(view, pair, label, share)
        by_class, by_box = weights.flatten(1)[:, pair.place]
        one, count = torch.ones_like(share), share.new_tensor(float(len(pair)))
        if self.normaliser == "start":
            count = MOMENTUM * START + (1 - MOMENTUM) * count
        return Assignment(
            pairs=Pairs(objects, locations, by_class * label, box_weight=by_box, quality=one),
            discounts=Discounts.of_pairs(objects, locations, view.targets, factor=one, weight=1 - label),
            normalisers=Normalisers(count, count, count, local=self.normaliser != "batch"),
            background=weights[0] if self.reweight else None,
            diagnostics={"soft": label, "share": share},
        )

    def explain(self, view: PairViews) -> Reasons:
        """A with s', r and u."""
        objects, locations, times = owned_pairs(view.targets, view.priors, self.k)
        pair = view(objects, locations)
        label, share = self.cleanliness(pair, times.to(pair.overlap.dtype))
        return Reasons(
            f"The {self.k} anchors of highest IoU with a box are chosen; each teaches the object that it overlaps "
            "most, with its cleanliness s' as the score to learn, and counts r times.",
            objects,
            locations,
            {"IoU of the anchor": iou(pair.prior, pair.true), "s'": label, "r": share, "IoU": pair.overlap},
        )

    def cleanliness(self, pair: PairView, times: Tensor) -> tuple[Tensor, Tensor]:
        """Soft label s' and share r of anchors: ``[pair]`` each."""
        image, images, one = pair.image, pair.targets.images, torch.ones_like(times)
        overlap, score = pair.overlap, pair.logit.sigmoid()

        def relative(values: Tensor) -> Tensor:
            return values / pick(mean_by(values, image, images, times).clamp(min=TINY), image)

        clean = self.alpha * relative(overlap) + (1 - self.alpha) * relative(score)
        low, high = (pick(by(clean, image, images), image) for by in (min_by, max_by))
        lowest = pick(mean_by(overlap, image, images, times), image)
        label = lowest + (clean - low) / (high - low).clamp(min=TINY) * (1 - lowest)
        overlap, score = (1 / (1 - each).clamp(min=TINY) for each in (overlap, score))  # f
        share = self.alpha * relative(overlap) + (1 - self.alpha) * relative(score)
        return label.clamp(0, 1) if self.soft else one, share if self.reweight else one

    def weights(self, view: PairViews, pair: PairView, label: Tensor, share: Tensor) -> Tensor:
        """K · r and K_box · r of all anchors: ``[2, image, location]``."""
        background, one = view.background(), torch.ones_like(share)
        of_pairs = pick(background.flatten(), pair.place) + label * pair.beyond_background(one)
        by_class = pair.on_map(of_pairs, background * taught_locations(view.priors, view.targets))
        by_box = pair.on_map(pair.box_part, torch.zeros_like(background))
        losses, weight = torch.stack((by_class, by_box)), pair.on_map(share, torch.ones_like(background))
        kept = -1 if self.kept == "image" else (-2, -1)
        before, after = (each.sum(kept, keepdim=True) for each in (losses, weight * losses))
        return weight * torch.where(after > 0, before / after, 1.0)
