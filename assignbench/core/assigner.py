"""What a strategy is, what it is told, and how it is run."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from assignbench.core.assignment import Assignment
from assignbench.core.fast.grid import covered_cells, rectangle_pairs
from assignbench.core.head import MAIN, Head
from assignbench.core.pair_view import PairViews
from assignbench.core.preset import Preset
from assignbench.core.reasons import Reasons
from assignbench.core.tensors import beside, require_shape
from assignbench.core.types import Priors, Targets

TOLD = ("targets", "priors", "predictions", "view", "branches", "progress")  # what `Assigner.forward` may ask for
LAST = 1 - 2**-20  # what progress is at the end of training: an index int(n · progress) stays below n
NEEDS_NETWORK = {"predictions", "view", "branches"}


@dataclass(frozen=True)
class Setting:
    """What a strategy is told when it is built."""

    classes: int
    levels: int = 5
    channels: int = 256  # of the pyramid's maps, for strategies that read them

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ValueError("a detector needs at least one class")


class Assigner(nn.Module, ABC):
    """A label-assignment strategy: it decides which locations teach which objects, and how much.

    It is a module because a strategy may learn (AutoAssign's μ and σ): its parameters join optimizer and
    checkpoint with no further rule. Constructor: ``__init__(self, setting, *, option: type = default, …)``;
    this signature is the schema of the options. Abstract or final: strategies are not subclassed.

    `forward` asks for what it reads, by the names of its parameters:

    ===========  ====================================================================================
    targets      the objects of the batch: `Targets`
    priors       where the detector predicts: `Priors`
    predictions  what it says there: `Predictions`
    view         what is known about pairs: ``view(objects, locations)`` gives a `PairView`
    branches     the views of a head of several branches, by name; ``main`` is `view`
    progress     how far training is, from 0 to just below 1
    ===========  ====================================================================================

    It returns an `Assignment`; a strategy whose head has several branches returns one for each, by name.
    """

    head: ClassVar[Head] | Head  # priors and extras it is defined on; an instance may refine it after its options
    presets: ClassVar[Mapping[str, Preset]] = {}  # the detectors it was published as; the first is the default
    source: ClassVar[str] = ""  # paper and section

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Assignment | Mapping[str, Assignment]:
        """Decide. Runs in float32 outside autocast; what must not carry gradient is the strategy's to detach."""

    def learned(self) -> Mapping[str, Tensor]:
        """What the strategy's own parameters say, for tables and figures: name → ``[class]``, or ``[1]`` for all."""
        return {}

    def explain(self, *args: Any, **kwargs: Any) -> Reasons | None:
        """Why it decides so, for readers; asks for what it reads as `forward` does. None: the record says all."""
        return None


def require(holds: bool, otherwise: str) -> None:
    """Refuse an option's value with a sentence, unless something holds of it."""
    if not holds:
        raise ValueError(otherwise)


def require_effect(has_effect: bool, option: str, reason: str) -> None:
    """Refuse an option that another one makes idle: two names for the same decision would look like two results."""
    require(has_effect, f"{option} would change nothing: {reason}; leave one of them out")


def learned_by(assigner: Assigner) -> dict[str, list[float]]:
    """What `Assigner.learned` says, as numbers.

    Raises:
        ValueError: it is something else than finite numbers by name, one or one a class.
    """
    told = assigner.learned()
    where = f"{type(assigner).__name__}.learned()"
    if not isinstance(told, Mapping):
        raise ValueError(f"{where} must map names to tensors, not be {type(told).__name__}")
    for name, values in told.items():
        require_shape(f"{where}[{name!r}]", values, None)
        classes = assigner.setting.classes
        require(
            len(values) in (1, classes),
            f"{where}[{name!r}] must hold one number, or one for each of {classes} classes, not {len(values)}",
        )
        require(bool(values.isfinite().all()), f"{where}[{name!r}] is not finite")
    return {name: values.tolist() for name, values in told.items()}


@cache
def asks_for(cls: type[Assigner], method: str = "forward") -> tuple[str, ...]:
    """What a strategy's `forward`, or its `explain`, asks for.

    Raises:
        TypeError: for something that there is not.
    """
    if isinstance(inspect.getattr_static(cls, method), staticmethod | classmethod):
        raise TypeError(f"{cls.__name__}.{method} must be a plain method: def {method}(self, …)")
    asked = tuple(inspect.signature(getattr(cls, method)).parameters)[1:]
    if unknown := [name for name in asked if name not in TOLD]:
        raise TypeError(
            f"{cls.__name__}.{method} asks for {unknown[0]!r}; "
            f"a strategy may ask for {', '.join(TOLD[:-1])} and {TOLD[-1]}"
        )
    return asked


def explains(cls: type[Assigner]) -> bool:
    """Whether a strategy has an `explain` of its own."""
    return cls.explain is not Assigner.explain


@torch.no_grad()
def reasons_of(assigner: Assigner, branches: Mapping[str, PairViews], progress: float = 0.0) -> Reasons | None:
    """What a strategy says of its decision on a batch, of the branch that speaks; None: it says nothing.

    Args:
        assigner: the strategy.
        branches: as `assign_branches` gets them.
        progress: how far training is, from 0 to 1.

    Raises:
        TypeError: it asks for something that there is not, or answers with something else.
        ValueError: numbers of an object are not one each.
    """
    cls, view = type(assigner), branches[MAIN]
    if not explains(cls):
        return None
    asked = asks_for(cls, "explain")
    told = told_of(branches, *seen_by(asked, view), progress)
    reasons = assigner.explain(**{name: told[name] for name in asked})
    if reasons is None:
        return None
    if not isinstance(reasons, Reasons):
        raise TypeError(f"{cls.__name__}.explain must return Reasons, not {type(reasons).__name__}")
    for name, values in reasons.by_object.items():
        require_shape(f"Reasons.by_object[{name!r}]", values, len(view.targets))
    return reasons


def seen_by(asked: Collection[str], view: PairViews) -> tuple[Priors, Targets]:
    """Priors and targets where a strategy works: in the host's memory if it asks for nothing of the network."""
    if NEEDS_NETWORK.isdisjoint(asked):
        return view.priors.on_host(), view.targets.on_host()
    return view.priors, view.targets


def told_of(branches: Mapping[str, PairViews], priors: Priors, targets: Targets, progress: float) -> Mapping[str, Any]:
    """All that a strategy may ask for, by name."""
    return {
        "targets": targets,
        "priors": priors,
        "predictions": branches[MAIN].predictions,
        "view": branches[MAIN],
        "branches": branches,
        "progress": min(progress, LAST),
    }


def assign(assigner: Assigner, view: PairViews, progress: float = 0.0) -> Assignment:
    """The decision of a strategy whose head has one branch; see `assign_branches`."""
    return assign_branches(assigner, {MAIN: view}, progress)[MAIN]


def assign_branches(
    assigner: Assigner, branches: Mapping[str, PairViews], progress: float = 0.0
) -> Mapping[str, Assignment]:
    """Run a strategy, then apply the two rules that are the same for all: padding and crowds teach nothing.

    A location in the batch's padding is ignored; so is one that lies in a crowd region, unless it is part of a pair.
    A strategy that does not ask for anything of the network is run in the host's memory, while a GPU is at work.

    Args:
        assigner: the strategy.
        branches: the batch, as each branch of the head sees it; ``main`` is among them.
        progress: how far training is, from 0 to 1.

    Raises:
        TypeError: the strategy asks for something that there is not, or returns something else than it should.
    """
    asked, view = asks_for(type(assigner)), branches[MAIN]
    device = view.predictions.outputs.device
    alone = NEEDS_NETWORK.isdisjoint(asked)
    priors, targets = seen_by(asked, view)
    told = told_of(branches, priors, targets, progress)
    shown = {
        what: (tensor, tensor._version)
        for what, tensor in tensors_of(targets, priors, branches)
        if not tensor.is_inference()
    }
    answer = undisturbed(assigner, {name: told[name] for name in asked})
    for what, (tensor, version) in shown.items():
        if tensor._version != version:
            raise ValueError(
                f"{type(assigner).__name__}.forward changed the {what} in place; they are for reading: work on a copy"
            )
    records = answer if isinstance(answer, Mapping) else {MAIN: answer}
    name = type(assigner).__name__
    if set(records) != set(branches):
        raise TypeError(
            f"{name}.forward must return an Assignment for each branch of its head: "
            f"{', '.join(branches)}, not {', '.join(records)}"
        )
    for record in records.values():
        if not isinstance(record, Assignment):
            raise TypeError(f"{name}.forward must return an Assignment, not {type(record).__name__}")
    layouts = {id(seen.priors): seen for seen in branches.values()}  # branches with the same outputs share their priors
    crowded = {layout: crowded_locations(seen.priors, seen.targets) for layout, seen in layouts.items()}
    return {
        branch: completed(records[branch].to(device) if alone else records[branch], seen, crowded[id(seen.priors)])
        for branch, seen in branches.items()
    }


def undisturbed(assigner: Assigner, told: Mapping[str, Any]) -> Any:
    """The strategy's answer, with torch left as it was: what it sets there would reach all that runs after it.

    Raises:
        ValueError: it switched gradients on or off, or chose another default dtype.
    """
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        answer = assigner(**told)
        changed = [
            what
            for what, is_changed in (
                ("torch.set_grad_enabled", torch.is_grad_enabled() != gradients),
                ("torch.set_default_dtype", torch.get_default_dtype() != dtype),
            )
            if is_changed
        ]
    finally:
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
    if changed:
        raise ValueError(
            f"{type(assigner).__name__}.forward leaves torch changed by {changed[0]}, which would reach all that runs "
            "after it; write: with torch.no_grad(): …, or name the dtype where a tensor is made"
        )
    return answer


def tensors_of(targets: Targets, priors: Priors, branches: Mapping[str, PairViews]) -> Iterator[tuple[str, Tensor]]:
    """All tensors that a strategy can reach, with their names; what is computed once for all readers is computed."""
    told: dict[str, object] = {"targets": targets, "priors": priors}
    for branch, view in branches.items():
        told[f"predictions of branch {branch}"], told[f"priors of branch {branch}"] = view.predictions, view.priors
    for name, whole in told.items():
        if isinstance(whole, Priors):
            _ = whole.inside
        for part, tensor in tensors_within(whole):
            yield f"{part} of the {name}", tensor


def tensors_within(whole: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of records, tables and lists, however deep, with their names: ``ignore.boxes``, ``pyramid[0]``."""
    if isinstance(whole, Tensor):
        yield name, whole
    elif isinstance(whole, Mapping):
        for key, value in whole.items():
            yield from tensors_within(value, f"{name}[{key!r}]")
    elif isinstance(whole, tuple | list):
        for index, value in enumerate(whole):
            yield from tensors_within(value, f"{name}[{index}]")
    elif is_dataclass(whole):
        for part, value in vars(whole).items():
            yield from tensors_within(value, f"{name}.{part}" if name else part)


def completed(assignment: Assignment, view: PairViews, crowded: Tensor | None) -> Assignment:
    """The record with padding and crowds ignored."""
    for name in ("background", "ignored"):
        if getattr(assignment, name) is not None:
            require_shape(name, getattr(assignment, name), view.targets.images, len(view.priors))
    priors, pairs = view.priors, assignment.pairs
    untaught = None if priors.inside is None else ~priors.inside
    if crowded is not None:
        place = view.targets.image[pairs.object] * len(priors) + pairs.location
        unpaired = crowded.flatten().index_fill(0, place, False).view_as(crowded)
        untaught = unpaired if untaught is None else untaught | unpaired
    if untaught is None:
        return assignment
    return replace(assignment, ignored=untaught if assignment.ignored is None else assignment.ignored | untaught)


def taught_locations(priors: Priors, targets: Targets) -> Tensor:
    """Which locations lie neither in the padding nor in a crowd region: bool ``[image, location]``.

    They are taught background, and so are those in crowds that are part of a pair.
    """
    taught = torch.ones(targets.images, len(priors), dtype=torch.bool, device=targets.boxes.device)
    taught = taught if priors.inside is None else priors.inside
    crowded = crowded_locations(priors, targets)
    return taught if crowded is None else taught & ~crowded


def crowded_locations(priors: Priors, targets: Targets) -> Tensor | None:
    """Which locations lie in crowd regions: bool ``[image, location]``; None: there is no region."""
    if len(targets.ignore.boxes) == 0:
        return None
    regions, layout = targets.on_host().ignore, priors.on_host()
    region, location = rectangle_pairs(covered_cells(regions.boxes[:, None], layout), layout.grid)
    crowded = torch.zeros(targets.images, len(priors), dtype=torch.bool, device=targets.boxes.device)
    crowded.view(-1).index_fill_(0, beside(regions.image[region] * len(priors) + location, crowded), True)
    return crowded
