"""FSAF: the core of a box teaches it on one level, the one on which the network finds it easiest.

    core, ring   a cell whose square overlaps the box shrunk to ε_e (core) or ε_i (ring) by more than 1 % of the cell
    C_n          { cells of the core of n whose location lies in box n }, on every level
    n(j)         the smallest box with j ∈ C_n; equal areas: the object listed first
    ignored      class y_n at the cells of n's ring that are not in C_n, and at those of C_n that a smaller box has
    ℓ_nl         mean over the cells of level l that n has won of  c⁺ ℓ_class + c⁻ Σ background + α λ L_box
    l*_n         argmin_l ℓ_nl; equal: the finer level                no gradient flows through the choice
    pairs        n with the cells that it has won on l*_n; on the other levels class y_n is ignored at its cells

ε_e = ε_i = 0.2; c⁺, c⁻, α, λ: of the loss. The classes that are ignored at a cell are left out of ℓ too.

Source: arXiv 1903.00621, Sections 3.2 (regions) and 3.3 (online feature selection, Eqs. 1–3). Only the anchor-free
branch is here.

Choices: ε_i is 0.2, as in mmdetection, which reports more AP with it than with the paper's 0.5. A cell that n has won
may be ignored for another object of n's class. Then it teaches n. (In mmdetection it becomes background of the other
classes, so that two equal objects teach each other away: ``same_class="ignored"``.)
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
    area,
    around_pairs,
    centers,
    class_winners,
    level_means,
    require,
    sides,
    sum_by,
    taught_locations,
    winners,
)
from assigners.presets.fsaf import PRESETS

LEAST_SHARE = 0.01  # of a cell


class FSAF(Assigner):
    """Feature selective anchor-free module.

    Args:
        core: ε_e, side of the part of a box that teaches, in sides of the box.
        ring: ε_i, side of the part outside of which all is background.
        same_class: what a cell is that one object has won and that is ignored for another of its class.
        normaliser: positives of the batch, or those of each process on its own; without any, the background is then
            divided by the number of its locations (local).
    """

    head = Head()
    source = "FSAF, arXiv 1903.00621, Sections 3.2–3.3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        core: float = 0.2,
        ring: float = 0.2,
        same_class: Literal["positive", "ignored"] = "positive",
        normaliser: Literal["batch", "local"] = "batch",
    ) -> None:
        super().__init__(setting)
        require(0 < core <= ring <= 1, f"0 < core ≤ ring ≤ 1 does not hold for {core:g} and {ring:g}")
        self.core, self.ring, self.same_class, self.normaliser = core, ring, same_class, normaliser

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        """See the module's formulas."""
        every, pair, ignored = self.seen(targets, priors, view)
        easiest = self.level_loss(pair, every, ignored).argmin(1)
        kept = (pair.level == easiest[pair.objects]).nonzero()[:, 0]
        one = torch.ones_like(pair.stride[kept])
        count, local = one.sum(), self.normaliser == "local"
        background = taught_locations(priors, targets).sum().to(one.dtype) if local else None
        return Assignment(
            pairs=Pairs(pair.objects[kept], pair.locations[kept], one, box_weight=one),
            # no class of an object with core or ring here is background
            discounts=Discounts.of_pairs(every.objects, every.locations, targets, torch.zeros_like(every.stride)),
            normalisers=Normalisers(count, count, count, local=local, unpaired=background),
        )

    def seen(self, targets: Targets, priors: Priors, view: PairViews) -> tuple[PairView, PairView, Tensor]:
        """All pairs of core and ring, those that are won, and which of the first ignore a class; see `regions`."""
        found = self.regions(targets.on_host(), priors.on_host())
        objects, locations, won, ignored = (part.to(targets.boxes.device, non_blocking=True) for part in found)
        return view(objects, locations), view(objects[won], locations[won]), ignored

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """The cells that objects have won, and ℓ of their levels."""
        every, pair, ignored = self.seen(targets, priors, view)
        loss = self.level_loss(pair, every, ignored)
        return Reasons(
            f"Cells of the middle of the box, {self.core:g} of its sides, teach the object on the level of least mean "
            "loss; a cell of several objects goes to the smallest box.",
            pair.objects,
            pair.locations,
            {"mean loss of the level": loss[pair.objects, pair.level], "area of the box, pixels²": area(pair.true)},
            {"least mean loss": loss.amin(1)},
        )

    def level_loss(self, pair: PairView, every: PairView, ignored: Tensor) -> Tensor:
        """ℓ, infinite where the object has won no cell: ``[object, level]``.

        ``every``: all pairs of core and ring, ``pair``: those that are won; ``ignored``: see `regions`.
        """
        classes = pair.loss.classes
        background = classes.negative_weight * classes.background(every.logit[ignored])
        left_out = sum_by(background, every.place[ignored], pair.targets.images * len(pair.priors))
        cost = pair.class_cost - left_out[pair.place] + pair.loss.weight * pair.box_part
        return level_means(cost, pair.objects, pair.level, (len(pair.targets), self.setting.levels))

    def regions(self, targets: Targets, priors: Priors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pairs of core and ring; which of them are won; which ignore a class that no winner of the cell has."""
        objects, locations = around_pairs(targets, priors, scale=self.ring, reach=0.5)
        ring = share_of_cell(targets, priors, objects, locations, self.ring) > LEAST_SHARE
        objects, locations = objects[ring], locations[ring]
        core = share_of_cell(targets, priors, objects, locations, self.core) > LEAST_SHARE
        core &= sides(targets.boxes[objects], priors.points[locations]).amin(-1) > 0

        size = area(targets.boxes)[objects]
        owned = core & winners(-size.where(core, torch.inf), objects, locations, targets, priors)
        first = owned if self.same_class == "positive" else ~owned  # of several of one class
        counted = class_winners(first.to(size.dtype), objects, locations, targets, priors, self.setting.classes)
        return objects, locations, (owned & counted).nonzero()[:, 0], (~owned & counted).nonzero()[:, 0]


def share_of_cell(targets: Targets, priors: Priors, objects: Tensor, locations: Tensor, scale: float) -> Tensor:
    """Share of a location's cell that overlaps its object's box, shrunk to a part: ``[pair]``."""
    box, point, stride = targets.boxes[objects], priors.points[locations], priors.stride[locations]
    reach, half = (box[:, 2:] - box[:, :2]) / 2 * scale, stride[:, None] / 2
    low, high = torch.maximum(centers(box) - reach, point - half), torch.minimum(centers(box) + reach, point + half)
    return (high - low).clamp(min=0).prod(-1) / stride.square()
