"""FoveaBox: the fovea of an object, the middle of its box, teaches it on every level that its size fits.

    fits     r_l / η ≤ √(w·h) ≤ r_l · η          r_l = 4 strides: 32 … 512 pixels; both ends inclusive     η = 2
    fovea    locations in the box shrunk to σ of its width and height, borders included                    σ = 0.4
    n(j)     the smallest box with j in its fovea, on a level that fits; equal areas: the object listed first

Two neighbouring levels fit most objects. The outermost ranges are open: the finest level has all objects that are
smaller, and the coarsest has all that are larger. An object whose fovea holds no location of a level learns nothing
there. ``at_least_one`` gives an object that would learn nothing on any level the location that is nearest to its
centre, on the level whose r_l is nearest to its size.

Source: arXiv 1904.03797, Section 3 ("Scale Assignment", "Object Fovea").

Choices: a fovea between the image's side and the outermost locations has the nearest of these, as in mmdetection.
There, if several objects of equal area claim a location, the one listed last gets it (``ties="last"``), and the class
part is divided by positives + images (``normaliser="local"``). The paper's box target, ln of the sides by the level's
scale, is the coding of the preset.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Normalisers,
    Priors,
    Reasons,
    Setting,
    Targets,
    and_nearest,
    area,
    either_pairs,
    hard_assignment,
    require,
    shrunk_pairs,
    winners,
)
from assigners.presets.fovea import PRESETS


class FoveaBox(Assigner):
    """The middle of the box, on levels that fit.

    Args:
        fovea: σ, side of the part of a box that teaches, in sides of the box.
        overlap: η, how far beyond its own scale a level reaches, as a factor both ways; √2: no object is on two levels.
        base: r_l, a level's own scale, in strides.
        ties: which of several objects of equal area has a location: the one that is listed first, or last.
        normaliser: what the losses are divided by: the positives of the batch; or those of each process on its own,
            of the class part with its images added (local).
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head()
    source = "FoveaBox, arXiv 1904.03797, Section 3"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        fovea: float = 0.4,
        overlap: float = 2.0,
        base: float = 4.0,
        ties: Literal["first", "last"] = "first",
        normaliser: Literal["batch", "local"] = "batch",
        at_least_one: bool = False,
    ) -> None:
        super().__init__(setting)
        require(0 < fovea <= 1, f"fovea must lie in (0, 1], got {fovea:g}")
        require(overlap**2 >= 2 - 1e-6, f"overlap must be at least √2, or some sizes fit no level, got {overlap:g}")
        require(base > 0, f"base must be positive, got {base:g}")
        self.fovea, self.overlap, self.base = fovea, overlap, base
        self.ties, self.normaliser, self.at_least_one = ties, normaliser, at_least_one

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        objects, locations = self.candidates(priors, targets)
        if self.ties == "last":  # pairs are ordered by object
            objects, locations = objects.flip(0), locations.flip(0)
        won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)
        objects, locations = objects[won], locations[won]
        count = won.sum().to(targets.boxes.dtype)
        local = self.normaliser == "local"
        classes = count + targets.images if local else count
        return hard_assignment(
            objects, locations, targets, normalisers=Normalisers(classes, count, classes, local=local)
        )

    def candidates(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """The pairs that compete: ``[pair]`` each."""
        objects, locations = shrunk_pairs(targets, priors, self.fovea)
        size, low, high = self.size(objects, locations, priors, targets)
        fits = (size >= low) & (size <= high)
        objects, locations = objects[fits], locations[fits]
        if self.at_least_one:
            octaves = (area(targets.boxes).sqrt() / (self.base * priors.stride.amin())).log2()
            own = octaves.round().clamp(0, self.setting.levels - 1).long()
            objects, locations = and_nearest(objects, locations, targets, priors, own)
        return objects, locations

    def size(
        self, objects: Tensor, locations: Tensor, priors: Priors, targets: Targets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """√(w·h), and the ends of the level's range, open at the pyramid's ends: ``[pair]`` each."""
        size, scale = area(targets.boxes).sqrt()[objects], self.base * priors.stride[locations]
        level = priors.level[locations]
        low = (scale / self.overlap).where(level > 0, -torch.inf)
        return size, low, (scale * self.overlap).where(level < self.setting.levels - 1, torch.inf)

    def explain(self, priors: Priors, targets: Targets) -> Reasons:
        """The fovea on every level, and which levels fit."""
        own = self.candidates(priors, targets)
        objects, locations = either_pairs(shrunk_pairs(targets, priors, self.fovea), own, priors)
        candidate = torch.isin(objects * len(priors) + locations, own[0] * len(priors) + own[1])
        size, low, high = self.size(objects, locations, priors, targets)
        rest = "; an object without any takes the nearest" if self.at_least_one else ""
        return Reasons(
            f"Candidates lie in the middle of the box, {self.fovea:g} of its sides, on levels whose range holds its "
            f"size{rest}; one of several objects teaches the smallest box.",
            objects,
            locations,
            {"size, pixels": size, "range from": low, "range to": high, "candidate": candidate},
        )
