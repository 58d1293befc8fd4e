"""SimOTA: an object takes its cheapest candidates, as many as its best predictions overlap it in sum.

    candidates   locations in any box, or in any square |x − x_n| < ρ·s, |y − y_n| < ρ·s around a box's centre, ρ = 2.5
    own          j lies in box n and in its square
    p            √(σ(class) · σ(objectness)), of all classes
    c_nj         Σ_classes BCE(p_j, one-hot y_n) − 3 ln(u_nj + 10⁻⁷) + 10⁵ [j is not n's own]
    k_n          max(1, ⌊Σ of the 10 largest u_nj over all candidates⌋)
    S_n          the k_n candidates of least c_nj
    n(j)         a candidate in several S_n goes to the object of least c_nj among all of the image
    q            u of the pair: the class score to learn; objectness learns 1 at pairs, 0 elsewhere

u_nj: IoU of the box predicted at j and box n; s: j's stride, (x_n, y_n) the centre. Nothing carries gradient.

Source: YOLOX, arXiv 2107.08430, Section 2.1 "SimOTA", after OTA, arXiv 2103.14259.

Choices where implementations differ: candidates and penalty are mmdetection's. YOLOX's own code takes the square alone,
with ρ = 1.5. Costs without the penalty stay below it, so the penalty only ranks. The code here uses (1 + c) · 10⁶,
which gives the same ranks and keeps the digits that adding 10⁵ would round off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

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
    around_pairs,
    competing_pairs,
    dynamic_k,
    dynamic_reasons,
    hard_assignment,
    inside_pairs,
    pick,
    require,
    sides,
)
from assignbench.core.parts import Objectness
from assigners.presets.simota import PRESETS

FAR = 1e6  # what a pair costs more that is not the object's own; no cost reaches it
LEAST_OVERLAP = 1e-7
ROUNDING = 1.001  # what the radius is widened by, so that no pair of it is missed
LEAST_LOG = -100.0  # of a probability, as in every cross-entropy


class SimOTA(Assigner):
    """Dynamic k by the cost of predictions.

    Args:
        radius: ρ, half side of the central square in strides.
        candidates: largest overlaps whose sum is an object's k.
        class_at: where classes are taught: everywhere, or at pairs only, so that objectness alone learns background.
    """

    head = Head(extras=(Objectness(),))
    source = "YOLOX, arXiv 2107.08430, Section 2.1"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        radius: float = 2.5,
        candidates: int = 10,
        class_at: Literal["everywhere", "pairs"] = "everywhere",
    ) -> None:
        super().__init__(setting)
        require(radius > 0, f"radius must be positive, got {radius}")
        require(candidates >= 1, f"candidates must be at least 1, got {candidates}")
        self.radius, self.candidates, self.class_at = radius, candidates, class_at

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        host, layout = targets.on_host(), priors.on_host()
        objects, locations = dynamic_k(
            view,
            *self.around(host, layout),
            cost=self.cost(view),
            most=self.candidates,
            least=lambda overlap: (1 + by_overlap(overlap)) * FAR,
            first=inside_pairs(host, layout, radius=self.radius * ROUNDING),  # all that are an object's own
        )
        pair = view(objects, locations)
        background = None
        if self.class_at == "pairs":
            background = torch.zeros_like(view.predictions.outputs[..., 0])
            background.view(-1).index_fill_(0, pair.place, 1.0)
        return hard_assignment(objects, locations, targets, quality=pair.overlap, background=background)

    def around(self, targets: Targets, priors: Priors) -> tuple[Tensor, Tensor]:
        """Locations in boxes, and in the squares around their centres; some stand twice: ``[pair]`` each."""
        inside, central = inside_pairs(targets, priors), around_pairs(targets, priors, scale=0.0, reach=self.radius)
        return torch.cat((inside[0], central[0])), torch.cat((inside[1], central[1]))

    def own(self, pair: PairView) -> Tensor:
        """Which locations lie in the box and in its square: bool ``[pair]``."""
        return (sides(pair.true, pair.point).amin(-1) > 0) & (pair.offset.abs().amax(-1) < self.radius)

    def cost(self, view: PairViews) -> Callable[[PairView], Tensor]:
        """C of pairs: ``[pair]``."""
        objectness = view.detached().predictions.extras["objectness"].flatten()
        nothing = view.over_classes(lambda logit, place: -log(1 - joint(logit, pick(objectness, place)[:, None])))

        def cost(pair: PairView) -> Tensor:
            p = joint(pair.logit, pair.extra_logit("objectness"))
            one_hot = nothing(pair.place) + log(1 - p) - log(p)
            total = one_hot.clamp(min=0) + by_overlap(pair.overlap)
            return torch.where(self.own(pair), total, (1 + total) * FAR)

        return cost

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """Every candidate of the image, c and u, and k of each object."""
        objects, locations = self.around(targets.on_host(), priors.on_host())
        device = targets.boxes.device
        pair = view(*competing_pairs(objects.to(device), locations.to(device), targets, priors))
        return dynamic_reasons(
            pair,
            self.cost(view)(pair),
            self.candidates,
            f"The object takes its k cheapest candidates, k the sum of its {self.candidates} largest IoU, rounded "
            "down, at least 1; what is not its own costs (1 + cost) · 10⁶; one of several objects goes to the least "
            "cost.",
            {"own": self.own(pair)},
        )


def joint(logit: Tensor, objectness: Tensor) -> Tensor:
    """The probability p of classes: any shape."""
    return (logit.sigmoid() * objectness.sigmoid()).sqrt()


def log(probability: Tensor) -> Tensor:
    """Logarithm with the floor of a cross-entropy: any shape."""
    return probability.log().clamp(min=LEAST_LOG)


def by_overlap(overlap: Tensor) -> Tensor:
    """The part of the cost that the overlap makes: any shape."""
    return -3 * (overlap + LEAST_OVERLAP).log()
