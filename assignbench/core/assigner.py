"""What a strategy is, what it is told, and how it is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from assignbench.core.assignment import Assignment, Weightings
from assignbench.core.geometry import Coding, Deltas, sides
from assignbench.core.head import Head
from assignbench.core.loss import PairLoss
from assignbench.core.preset import Preset
from assignbench.core.types import Predictions, Priors, Targets


@dataclass(frozen=True)
class Setting:
    """What a strategy is told when it is built."""

    classes: int
    loss: PairLoss = field(default_factory=PairLoss)  # what the objective will charge for a pair
    coding: Coding = field(default_factory=Deltas)  # of the head in use
    levels: int = 5
    channels: int = 256  # of the pyramid's maps, for strategies that read them

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError("a detector needs at least one class")


class Assigner(nn.Module, ABC):
    """A label-assignment strategy: predictions, priors and targets in, an `Assignment` out.

    It is a module because a strategy may learn (AutoAssign's μ and σ): its parameters join optimizer and
    checkpoint with no further rule. Constructor: ``__init__(self, setting, *, option: type = default, …)``;
    this signature is the schema of the options. Abstract or final: strategies are not subclassed.
    """

    head: ClassVar[Head] | Head  # priors and extras it is defined on; an instance may refine it after its options
    presets: ClassVar[Mapping[str, Preset]] = {}  # the detectors it was published as; the first is the default
    source: ClassVar[str] = ""  # paper and section
    reads_predictions: ClassVar[bool] = True
    """False: priors and objects alone decide. It is then done on the host, while a GPU still runs the network."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting

    @abstractmethod
    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
        """Decide. Runs in float32 outside autocast; what must not carry gradient is the strategy's to detach."""

    def prior_table(self) -> Tensor | None:
        """What the strategy learned about where objects lie, as μx μy σx σy in strides.

        ``[class, 4]``, or ``[1, 4]`` for one prior shared by all classes; None when it learns no such thing.
        """
        return None

    def weightings(self, predictions: Predictions, priors: Priors, targets: Targets) -> Weightings | None:
        """What the weights of `forward` are made of, for pictures; None: of no such parts."""
        return None


def assign(assigner: Assigner, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:
    """Run a strategy, then apply the two rules that are the same for all: padding and crowds teach nothing.

    A location in the batch's padding is never background; nor is one whose centre lies in a crowd region,
    unless it is part of a pair.
    """
    if assigner.reads_predictions:
        assignment = assigner(predictions, priors, targets)
    else:
        assignment = assigner(predictions, priors.on_host(), targets.on_host())
    if not isinstance(assignment, Assignment):
        name, kind = type(assigner).__name__, type(assignment).__name__
        raise TypeError(f"{name}.forward must return an Assignment, not {kind}")
    if not assigner.reads_predictions:
        assignment = assignment.to(predictions.outputs.device)
    taught = shared_background(assignment, priors, targets)
    if taught is None:
        return assignment
    own = assignment.background
    return replace(assignment, background=taught if own is None else own * taught)


def shared_background(assignment: Assignment, priors: Priors, targets: Targets) -> Tensor | None:
    """1 where a location may be taught background, 0 in padding and crowds: ``[image, location]`` or None."""
    regions = targets.ignore
    if priors.inside is None and len(regions.boxes) == 0:
        return None
    shape = (targets.images, len(priors))
    crowded = torch.zeros(shape, dtype=torch.bool, device=targets.boxes.device)
    if len(regions.boxes):
        inside = sides(regions.boxes[:, None], priors.centers_of(regions.image)).amin(-1) > 0
        count = torch.zeros(shape, device=crowded.device).index_add(0, regions.image, inside.float())
        paired = torch.zeros(shape, dtype=torch.bool, device=crowded.device)
        pairs = assignment.pairs
        paired[targets.image[pairs.object], pairs.location] = True
        crowded = (count > 0) & ~paired
    taught = ~crowded if priors.inside is None else priors.inside & ~crowded
    return taught.float()
