"""An object takes the k locations nearest to its centre, on levels that fit its size.

    C_n    on every level, the k locations nearest to the centre of object n
    S_n    { j ∈ C_n : ½ ≤ size_n / (c · stride_j) ≤ 2 }      size: √area,  c: strides
    n(j)   a location in several S_n goes to the smallest object

Objects beyond the outermost levels go to these. Source: the paper and its section.
"""

from assignbench.core import (
    Assigner,
    Assignment,
    Head,
    Priors,
    Setting,
    Targets,
    area,
    hard_assignment,
    nearest_pairs,
    require,
    winners,
)


class MyStrategy(Assigner):
    """The k locations nearest to an object's centre teach it.

    Args:
        k: locations of each level that fits.
        strides: a level fits objects of half to twice this many of its strides.
    """

    head = Head()  # one square prior at the middle of each cell, no extra outputs
    source = "an example of assignbench"

    def __init__(self, setting: Setting, *, k: int = 9, strides: float = 8.0) -> None:
        super().__init__(setting)
        require(k >= 1, f"k must be at least 1, got {k}")
        require(strides > 0, f"strides must be positive, got {strides}")
        self.k, self.strides = k, strides

    def forward(self, targets: Targets, priors: Priors) -> Assignment:
        """See the module's formulas."""
        # On every level, the k locations nearest to an object's centre are candidates.
        objects, locations = nearest_pairs(targets, priors, self.k)

        # Those of levels that do not fit the object's size are left out.
        size, wanted = area(targets.boxes).sqrt(), self.strides * priors.stride
        within = size.clamp(wanted.min(), wanted.max())
        fits = (within[objects] / wanted[locations]).log2().abs() <= 1
        objects, locations = objects[fits], locations[fits]

        # The smallest object wins a location that several objects want.
        won = winners(-size[objects], objects, locations, targets, priors)

        # Each pair that is left counts 1, and all else is background.
        return hard_assignment(objects[won], locations[won], targets)
