"""One-to-many and one-to-one on one detector: the latter speaks, without suppression, and does not move the pyramid.

Many: every location in the box. One: of those the location of least cost −log p + λ · L_box.
Source: after YOLOv10, arXiv 2405.14458, Section 3.1, reduced to what shows the interface.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Branch,
    Head,
    PairViews,
    Priors,
    Targets,
    area,
    best_of,
    hard_assignment,
    inside_pairs,
    winners,
)


class TwoBranches(Assigner):
    """Two decisions on one detector."""

    head = Head(detached=True, suppress=False, beside=(Branch("one_to_many", Head()),))
    source = "tests"

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, branches: Mapping[str, PairViews]) -> Mapping[str, Assignment]:
        objects, locations = inside_pairs(targets, priors)
        won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)
        many = hard_assignment(objects[won], locations[won], targets)

        cost = branches["main"](objects, locations).cost
        chosen = best_of(objects, -cost)
        objects, locations, cost = objects[chosen], locations[chosen], cost[chosen]
        won = winners(-cost, objects, locations, targets, priors)
        return {"main": hard_assignment(objects[won], locations[won], targets), "one_to_many": many}
