"""FCOS, improved: a location teaches the smallest box that it is central in and that fits its level.

    inside      min(l, t, r, b) > 0
    central     |x − x_n| < ρ·s  and  |y − y_n| < ρ·s           ρ = 1.5, s the level's stride, (x_n, y_n) the centre
    in range    lo_l ≤ max(l, t, r, b) ≤ hi_l                   both ends inclusive
    n(j)        the smallest box that passes; equal areas: the object listed first
    c*          √( min(l, r)/max(l, r) · min(t, b)/max(t, b) )  centerness: learned beside, and weight of the box part

The ranges in pixels for P3 … P7 are: up to 64, 64–128, 128–256, 256–512, and from 512. They are multiples of 8 strides.
``at_least_one`` gives a box without any candidate the location that is nearest to its centre, on the level whose range
holds half its longer side. If that location lies outside the box, its centerness counts as 1.

Source: arXiv 1904.01355, Sections 3.1–3.2. Centre sampling, GIoU and centerness on the box tower are the improvements
of its released version (38.7 AP, ResNet-50, 1×).

Choices where implementations differ: both ends of a range belong to it. The box part is weighted by centerness and
divided by its sum, which is at least 1 (``least_box``; mmdetection: 1e-6). No box is too large to win (mmdetection: 10⁸
square pixels). Each part is an option. Without all of them this is `plain`, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace

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
    centerness,
    centers,
    either_pairs,
    hard_assignment,
    inside_pairs,
    require,
    require_effect,
    sides,
    winners,
)
from assignbench.core.parts import Centerness
from assigners.presets.fcos import PRESETS

RANGE = ("reach, pixels", "range from", "range to")  # words of what `FCOS.reach` gives


class FCOS(Assigner):
    """Centre sampling and scale ranges, with centerness.

    Args:
        radius: ρ, half side of the central square in strides; 0 switches centre sampling off.
        scale_ranges: whether a level takes only objects of its range.
        base_range: upper end of the finest level's range, in strides; each level doubles it in pixels.
        least_box: floor of the sum of centerness that the box part is divided by.
        centerness: whether centerness is learned, scales the score and weights the box part.
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head(extras=(Centerness(),))
    source = "FCOS, arXiv 1904.01355, Sections 3.1–3.2"
    presets = PRESETS

    def __init__(
        self,
        setting: Setting,
        *,
        radius: float = 1.5,
        scale_ranges: bool = True,
        base_range: float = 8.0,
        least_box: float = 1.0,
        centerness: bool = True,
        at_least_one: bool = False,
    ) -> None:
        super().__init__(setting)
        require(radius >= 0, f"radius must not be negative, got {radius}")
        require(base_range > 0, f"base_range must be positive, got {base_range}")
        require(least_box > 0, f"least_box must be positive, got {least_box}")
        require_effect(
            scale_ranges or base_range == 8, f"base_range={base_range:g}", "scale_ranges=false has no ranges"
        )
        self.radius, self.scale_ranges, self.base_range = radius, scale_ranges, base_range
        self.least_box, self.central, self.at_least_one = least_box, centerness, at_least_one
        extra = Centerness(outside=1.0 if at_least_one else 0.0)
        self.head = replace(self.head, extras=(extra,) if centerness else ())

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        objects, locations = self.candidates(priors, targets)
        won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)
        objects, locations = objects[won], locations[won]
        if not self.central:
            return hard_assignment(objects, locations, targets)
        central = centerness(targets.boxes[objects], priors.points[locations])
        if self.at_least_one:
            central = central.where(central > 0, 1.0)
        count = won.sum().to(central.dtype)
        return hard_assignment(
            objects,
            locations,
            targets,
            box_weight=central,
            normalisers=Normalisers(positive=count, box=central.sum(), negative=count, least_box=self.least_box),
        )

    def candidates(self, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor]:
        """The pairs that compete: ``[pair]`` each."""
        objects, locations = inside_pairs(targets, priors, radius=self.radius or None)
        if self.scale_ranges:
            reach, low, high = self.reach(objects, locations, priors, targets)
            fits = (reach >= low) & (reach <= high)
            objects, locations = objects[fits], locations[fits]
        if self.at_least_one:
            level = self.level(priors, targets) if self.scale_ranges else None
            objects, locations = and_nearest(objects, locations, targets, priors, level)
        return objects, locations

    def reach(
        self, objects: Tensor, locations: Tensor, priors: Priors, targets: Targets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """max(l, t, r, b), and lo and hi of the level, which are open at the pyramid's ends: ``[pair]`` each."""
        reach = sides(targets.boxes[objects], priors.points[locations]).amax(-1)
        level, high = priors.level[locations], self.base_range * priors.stride[locations]
        low = (high / 2).where(level > 0, -torch.inf)
        return reach, low, high.where(level < self.setting.levels - 1, torch.inf)

    def explain(self, priors: Priors, targets: Targets) -> Reasons:
        """All locations in the box, and what becomes of them."""
        own = self.candidates(priors, targets)
        objects, locations = either_pairs(inside_pairs(targets, priors), own, priors)
        candidate = torch.isin(objects * len(priors) + locations, own[0] * len(priors) + own[1])
        offset = (priors.points[locations] - centers(targets.boxes)[objects]).abs().amax(-1) / priors.stride[locations]
        seen = {"area of the box, pixels²": area(targets.boxes)[objects], "candidate": candidate}
        rules = ["lie in its box"]
        if self.radius:
            seen["from its centre, strides"] = offset
            rules.append(f"are less than {self.radius:g} strides along x and y from its centre")
        if self.scale_ranges:
            seen |= zip(RANGE, self.reach(objects, locations, priors, targets), strict=True)
            rules.append("have a reach, the longest way to a side, in their level's range")
        rest = "; an object without any takes the nearest" if self.at_least_one else ""
        return Reasons(
            f"Candidates are locations that {' and '.join(rules)}{rest}; one of several teaches the smallest box.",
            objects,
            locations,
            seen,
        )

    def level(self, priors: Priors, targets: Targets) -> Tensor:
        """The level whose range holds half of an object's longer side: ``[object]``."""
        reach = (targets.boxes[:, 2:] - targets.boxes[:, :2]).amax(-1) / 2
        high = self.base_range * priors.stride[priors.grid.start]
        return (reach[:, None] > high[:-1]).sum(1)
