"""A rule that changes during training: the square around the centre grows from half a stride to two and a half."""

from __future__ import annotations

import torch

from assignbench.core import Assigner, Assignment, Head, Priors, Targets, area, hard_assignment, inside_pairs, winners


class Curriculum(Assigner):
    """Centre sampling with a radius that grows with progress."""

    head = Head()
    source = "tests"

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets, progress: float) -> Assignment:
        objects, locations = inside_pairs(targets, priors, radius=0.5 + 2 * progress)
        won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)
        return hard_assignment(objects[won], locations[won], targets)
