"""Why a strategy decides as it does: what `Assigner.explain` tells beside the record, in the strategy's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from assignbench.core.fast.overlap import overlapping_pairs
from assignbench.core.fast.rows import best_of
from assignbench.core.matching import max_by, sum_by
from assignbench.core.pair_view import PairView
from assignbench.core.tensors import require_shape
from assignbench.core.types import Priors, Targets


@dataclass(frozen=True)
class Reasons:
    """The pairs that a strategy looks at, and the numbers that it goes by.

    It tells of the way to a decision and never decides: who teaches whom stands in the `Assignment` alone, and every
    pair of that is among these. Names are words for a reader, with the unit where there is one: ``"IoU"``,
    ``"threshold"``, ``"reach, pixels"``. The first of ``by_pair`` is what objects compete by.
    """

    rule: str  # one sentence with the options' values: which candidates teach, and who gets one that several want
    objects: Tensor  # [pair] int64, index into Targets, of every candidate
    locations: Tensor  # [pair] int64
    by_pair: Mapping[str, Tensor] = field(default_factory=dict)  # words → [pair] numbers or bools
    by_object: Mapping[str, Tensor] = field(default_factory=dict)  # words → [object]

    def __post_init__(self) -> None:
        if not isinstance(self.rule, str):
            raise TypeError(f"Reasons.rule must be a sentence, not {type(self.rule).__name__}")
        require_shape("Reasons.objects", self.objects, None)
        require_shape("Reasons.locations", self.locations, len(self.objects))
        for name, values in self.by_pair.items():
            require_shape(f"Reasons.by_pair[{name!r}]", values, len(self.objects))
        for name, values in self.by_object.items():
            require_shape(f"Reasons.by_object[{name!r}]", values, None)


def either_pairs(one: Sequence[Tensor], other: Sequence[Tensor], priors: Priors) -> tuple[Tensor, Tensor]:
    """Pairs of two lists ``(objects, locations)``, each once, ordered by object, then location: ``[pair]`` each."""
    keys = torch.cat([objects * len(priors) + locations for objects, locations in (one, other)]).unique()
    return keys // len(priors), keys % len(priors)


def competing_pairs(objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> tuple[Tensor, Tensor]:
    """Each object with every location that is a candidate of any object of its image, as `dynamic_k` has it.

    The whole matrix in one list, for a few pictures at a time. Ordered by object, then location: ``[pair]`` each.
    """
    place = (targets.image[objects] * len(priors) + locations).unique()
    found = (targets.image[:, None] == place // len(priors)).nonzero()
    return found[:, 0], place[found[:, 1]] % len(priors)


def overlap_reasons(targets: Targets, priors: Priors, least: float, rule: str, *, forced: bool = True) -> Reasons:
    """Of a matching by the IoU of priors: all pairs from ``least`` on, and with ``forced`` those of each object's best.

    Args:
        targets: the objects.
        priors: the locations.
        least: IoU, above 0.
        rule: as in `Reasons`.
        forced: whether an object takes the locations of its own largest IoU.
    """
    objects, locations, overlap = overlapping_pairs(targets, priors, least, best=True)
    best = max_by(overlap, objects, len(targets))
    by_pair = {"IoU": overlap}
    if forced:
        by_pair["forced"] = overlap == best[objects]
    return Reasons(rule, objects, locations, by_pair, {"largest IoU": best.clamp(min=0)})


def dynamic_reasons(
    pair: PairView, cost: Tensor, candidates: int, rule: str, by_pair: Mapping[str, Tensor] | None = None
) -> Reasons:
    """Of a matching by `dynamic_k`: cost and IoU of all `competing_pairs`, and k of each object.

    Args:
        pair: of the pairs that compete.
        cost: of each, ``[pair]``.
        candidates: how many of an object's largest IoU are summed for its k.
        rule: as in `Reasons`.
        by_pair: further numbers.
    """
    overlap, count = pair.overlap, len(pair.targets)
    summed = sum_by(overlap * best_of(pair.objects, overlap, candidates), pair.objects, count)
    return Reasons(
        rule,
        pair.objects,
        pair.locations,
        {"cost": cost, "IoU": overlap, **(by_pair or {})},
        {"sum of IoU": summed, "k": summed.floor().clamp(min=1)},
    )
