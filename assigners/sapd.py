"""SAPD: locations near the middle of an object count more, and so do the levels that a small network selects for it.

    C_n      on every level the cells that overlap box n after it was shrunk to ε of its sides              ε = 0.2
    n(j)     the smallest box with j ∈ C_n; equal areas: the object listed first
    a_nj     ( min(l, r) · min(t, b) / (max(l, r) · max(t, b)) )^η                       soft weighting     η = 1
    ℓ_nl     mean over the cells of level l that n has won of  c⁺ ℓ_class + c⁻ Σ background + α λ L_box
    p_nl     softmax over l of the selection network, on 7 × 7 features of box n from all levels
    b_nl     first half of training: 1 on argmin_l ℓ_nl (equal: the finer level), 0 elsewhere
             second half: p_nl on its k best levels, 0 elsewhere                         soft selection     k = 3
    w_nj     a_nj · b_nl                weight of class and box; on levels with b_nl > 0 of the other classes, too
    ignored  class y_n at the cells of n on levels with b_nl = 0
    L_sel    0.1 · mean over n of −log p_nl at l = argmin_l ℓ_nl;  all else is divided by Σ w_nj

c⁺, c⁻, α, λ: of the loss.

Source: arXiv 1911.12448, Section 3 ("Soft-Weighted Anchor Points", "Soft-Selected Pyramid Levels"). The authors' code
is not public. So no reference proves this file: it is a reading of the formulas.

Choices where they are silent: a cell whose centre lies outside the box has a = 0. The p of the k best levels are not
divided by their sum. Neither w nor the features carry gradient. So the selection network learns from L_sel alone, and
the detector learns nothing from L_sel. Objects that have won no cell are left out of L_sel.

Cost: with five levels of 256 channels, the selection network takes 80 million multiplications an object, and as many
for the gradient of its weights. It takes nearly all of the time of this strategy's loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from assignbench.core import (
    Assigner,
    Assignment,
    Discounts,
    Head,
    Normalisers,
    Pairs,
    PairView,
    PairViews,
    Predictions,
    Priors,
    Reasons,
    Setting,
    Targets,
    area,
    around_pairs,
    box_features,
    centerness,
    level_means,
    require,
    require_effect,
    smallest_k,
    winners,
)
from assignbench.core.parts import Cost
from assigners.presets.sapd import PRESETS

SELECTION = 0.1  # weight of L_sel


class SAPD(Assigner):
    """Soft anchor-point detector.

    Args:
        core: ε, side of the part of a box that teaches, in sides of the box.
        eta: η, how fast the weight falls off from the middle; 0: not at all.
        levels: k, levels that share an object.
        soft_from: progress of training from which on levels share an object; 1: never.
    """

    head = Head()
    source = "SAPD, arXiv 1911.12448, Section 3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        core: float = 0.2,
        eta: float = 1.0,
        levels: int = 3,
        soft_from: float = 0.5,
    ) -> None:
        super().__init__(setting)
        require(0 < core <= 1, f"core must lie in (0, 1], got {core:g}")
        require(eta >= 0, f"eta must not be negative, got {eta:g}")
        require(1 <= levels <= setting.levels, f"levels must lie in 1 … {setting.levels}, got {levels}")
        require(0 <= soft_from <= 1, f"soft_from must lie in [0, 1], got {soft_from:g}")
        require_effect(soft_from < 1 or levels == 3, f"levels={levels}", "with soft_from=1 no object is on several")
        self.core, self.eta, self.levels, self.soft_from = core, eta, levels, soft_from
        width = setting.channels
        layers = [nn.Conv2d(width * setting.levels, width, 3), *(nn.Conv2d(width, width, 3) for _ in range(2))]
        every = [part for layer in layers for part in (layer, nn.ReLU())]  # 7 × 7 → 5 × 5 → 3 × 3 → 1 × 1
        last = nn.Linear(width, setting.levels)
        nn.init.normal_(last.weight, std=0.01)  # all levels are about as likely at first
        self.selection = nn.Sequential(*every, nn.Flatten(), last)

    def forward(
        self, predictions: Predictions, priors: Priors, targets: Targets, view: PairViews, progress: float
    ) -> Assignment:
        """See the module's formulas."""
        pair = view(*self.cells(priors, targets))
        objects, locations = pair.objects, pair.locations
        loss = self.level_loss(pair)
        logits = self.selection(box_features(predictions.pyramid, targets, priors))  # 7 × 7 each
        easiest = smallest_k(loss, 1)
        share = easiest.to(loss.dtype)
        if progress >= self.soft_from:  # progress stays below 1
            chosen = logits.detach().softmax(1)
            share = chosen.where(smallest_k(-chosen, self.levels), 0.0)

        level_weight = share[pair.objects, pair.level]
        central = centerness(pair.true, pair.point).square()  # 0 outside the box
        weight = (central > 0) * central**self.eta * level_weight
        everywhere = torch.ones_like(predictions.outputs[..., 0])
        background = pair.on_map(weight.where(level_weight > 0, 1.0), everywhere)
        total, surprise = weight.sum(), -logits.log_softmax(1).where(easiest, 0.0).sum()
        return Assignment(
            pairs=Pairs(objects, locations, weight, box_weight=weight),
            discounts=Discounts.of_pairs(objects, locations, targets, torch.zeros_like(weight)),
            normalisers=Normalisers(total, total, total),
            background=background,
            losses={"selection": Cost.mean(SELECTION * surprise, easiest.sum())},
        )

    def cells(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """The cells that objects have won: ``[pair]`` each."""
        objects, locations = around_pairs(targets.on_host(), priors.on_host(), scale=self.core, reach=0.5)
        won = winners(-area(targets.on_host().boxes)[objects], objects, locations, targets.on_host(), priors)
        device = targets.boxes.device
        return objects[won].to(device, non_blocking=True), locations[won].to(device, non_blocking=True)

    def explain(self, priors: Priors, targets: Targets, view: PairViews) -> Reasons:
        """The cells that objects have won, a, and ℓ of their levels."""
        pair = view(*self.cells(priors, targets))
        loss, central = self.level_loss(pair), centerness(pair.true, pair.point).square()
        return Reasons(
            f"Cells of the middle of the box, {self.core:g} of its sides, teach the object, the more the nearer they "
            "are to its centre and the more its level is selected: first the one of least mean loss, in the second "
            f"half of training the {self.levels} that a network prefers; a cell of several goes to the smallest box.",
            pair.objects,
            pair.locations,
            {
                "a": (central > 0) * central**self.eta,
                "mean loss of the level": loss[pair.objects, pair.level],
                "area of the box, pixels²": area(pair.true),
            },
            {"least mean loss": loss.amin(1)},
        )

    @torch.no_grad()
    def level_loss(self, pair: PairView) -> Tensor:
        """ℓ, infinite where the object has won no cell: ``[object, level]``."""
        cost = pair.class_cost + pair.loss.weight * pair.box_part
        return level_means(cost, pair.objects, pair.level, (len(pair.targets), self.setting.levels))
