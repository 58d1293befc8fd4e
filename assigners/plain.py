"""Plain: every location in the box, on every level, is positive. The floor of all comparisons.

    S_n = { j : min(l, t, r, b)_nj > 0 }            locations strictly inside box n
    n(j) = argmin { area(b_n) : j ∈ S_n }           a location in several boxes learns the smallest

l, t, r, b: distances in pixels from location j to the sides of box n. If areas are equal, the object listed first wins.
``at_least_one`` gives a box without any location the one of the finest level that is nearest to its centre. Source: the
baseline of AutoAssign's appendix (arXiv 2007.03496, Table 7, first row). The tie rule is FCOS's.
"""

from __future__ import annotations

import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Priors,
    Reasons,
    Setting,
    Targets,
    area,
    hard_assignment,
    inside_pairs,
    winners,
)


class Plain(Assigner):
    """Every location in the box teaches it; no scale ranges, no centre sampling, no centerness.

    Args:
        at_least_one: whether an object without a candidate takes the nearest location.
    """

    head = Head()
    source = "AutoAssign, arXiv 2007.03496, appendix, Table 7, row 1"

    def __init__(self, setting: Setting, *, at_least_one: bool = False) -> None:
        super().__init__(setting)
        self.at_least_one = at_least_one

    @torch.no_grad()
    def forward(self, priors: Priors, targets: Targets) -> Assignment:
        """See the module's formulas."""
        objects, locations = inside_pairs(targets, priors, at_least_one=self.at_least_one)
        won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)
        return hard_assignment(objects[won], locations[won], targets)

    def explain(self, priors: Priors, targets: Targets) -> Reasons:
        """The candidates."""
        objects, locations = inside_pairs(targets, priors, at_least_one=self.at_least_one)
        rule = "Every location in the box teaches the object; one in several boxes teaches the smallest."
        return Reasons(rule, objects, locations, {"area of the box, pixels²": area(targets.boxes)[objects]})
