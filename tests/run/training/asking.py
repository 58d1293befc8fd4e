"""Small strategies that ask for what most do not: how far training is, and branches beside the main one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Branch,
    Head,
    PairViews,
    Priors,
    Targets,
    area,
    hard_assignment,
    inside_pairs,
    nearest_pairs,
    winners,
)
from assignbench.core.parts import anchor_head


def taught(objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> Assignment:
    """These pairs are positive; a location that several objects want learns the smallest."""
    won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)
    return hard_assignment(objects[won], locations[won], targets)


class Watching(Assigner):
    """Says in a loss how far training is."""

    head = Head()
    source = "a test"

    def forward(self, targets: Targets, priors: Priors, progress: float) -> Assignment:
        """The progress is a number, which teaches nobody."""
        record = taught(*inside_pairs(targets, priors), targets, priors)
        return replace(record, losses={"progress": torch.tensor(progress)})


class Branching(Assigner):
    """Speaks by the nearest location of each level; nine anchors a cell, and the same outputs again, learn beside."""

    head = Head(beside=(Branch("dense", anchor_head()), Branch("again")))
    source = "a test"

    def forward(self, targets: Targets, priors: Priors, branches: Mapping[str, PairViews]) -> Mapping[str, Assignment]:
        """All locations in the box, for the branches that do not speak."""
        dense = branches["dense"].priors
        return {
            "main": taught(*nearest_pairs(targets, priors, 1), targets, priors),
            "dense": taught(*inside_pairs(targets, dense), targets, dense),
            "again": taught(*inside_pairs(targets, priors), targets, priors),
        }
