"""A published detector as data: all in which a reference implementation departs from the controlled protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assignbench.core.head import Head
from assignbench.core.pair_view import PairLoss


@dataclass(frozen=True)
class Preset:
    """One published form of a strategy.

    A strategy names its presets after the implementation: ``mmdet``, ``official``, ``torchvision``. The first is
    the default of ``--protocol published``.
    """

    source: str  # implementation, version or configuration, and what of it is not reproduced
    head: Head
    loss: PairLoss
    options: Mapping[str, Any] = field(default_factory=dict)  # the strategy's options, where not its defaults
    # settings of the recipe under their dotted keys, as "evaluate.nms"; what --set says goes before them
    recipe: Mapping[str, Any] = field(default_factory=dict)
    # the same, but only under recipes that follow the papers' schedule (train.papers), as "train.warmup"
    schedule: Mapping[str, Any] = field(default_factory=dict)
    padding_is_background: bool = False  # locations in the batch's padding are taught background
    crowd_is_background: bool = True  # so are those in crowd regions: no reference leaves them out

    def head_for(self, wanted: Head) -> Head:
        """The published head with the extra outputs and branches that the strategy, with its options, asks for."""
        return replace(self.head, extras=wanted.extras, beside=self.head.beside or wanted.beside)
