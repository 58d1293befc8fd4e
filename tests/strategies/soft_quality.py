"""Soft targets: the three locations of least cost in the box learn their own overlap as the class score."""

from __future__ import annotations

import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    PairViews,
    Priors,
    Targets,
    best_of,
    hard_assignment,
    inside_pairs,
    winners,
)


class SoftQuality(Assigner):
    """The score to learn is the IoU of the predicted box."""

    head = Head()
    source = "tests"

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, view: PairViews) -> Assignment:
        objects, locations = inside_pairs(targets, priors)
        cost = view(objects, locations).cost
        chosen = best_of(objects, -cost, 3)
        objects, locations, cost = objects[chosen], locations[chosen], cost[chosen]
        won = winners(-cost, objects, locations, targets, priors)
        objects, locations = objects[won], locations[won]
        return hard_assignment(objects, locations, targets, quality=view(objects, locations).overlap)
