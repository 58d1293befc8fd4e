"""How two records of a strategy are compared: pair by pair, location by location, and what is said where they differ.

A comparison raises `Broken` with a sentence. Numbers may differ by rounding, since sums may be made in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from assignbench.core import Assignment
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


def moved_back(record: Assignment, place: Mapping[str, Tensor], locations: int, branch: str) -> Assignment:
    """A record of a larger canvas in terms of the locations of the smaller one, which are at ``place``."""
    back = torch.full((int(place[branch].max()) + 1,), -1)
    back[place[branch]] = torch.arange(locations)

    def moved(location: Tensor) -> Tensor:
        require(not len(location) or int(location.max()) < len(back), "an object is taught in the padding")
        found = back[location]
        require(bool((found >= 0).all()), "an object is taught in the padding")
        return found

    counted = record.discounts.counted()
    background, ignored = (
        None if values is None else values[:, place[branch]] for values in (record.background, record.ignored)
    )
    return replace(
        record,
        pairs=replace(record.pairs, location=moved(record.pairs.location)),
        discounts=replace(counted, location=moved(counted.location)),
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
        same_record(one[branch], other[branch], problem, image, index_of, other_image=other_image)


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
    image_of = problem.targets.image
    tables = []
    for record, translate, place in ((one, lambda index: index, image), (other, index_of, other_image or 0)):
        objects = translate(record.pairs.object)
        mine = image_of[objects] == image
        columns = (objects, *pair_columns(record)[1:])
        pairs = torch.stack([column[mine].detach().double() for column in columns], dim=1)
        counted = record.discounts.counted()
        here = counted.image == place
        weight = torch.ones_like(counted.factor) if counted.weight is None else counted.weight
        columns = (counted.location, counted.label, counted.factor, weight)
        discounts = torch.stack([column[here].detach().double() for column in columns], dim=1)
        shape = len(problem.priors)
        background = torch.ones(shape) if record.background is None else record.background[place]
        ignored = torch.zeros(shape) if record.ignored is None else record.ignored[place]
        taught = torch.stack((background.detach().double(), ignored.double()))
        tables.append((in_order(pairs, 2), in_order(discounts, 2), taught))
    for what, before, after in zip(("pairs", "discounts", "background locations"), *tables, strict=True):
        require(before.shape == after.shape, f"image {image} has {len(before)} {what}, then {len(after)}")
        same = torch.allclose(before, after, rtol=1e-4, atol=1e-6)
        require(same, f"the {what} of image {image} differ")


def pair_columns(record: Assignment) -> tuple[Tensor, ...]:
    """What a record says about pairs: ``[pair]`` each; a quality that is left to the class loss counts as −1."""
    pairs = record.pairs
    quality = torch.full_like(pairs.weight, -1.0) if pairs.quality is None else pairs.quality
    return pairs.object, pairs.location, pairs.weight, pairs.box_weight, quality


def in_order(rows: Tensor, keys: int) -> Tensor:
    """Rows sorted by their first columns."""
    for column in reversed(range(keys)):
        rows = rows[rows[:, column].sort(stable=True).indices]
    return rows
