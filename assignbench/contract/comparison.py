"""How two records of a strategy are compared: pair by pair, location by location, and what is said where they differ.

A comparison raises `Broken` with a sentence. Numbers may differ by rounding, since sums may be made in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

import torch
from torch import Tensor

from assignbench.core import Assignment
from assignbench.core.assigner import tensors_within
from assignbench.synthetic import Problem


class Broken(Exception):  # noqa: N818 - what happened, not an error of ours
    """A law does not hold; the message says how."""


def require(holds: bool, message: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(message)


def close(one: float, other: float, what: str) -> None:
    """Two numbers are equal up to rounding."""
    require(abs(one - other) <= 1e-4 * max(abs(one), abs(other), 1e-3), f"{what} differ: {one:g} and {other:g}")


def same_losses(before: Mapping[str, Tensor], after: Mapping[str, Tensor], what: str) -> None:
    """Every loss is the same up to rounding."""
    require(before.keys() == after.keys(), f"other losses {what}: {', '.join(before)}, then {', '.join(after)}")
    for name in before:
        close(before[name].item(), after[name].item(), f"loss {name} and the same {what}")


def moved_back(record: Assignment, place: Tensor, locations: int) -> Assignment:
    """A record of a larger canvas in terms of the locations of the smaller one, which are at ``place``."""
    back = torch.full((int(place.max()) + 1,), -1)
    back[place] = torch.arange(locations)

    def moved(entry: str, location: Tensor, *whose: Tensor) -> Tensor:
        beyond = location >= len(back)
        found = back[location.where(~beyond, 0)].where(~beyond, -1)
        for row in (found < 0).nonzero().flatten().tolist()[:1]:
            raise Broken(f"{entry.format(*(int(key[row]) for key in whose), int(location[row]))} lies in the padding")
        return found

    counted = record.discounts.counted()
    background, ignored = (
        None if values is None else values[:, place] for values in (record.background, record.ignored)
    )
    return replace(
        record,
        pairs=replace(
            record.pairs,
            location=moved("the pair of object {} and location {}", record.pairs.location, record.pairs.object),
        ),
        discounts=replace(
            counted, location=moved("the discount of class {} at location {}", counted.location, counted.label)
        ),
        background=background,
        ignored=ignored,
    )


def same_records(
    one: Mapping[str, Assignment],
    other: Mapping[str, Assignment],
    problem: Problem,
    image: int,
    index_of: Callable[[Tensor], Tensor],
    *,
    other_image: int | None = None,
) -> None:
    """As `same_record`, of every branch."""
    for branch in one:
        seen = problem.of_branch(branch)
        same_record(one[branch], other[branch], seen, image, index_of, other_image=other_image)


def same_record(
    one: Assignment,
    other: Assignment,
    problem: Problem,
    image: int,
    index_of: Callable[[Tensor], Tensor],
    *,
    other_image: int | None = None,
) -> None:
    """Two records say the same about an image; ``index_of`` translates the other's objects.

    ``other_image`` is where the other record has the image; None: it has only that one.
    """
    require(one.bag == other.bag, f"bag is {one.bag}, then {other.bag}")
    require(set(one.losses) == set(other.losses), f"losses are {set(one.losses)}, then {set(other.losses)}")
    before = tables(one, problem, image, image, lambda index: index)
    after = tables(other, problem, image, other_image or 0, index_of)
    for expected, found in zip(before, after, strict=True):
        same_table(expected, found, image)


@dataclass(frozen=True)
class Table:
    """Numbers that a record gives to the entries of an image, in the order of the entries."""

    names: tuple[str, ...]  # of the numbers, as "Pairs.weight"
    entry: str  # what an entry is called: "object {} at location {}"
    keys: Tensor  # [entry, 2] int64
    numbers: Tensor  # [entry, name] float64


def same_table(one: Table, other: Table, image: int) -> None:
    """Two tables hold the same entries with the same numbers; what differs first is named."""
    if not torch.equal(one.keys, other.keys):
        had, has = ({tuple(key) for key in table.keys.tolist()} for table in (one, other))
        odd = min(had ^ has)
        now = "there, then not" if odd in had else "not there, then it is"
        what = one.names[0].partition(".")[0]
        raise Broken(f"{what} of image {image} differ: {one.entry.format(*odd)} is {now}")
    same = torch.isclose(one.numbers, other.numbers, rtol=1e-4, atol=1e-6)
    if not bool(same.all()):
        row, column = (~same).nonzero()[0].tolist()
        where = one.entry.format(*one.keys[row].tolist())
        numbers = " and ".join(f"{table.numbers[row, column].item():g}" for table in (one, other))
        raise Broken(f"{one.names[column]} of image {image} differs, for {where}: {numbers}")


def tables(
    record: Assignment, problem: Problem, image: int, place: int, index_of: Callable[[Tensor], Tensor]
) -> tuple[Table, ...]:
    """What a record says of an image, which is its ``place``-th: pairs, discounts, locations."""
    objects = index_of(record.pairs.object)
    mine = problem.targets.image[objects] == image
    counted = record.discounts.counted()
    here = counted.image == place
    weight = torch.ones_like(counted.factor) if counted.weight is None else counted.weight
    locations = torch.arange(len(problem.priors))
    background = torch.ones(len(locations)) if record.background is None else record.background[place]
    ignored = torch.zeros(len(locations)) if record.ignored is None else record.ignored[place]
    return (
        table(
            ("Pairs.weight", "Pairs.box_weight", "Pairs.quality"),
            "object {} at location {}",
            (objects[mine], record.pairs.location[mine]),
            [column[mine] for column in pair_numbers(record)],
        ),
        table(
            ("Discounts.factor", "Discounts.weight"),
            "location {} and class {}",
            (counted.location[here], counted.label[here]),
            [counted.factor[here], weight[here]],
        ),
        table(("background", "ignored"), "location {}", (locations, locations), [background, ignored]),
    )


def table(names: tuple[str, ...], entry: str, keys: tuple[Tensor, Tensor], numbers: Sequence[Tensor]) -> Table:
    """A table with its entries in order."""
    rows = torch.stack(keys, dim=1)
    order = torch.arange(len(rows))
    for column in (1, 0):
        order = order[rows[order, column].sort(stable=True).indices]
    values = torch.stack([column.detach().double() for column in numbers], dim=1)
    return Table(names, entry, rows[order], values[order])


def pair_numbers(record: Assignment) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, box weight and quality: ``[pair]`` each; a quality that is left to the class loss counts as −1."""
    pairs = record.pairs
    quality = torch.full_like(pairs.weight, -1.0) if pairs.quality is None else pairs.quality
    return pairs.weight, pairs.box_weight, quality


def tensors_in(record: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of a record with the names of their fields, as "Pairs.weight"."""
    for part in fields(record):  # type: ignore[arg-type]
        value = getattr(record, part.name)
        own = f"{name}.{part.name}" if name else part.name
        if is_dataclass(value):
            yield from tensors_in(value, type(value).__name__)
        else:
            yield from tensors_within(value, own)
