"""What a record says of one object: its candidates, who teaches it, which locations others took, and why.

Candidates and the numbers that a strategy goes by come from its own `Assigner.explain`; all else is read off the record
and the grid, so it is there for every strategy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core import area, sides
from assignbench.figures.assigned import ignored_at
from assignbench.figures.taught import Taught
from assignbench.figures.teachers import Size, Teacher
from assignbench.run.training.statistics import LEVELS

Number = float | bool | None  # None: not finite


@dataclass(frozen=True)
class Place:
    """A location."""

    level: str  # P3 … P7
    row: int  # from 0, downwards
    column: int
    anchor: int  # of the cell, from 0
    x: float  # pixels of the picture
    y: float


@dataclass(frozen=True)
class Candidate:
    """A location that the strategy looks at for the object, with its own numbers."""

    place: Place
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class Positive:
    """A location that teaches the object."""

    place: Place
    weight: float  # of the class part, of the whole pair in a bag
    box_weight: float
    quality: float | None  # class score to learn; None: what the class loss says
    also: tuple[int, ...]  # further objects that it teaches, counted from 1
    numbers: Mapping[str, Number]


@dataclass(frozen=True)
class Rival:
    """A location in the object's box, or a candidate of it, that teaches only others."""

    place: Place
    objects: tuple[int, ...]  # which, counted from 1
    numbers: Mapping[str, Number]  # of the object that is explained, if it is a candidate
    theirs: Mapping[str, Number]  # of the first of those others


@dataclass(frozen=True)
class Level:
    """An object on one level."""

    level: str
    stride: float  # network pixels
    inside: int  # locations in the box
    candidates: int | None  # None: the strategy does not tell
    positives: int
    share: float  # of the object's weight
    ranges: Mapping[str, tuple[float, float]]  # of the candidates: least and most of each number


@dataclass(frozen=True)
class Explanation:
    """One object under one strategy."""

    strategy: str
    weights: str | None  # where predictions come from; None: the strategy reads none
    picture: str
    size: tuple[int, int]  # width and height of the picture, pixels
    network: str  # in words
    object: int  # from 1
    objects: int
    category: str
    box: tuple[float, float, float, float]  # pixels of the picture
    network_size: tuple[float, float]  # width and height of the box, network pixels
    rule: str | None  # of the strategy; None: it gives none
    numbers: Mapping[str, Number]  # of the object
    levels: tuple[Level, ...]
    candidates: tuple[Candidate, ...]
    positives: tuple[Positive, ...]  # those of the largest weight first
    rivals: tuple[Rival, ...]
    ignored: tuple[Place, ...]  # locations in the box
    branches: tuple[str, ...]  # of the head beside the one whose record this is
    untaught: tuple[str, ...]  # why nothing teaches it; empty: it is taught


def explained(teacher: Teacher, size: Size, number: int) -> Explanation:
    """Object ``number``, counted from 0, of the teacher's picture.

    Raises:
        RunError: the strategy fails, or its record is impossible.
    """
    taught = teacher.teach(size.data, explained=True)
    picture, pairs = teacher.picture, taught.assignment.pairs
    box = taught.targets.boxes[number]
    inside = sides(box, taught.priors.points).amin(-1) > 0
    if taught.priors.inside is not None:
        inside &= taught.priors.inside[0]
    told = Told.of(taught)
    counted = (pairs.weight > 0) | (pairs.box_weight > 0)
    teaches: dict[int, list[int]] = {}
    for owner, location in zip(pairs.object[counted].tolist(), pairs.location[counted].tolist(), strict=True):
        teaches.setdefault(location, []).append(owner)

    own = (counted & (pairs.object == number)).nonzero()[:, 0]
    own = own[(-pairs.weight[own].detach()).argsort(stable=True)]
    positives = tuple(
        Positive(
            place_of(taught, location),
            float(pairs.weight[at]),
            float(pairs.box_weight[at]),
            None if pairs.quality is None else float(pairs.quality[at]),
            tuple(other + 1 for other in teaches[location] if other != number),
            told.at(number, location),
        )
        for at, location in zip(own.tolist(), pairs.location[own].tolist(), strict=True)
    )
    mine = told.locations(number)
    looked_at = sorted({*inside.nonzero()[:, 0].tolist(), *mine})
    rivals = tuple(
        Rival(
            place_of(taught, location),
            tuple(other + 1 for other in teaches[location]),
            told.at(number, location),
            told.at(teaches[location][0], location),
        )
        for location in looked_at
        if location in teaches and number not in teaches[location]
    )
    ignored = (inside & torch.from_numpy(ignored_at(taught.assignment, taught))).nonzero()[:, 0].tolist()
    width, height = (box[2:] - box[:2]).tolist()
    return Explanation(
        strategy=teacher.name,
        weights=teacher.weights,
        picture=picture.title,
        size=(picture.info.width, picture.info.height),
        network=size.words(picture),
        object=number + 1,
        objects=len(picture.labels),
        category=picture.name(number),
        box=tuple(picture.boxes[number].tolist()),
        network_size=(width, height),
        rule=None if taught.reasons is None else taught.reasons.rule,
        numbers=told.of_object(number),
        levels=_levels(taught, number, inside, mine if told.given else None, own, told),
        candidates=tuple(Candidate(place_of(taught, location), told.at(number, location)) for location in mine),
        positives=positives,
        rivals=rivals,
        ignored=tuple(place_of(taught, location) for location in ignored),
        branches=taught.branches,
        untaught=_why(taught, number, inside, mine if told.given else None, rivals) if not positives else (),
    )


def place_of(taught: Taught, location: int) -> Place:
    """Where a location is."""
    grid, priors = taught.grid, taught.priors
    level = int(priors.level[location])
    cell, anchor = divmod(location - int(grid.start[level]), grid.anchors)
    row, column = divmod(cell, int(grid.columns[level]))
    x, y = (value / scale for value, scale in zip(priors.points[location].tolist(), taught.scale, strict=True))
    return Place(LEVELS[level], row, column, anchor, x, y)


@dataclass(frozen=True, eq=False)
class Told:
    """What a strategy says of its candidates, by object and location."""

    given: bool  # whether it says anything
    index: Mapping[tuple[int, int], int]  # object, location → entry
    by_pair: Mapping[str, Tensor]
    by_object: Mapping[str, Tensor]

    @staticmethod
    def of(taught: Taught) -> Told:
        """The reasons of a record; nothing if there are none."""
        reasons = taught.reasons
        if reasons is None:
            return Told(False, {}, {}, {})
        keys = zip(reasons.objects.tolist(), reasons.locations.tolist(), strict=True)
        return Told(True, {key: at for at, key in enumerate(keys)}, reasons.by_pair, reasons.by_object)

    def locations(self, number: int) -> list[int]:
        """The candidates of an object, in the order of the grid."""
        return sorted(location for owner, location in self.index if owner == number)

    def at(self, number: int, location: int) -> dict[str, Number]:
        """The numbers of a pair; none if it is no candidate."""
        entry = self.index.get((number, location))
        return {} if entry is None else {name: number_of(values[entry]) for name, values in self.by_pair.items()}

    def of_object(self, number: int) -> dict[str, Number]:
        """The numbers of an object."""
        return {name: number_of(values[number]) for name, values in self.by_object.items()}


def number_of(value: Tensor) -> Number:
    """As Python has it; what is not finite is none."""
    if value.dtype == torch.bool:
        return bool(value)
    number = float(value)
    return number if torch.isfinite(value.detach()) else None


def _levels(
    taught: Taught, number: int, inside: Tensor, mine: Sequence[int] | None, own: Tensor, told: Told
) -> tuple[Level, ...]:
    pairs, level = taught.assignment.pairs, taught.priors.level
    found = []
    total = float(pairs.weight[own].detach().sum())
    for at in range(len(taught.grid.rows)):
        here = None if mine is None else [location for location in mine if int(level[location]) == at]
        at_level = own[level[pairs.location[own]] == at]
        weight = float(pairs.weight[at_level].detach().sum())
        numbers = [told.at(number, location) for location in here or ()]
        each = {name: [value for one in numbers if type(value := one[name]) is float] for name in told.by_pair}
        found.append(
            Level(
                level=LEVELS[at],
                stride=float(taught.grid.step[at, 0]),
                inside=int((inside & (level == at)).sum()),
                candidates=None if here is None else len(here),
                positives=len(at_level),
                share=weight / total if total else 0.0,
                ranges={name: (min(values), max(values)) for name, values in each.items() if values},
            )
        )
    return tuple(found)


def _why(
    taught: Taught, number: int, inside: Tensor, mine: Sequence[int] | None, rivals: Sequence[Rival]
) -> tuple[str, ...]:
    """Why an object is taught nowhere, as far as grid and record tell."""
    box, said = taught.targets.boxes[number], []
    width, height = (box[2:] - box[:2]).tolist()
    step = float(taught.grid.step[0, 0])
    if not bool(inside.any()):
        said.append(
            f"No location lies in its box: it is {width:.1f} × {height:.1f} network pixels, and locations of the "
            f"finest level are {step:g} apart."
        )
    covering = [
        other + 1
        for other in range(len(taught.targets))
        if other != number and bool((taught.targets.boxes[other] == box).all())
    ]
    if covering:
        said.append(f"It has the same box as object {', '.join(map(str, covering))}.")
    if mine is not None and not mine:
        said.append("The strategy has no candidate for it.")
    if mine:
        won = Counter(other for rival in rivals for other in rival.objects)
        lost = sum(1 for rival in rivals if rival.numbers)
        to = ", ".join(f"object {other} has {count:,}" for other, count in won.most_common())
        kept = len(mine) - lost
        if not lost:
            said.append(f"None of its {len(mine):,} candidates met the rule above.")
        elif not kept:
            said.append(f"All its candidates, {len(mine):,}, teach other objects: {to}.")
        else:
            said.append(
                f"Of its {len(mine):,} candidates {lost:,} teach other objects ({to}); the rest, {kept:,}, did not "
                "meet the rule above."
            )
    if mine is None and rivals:
        said.append(f"{len(rivals):,} locations in its box teach other objects; see rivals.")
    if float(area(box[None])[0]) < step * step and bool(inside.any()):
        said.append(f"Its area is less than that of a cell of the finest level, {step:g} × {step:g} network pixels.")
    return tuple(said) or ("The record does not tell.",)
