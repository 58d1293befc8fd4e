"""OTA: locations go to objects and background as goods to buyers, by the transport plan of least cost.

    C_n    locations in the box and in the square of half side ρ·s around its centre     ρ = 2.5, s the stride
    c_nj   L_class(p_j, y_n) + α · (−ln IoU(b̂_j, b_n))    for j ∈ C_n                       α = 1.5
    c_0j   L_class(p_j, ∅)                                 background
    s_n    ⌊sum of the q highest IoU in C_n⌋, at least 1;  s_0 = J − Σ s_n                    q = 20, dynamic k
    π      argmin Σ c π + γ Σ π log π, row sums s, column sums 1, by T iterations of Sinkhorn    γ = 0.1, T = 50
    n(j)   argmax_n π_nj / max_i π_ni,  background among the n

J: number of locations. L_class is the detector's class loss, of all classes. What the cost of an object and that of the
background have in common (everything but the object's own class) changes no plan. The IoU of the predicted box is
learned beside and scales the score. ``at_least_one`` gives an object without a candidate the location of the finest
level that is nearest to its centre.

Source: arXiv 2103.14259, Sections 3.1–3.3, Algorithm 1.

Choices: equal shares go to the object listed first, and to an object before background. ρ is that of the authors' code
(in the paper, the 5² nearest locations of each level). An object without candidates is not taught. In the authors' code
it costs 10⁶ everywhere and has s_n = 1. Then float32's rounding beside 10⁶ decides which locations it takes, even far
outside its box. That is not copied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    PairView,
    PairViews,
    Priors,
    Reasons,
    Setting,
    Targets,
    best_of,
    hard_assignment,
    inside_pairs,
    require,
    require_effect,
    sum_by,
    transport,
    winners,
)
from assignbench.core.parts import PredictedIoU
from assigners.presets.ota import PRESETS

MARGIN = 0.01  # pixels between a candidate and the box's sides
LEAST_IOU = 2.0**-23  # in the logarithm


class OTA(Assigner):
    """Optimal transport assignment.

    Args:
        radius: ρ, half side of the central square in strides; 0: the whole box.
        alpha: α, how much the box costs beside the class.
        best: q, overlaps that are summed to how many locations an object has to give.
        k: locations that every object has to give; 0: by its overlaps.
        gamma: γ, how much the plan is smoothed.
        iterations: T, of Sinkhorn.
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head(extras=(PredictedIoU(),))
    source = "OTA, arXiv 2103.14259, Sections 3.1–3.3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        radius: float = 2.5,
        alpha: float = 1.5,
        best: int = 20,
        k: int = 0,
        gamma: float = 0.1,
        iterations: int = 50,
        at_least_one: bool = False,
    ) -> None:
        super().__init__(setting)
        require(radius >= 0, f"radius must not be negative, got {radius}")
        require(alpha >= 0, f"alpha must not be negative, got {alpha}")
        require(best >= 1, f"best must be at least 1, got {best}")
        require(k >= 0, f"k must not be negative, got {k}")
        require(gamma > 0, f"gamma must be positive, got {gamma}")
        require(iterations >= 1, f"iterations must be at least 1, got {iterations}")
        require_effect(k == 0 or best == 20, f"best={best}", f"k={k} does not ask for overlaps")
        self.radius, self.alpha, self.best, self.k = radius, alpha, best, k
        self.gamma, self.iterations, self.at_least_one = gamma, iterations, at_least_one

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        radius = self.radius or None
        objects, locations = inside_pairs(targets, priors, MARGIN, radius, at_least_one=self.at_least_one)
        pair = view(objects, locations)
        share, background = self.plan(pair)
        positive = (share >= background) & winners(share, objects, locations, targets, priors)
        chosen = positive.nonzero()[:, 0]
        return hard_assignment(objects[chosen], locations[chosen], targets)

    def plan(self, pair: PairView) -> tuple[Tensor, Tensor]:
        """Ln of π_nj / max_i π_ni, and the background's: ``[pair]`` each."""
        return transport(
            self.cost(pair),
            self.supply(pair),
            pair.objects,
            pair.locations,
            pair.targets,
            pair.priors,
            epsilon=self.gamma,
            iterations=self.iterations,
        )

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """C_n with the plan, c and u, and what each object has to give."""
        radius = self.radius or None
        pair = view(*inside_pairs(targets, priors, MARGIN, radius, at_least_one=self.at_least_one))
        share, background = self.plan(pair)
        return Reasons(
            "A candidate teaches the object that has the largest share of it in the transport plan, background among "
            "those that want it; an object supplies as many as its best predictions overlap it in sum.",
            pair.objects,
            pair.locations,
            {
                "share": share.exp(),
                "background's share": background.exp(),
                "cost beyond background's": self.cost(pair),
                "IoU": pair.overlap,
            },
            {"supply": self.supply(pair)},
        )

    def cost(self, pair: PairView) -> Tensor:
        """c_nj − c_0j, in which all classes but the object's own cancel: ``[pair]``."""
        own = pair.beyond_background(torch.ones_like(pair.overlap))
        return own - self.alpha * pair.overlap.clamp(min=LEAST_IOU).log()

    def supply(self, pair: PairView) -> Tensor:
        """s_n, 0 without candidates: ``[object]``."""
        objects, count = pair.objects, len(pair.targets)
        counted = best_of(objects, pair.overlap, self.best).to(pair.overlap.dtype)
        dynamic = sum_by(pair.overlap * counted, objects, count).floor().clamp(min=1)
        supply = torch.full_like(dynamic, float(self.k)) if self.k else dynamic
        return supply * (sum_by(counted, objects, count) > 0)
