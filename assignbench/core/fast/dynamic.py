"""SimOTA's dynamic k: every object takes its cheapest candidates, as many as its best boxes overlap it in sum.

    u_nj, c_nj   overlap and cost of object n and candidate j: every object competes for every candidate of its image
    k_n          max(1, ⌊Σ of the ``most`` largest u_nj⌋)
    S_n          the k_n candidates of least c_nj; equal costs: the location listed first
    n(j)         a candidate in one S_n goes to n, one in several to argmin_n c_nj over all objects of the image, those
                 that have not chosen it included; equal costs: the object listed first

Few costs have to be computed where a strategy says what a pair costs at least, by its overlap:  c_nj ≥ b(u_nj), and
b falls. Some pairs of each object are tried; its k_n-th cheapest so far costs t_n, and what is dearer is not in S_n:

    tried        pairs that the strategy names, because b does not hold of them, and those of the largest overlaps
    S_n          lies among these and the pairs with b(u_nj) ≤ t_n
    n(j)         of a candidate in several S_n is one of their objects, or one with b(u_nj) ≤ the least of their c_nj

Overlaps are found block by block. Objects with b(0) ≤ t_n look at all candidates: then the matrix of objects and
candidates is held for a few of them at a time. On a GPU, where each list that is counted makes the host wait, all do.
What has to be remembered between objects is the cheapest one of each location: a cost and an object make one integer,
whose minimum is order-free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core.fast.blocks import BLOCK, Blocks, best_in_blocks, blocks_of, most_overlapping_boxes
from assignbench.core.fast.class_outputs import ROWS
from assignbench.core.fast.entries import entry_by_entry
from assignbench.core.fast.rows import in_order, object_chunks
from assignbench.core.geometry import pick
from assignbench.core.pair_view import PairView, PairViews
from assignbench.core.tensors import beside, free_to_wait
from assignbench.core.types import Targets

DEVICE_SHARE = 16  # of what a GPU holds of a matrix elsewhere: a view of its entries is some thirty such matrices
LOW = (1 << 32) - 1  # the lower half of an integer
NOBODY = (1 << 63) - 1
CAUTION = 1e-4  # of a cost, and at least of 1: far more than rounding can move a bound


@dataclass(frozen=True)
class _Contest:
    """What `dynamic_k` is asked."""

    view: PairViews  # without gradient
    cost: Callable[[PairView], Tensor]
    most: int
    candidate: Tensor  # bool [image · location], in the host's memory

    @property
    def targets(self) -> Targets:
        return self.view.targets

    @property
    def length(self) -> int:
        return len(self.view.priors)

    def place(self, objects: Tensor, locations: Tensor) -> Tensor:
        """Index among all locations of the batch: ``[pair]``."""
        return pick(self.targets.image, objects) * self.length + locations

    def prices(self, objects: Tensor, locations: Tensor) -> Tensor:
        """What pairs cost, float32, infinite where that is no finite number; equal pairs cost the same: ``[pair]``."""
        price = entry_by_entry(lambda *pairs: self.cost(self.view.unkept(*pairs)).float(), objects, locations)
        return price.where(price.isfinite(), torch.inf)


@dataclass(frozen=True)
class _Chosen:
    """Pairs, each with its cost; those that are not taken are there because nobody waits to leave them out."""

    objects: Tensor  # [pair]
    place: Tensor  # [pair]
    price: Tensor  # [pair] float32
    taken: Tensor  # bool [pair]

    def keys(self) -> Tensor:
        """Cost and object as one integer, larger than any other where the pair is not taken: ``[pair]``."""
        return keys(self.price, self.objects).where(self.taken, NOBODY)

    def and_those_of(self, other: _Chosen) -> _Chosen:
        """Both lists as one."""
        return _Chosen(
            torch.cat((self.objects, other.objects)),
            torch.cat((self.place, other.place)),
            torch.cat((self.price, other.price)),
            torch.cat((self.taken, other.taken)),
        )


@torch.no_grad()
def dynamic_k(
    view: PairViews,
    objects: Tensor,
    locations: Tensor,
    cost: Callable[[PairView], Tensor],
    most: int,
    *,
    least: Callable[[Tensor], Tensor] | None = None,
    first: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Which objects get which candidates; see the module. Each location is given once at most.

    Ordered by object, then location: ``[pair]`` each. A GPU is waited for once.

    Args:
        view: the batch.
        objects: ``[any]``, best in the host's memory; each pair makes its location a candidate of all objects of the
            image, and may occur again.
        locations: ``[any]``.
        cost: what pairs cost, ``[pair]``; a pair whose cost is not finite is never chosen.
        most: largest overlaps that are summed.
        least: b, what a pair of an overlap costs at least, entry by entry; it never grows with the overlap. None:
            nothing is known, and all costs are computed.
        first: pairs that may cost less than that, objects in ascending order and locations: ``[some]`` each.
    """
    targets, length = view.targets, len(view.priors)
    owner = targets.on_host().image
    candidate = torch.zeros(targets.images * length, dtype=torch.bool)
    candidate.index_fill_(0, owner[objects] * length + locations, True)
    if len(objects) == 0:
        return targets.labels[:0], targets.labels[:0]
    contest = _Contest(view.detached(), cost, most, candidate)
    if least is None or not free_to_wait(targets.boxes.device):
        chosen, cheapest = by_rows(contest, torch.arange(len(targets)))
    else:
        nothing = targets.labels[:0], targets.labels[:0]
        chosen, cheapest = by_bounds(contest, least, nothing if first is None else first)
    return settled(chosen, cheapest, length)


def by_rows(contest: _Contest, objects: Tensor) -> tuple[_Chosen, Tensor]:
    """S_n of some objects, and of each place cost and object of its cheapest pair, of pairs of these objects.

    Args:
        contest: what is asked.
        objects: in the host's memory, ``[some]``.
    """
    targets, length = contest.targets, contest.length
    candidates = contest.candidate.nonzero()[:, 0]
    counts = torch.bincount(candidates // length, minlength=targets.images)
    owner, device = targets.on_host().image[objects], targets.boxes.device
    places = beside(candidates, targets.boxes)
    count, start = (beside(each, targets.boxes) for each in (counts, counts.cumsum(0) - counts))
    cheapest = torch.full((targets.images * length,), NOBODY, device=device)
    share = 1 if device.type == "cpu" else DEVICE_SHARE
    listed, found = beside(objects, targets.boxes), []
    for chunk in object_chunks(len(objects), share * (int(counts.max()) + ROWS), device):
        object_ = listed[chunk, None]
        image = targets.image[object_]
        # whole vector units: the last entries would be rounded in another way, and equal pairs not be equal
        column = torch.arange(-(-int(counts[owner[chunk]].max()) // ROWS) * ROWS, device=device)
        real = column < count[image]
        place = places[(start[image] + column).clamp(max=len(places) - 1)]  # [some, candidate]
        pair = contest.view.unkept(object_.expand_as(place).flatten(), (place % length).flatten())
        price = contest.cost(pair).float().view_as(place)
        price = price.where(real & price.isfinite(), torch.inf)
        key = keys(price, object_).where(real, NOBODY)
        cheapest.scatter_reduce_(0, place.flatten(), key.flatten(), "amin")

        width = min(contest.most, place.shape[1])
        k = counted(pair.overlap.view_as(place).where(real, 0).topk(width, dim=1).values)
        columns = keys(price, column).topk(width, dim=1, largest=False).values & LOW
        price = price.gather(1, columns)
        taken = (column[:width] < k[:, None]) & price.isfinite()
        parts = object_.expand_as(columns), place.gather(1, columns), price, taken
        found.append(tuple(part.flatten() for part in parts))
    return _Chosen(*(torch.cat(parts) for parts in zip(*found, strict=True))), cheapest


def by_bounds(
    contest: _Contest, least: Callable[[Tensor], Tensor], first: tuple[Tensor, Tensor]
) -> tuple[_Chosen, Tensor]:
    """S_n of all objects, and of each place that several want cost and object of its cheapest pair."""
    targets = contest.targets
    blocks = blocks_of(contest.view.predictions.boxes, contest.candidate.view(targets.images, -1))
    best = best_in_blocks(targets, blocks)
    overlap, near = most_overlapping_boxes(targets, blocks, best, contest.most)
    k = counted(overlap)

    real = blocks.counted_at(targets, *first)
    objects, locations = first[0][real], first[1][real]
    price = contest.prices(objects, locations)
    dearest = kth_price(price, objects, k, contest.most)  # t
    open_ = may_cost(least(overlap[:, 0]), dearest).nonzero()[:, 0]
    dearest[open_] = dearest[open_].minimum(kth_of_rows(row_prices(contest, blocks, open_, near[open_]), k[open_]))
    complete = may_cost(least(torch.zeros_like(overlap[:, 0])), dearest)
    open_ = open_[~complete[open_]]

    further = within(contest, blocks, best, open_, least, dearest)
    entries = objects, contest.place(objects, locations), price
    tried = tuple(torch.cat(both) for both in zip(entries, further, strict=True))
    cheap = (tried[2] <= pick(dearest, tried[0])) & tried[2].isfinite() & ~pick(complete, tried[0])
    chosen = cheapest_k(tried[0][cheap], tried[1][cheap], tried[2][cheap], k)
    if bool(complete.any()):
        rest, _ = by_rows(contest, complete.nonzero()[:, 0])
        chosen = chosen.and_those_of(rest)
    return chosen, cheapest_of_all(contest, chosen, least, best, entries)


def may_cost(bound: Tensor, price: Tensor) -> Tensor:
    """Whether what costs a bound at least may cost no more than a price, whatever rounding does: bool."""
    return ~(bound > price + CAUTION * price.abs().clamp(min=1))  # where the bound is no number: it may


def counted(overlap: Tensor) -> Tensor:
    """The k of the largest overlaps: ``[object, most] → [object]``."""
    return overlap.sum(1).long().clamp(min=1)


def keys(price: Tensor, rank: Tensor) -> Tensor:
    """Cost and rank as one integer, in the order of cost, then rank: any shape."""
    return (in_order(price) << 32) + rank


def kth_price(price: Tensor, objects: Tensor, k: Tensor, most: int) -> Tensor:
    """The k-th least price of each object, infinite where there is none: ``[pair], [pair], [object] → [object]``."""
    count = torch.bincount(objects, minlength=len(k))
    start, width = count.cumsum(0) - count, int(count.max())
    if width == 0:
        return price.new_full((len(k),), torch.inf)
    column, found = torch.arange(width, device=price.device), []
    for some in object_chunks(len(k), width, price.device):
        row = pick(price, (start[some, None] + column).clamp(max=len(price) - 1).view(-1)).view(-1, width)
        row = row.where(column < count[some, None], torch.inf)
        found.append(kth_of_rows(row.topk(min(most, width), dim=1, largest=False).values, k[some]))
    return torch.cat(found)


def kth_of_rows(price: Tensor, k: Tensor) -> Tensor:
    """The k-th least entry of each row, infinite where a row is shorter: ``[object, column], [object] → [object]``."""
    ascending = torch.cat((price.sort(dim=1).values, price.new_full((len(price), 1), torch.inf)), dim=1)
    return ascending.gather(1, (k[:, None] - 1).clamp(max=price.shape[1]))[:, 0]


def row_prices(contest: _Contest, blocks: Blocks, objects: Tensor, locations: Tensor) -> Tensor:
    """What some locations of each object cost, infinite those that are no candidates: ``[object, column]``."""
    owners, places = objects[:, None].expand_as(locations).flatten(), locations.flatten()
    real = blocks.counted_at(contest.targets, owners, places).nonzero()[:, 0]
    price = locations.new_full((len(owners),), torch.inf, dtype=torch.float32)
    price[real] = contest.prices(owners[real], places[real])
    return price.view_as(locations)


def within(
    contest: _Contest,
    blocks: Blocks,
    best: Tensor,
    objects: Tensor,
    least: Callable[[Tensor], Tensor],
    dearest: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Objects, places and prices of the candidates that may cost no more than t, of some objects: ``[pair]`` each."""
    found = []
    for some in object_chunks(len(objects), blocks.each, best.device):
        row, block = may_cost(least(best[objects[some]]), dearest[objects[some], None]).nonzero(as_tuple=True)
        for part in object_chunks(len(row), 2 * BLOCK, best.device):
            owner, of = objects[some][row[part]], block[part]
            overlap = blocks.overlap(contest.targets, owner, of)
            near = may_cost(least(overlap), dearest[owner, None])
            near &= blocks.counted.index_select(0, pick(contest.targets.image, owner) * blocks.each + of)
            entry, inner = near.nonzero(as_tuple=True)
            found.append((owner[entry], of[entry] * BLOCK + inner))
    nothing = objects[:0], objects[:0]
    owners, locations = (torch.cat(parts) for parts in zip(nothing, *found, strict=True))
    return owners, contest.place(owners, locations), contest.prices(owners, locations)


def cheapest_k(objects: Tensor, place: Tensor, price: Tensor, k: Tensor) -> _Chosen:
    """The k cheapest pairs of each object, each pair counted once however often it occurs: ``[pair]`` each."""
    order = place.argsort(stable=True)
    order = order[objects[order].argsort(stable=True)]
    objects, place, price = objects[order], place[order], price[order]
    new = torch.ones_like(objects, dtype=torch.bool)
    new[1:] = (objects[1:] != objects[:-1]) | (place[1:] != place[:-1])
    objects, place, price = objects[new], place[new], price[new]

    order = ((objects << 32) + in_order(price)).argsort(stable=True)
    objects, place, price = objects[order], place[order], price[order]
    count = torch.bincount(objects, minlength=len(k))
    rank = torch.arange(len(objects), device=objects.device) - (count.cumsum(0) - count)[objects]
    return _Chosen(objects, place, price, rank < k[objects])


def cheapest_of_all(
    contest: _Contest,
    chosen: _Chosen,
    least: Callable[[Tensor], Tensor],
    best: Tensor,
    first: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Of each place that several want cost and object of its cheapest pair, whoever chose it: ``[place]``.

    Args:
        contest: what is asked.
        chosen: S of all objects.
        least: b.
        best: largest overlaps in blocks, ``[object, block]``.
        first: objects, places and prices of the pairs of which b does not hold: ``[pair]`` each.
    """
    targets, length = contest.targets, contest.length
    cheapest = torch.full((targets.images * length,), NOBODY, device=best.device)
    claims = torch.zeros_like(cheapest).index_add_(0, chosen.place, chosen.taken.long())
    cheapest.scatter_reduce_(0, chosen.place, chosen.keys(), "amin")
    price = torch.full_like(cheapest, torch.inf, dtype=torch.float32)
    price.scatter_reduce_(0, chosen.place, chosen.price.where(chosen.taken, torch.inf), "amin")
    contested = (claims > 1).nonzero()[:, 0]
    image, location = contested // length, contested % length

    wanted = (pick(claims, first[1]) > 1).nonzero()[:, 0]
    objects, place, known = (part[wanted] for part in first)
    cheapest.scatter_reduce_(0, place, keys(known, objects), "amin")
    for some in object_chunks(len(targets), len(contested), best.device):
        rival = may_cost(least(best[some].index_select(1, location // BLOCK)), price[contested])
        row, column = (rival & (targets.image[some, None] == image)).nonzero(as_tuple=True)
        objects = row + some.start
        cheapest.scatter_reduce_(0, contested[column], keys(contest.prices(objects, location[column]), objects), "amin")
    return cheapest


def settled(chosen: _Chosen, cheapest: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """One object for every location: objects and locations, ``[pair]`` each.

    Args:
        chosen: S of all objects.
        cheapest: of each place that several want, cost and object of its cheapest pair: ``[place]``.
        length: places of an image.
    """
    objects, place = chosen.objects, chosen.place
    entry = torch.arange(len(place), device=place.device)
    claims = torch.zeros_like(cheapest).index_add_(0, place, chosen.taken.long())
    first = torch.full_like(cheapest, NOBODY).scatter_reduce_(0, place, entry.where(chosen.taken, NOBODY), "amin")
    kept = (first[place] == entry).nonzero()[:, 0]
    objects, place = objects[kept], place[kept]
    objects = torch.where(claims[place] > 1, cheapest[place] & LOW, objects)
    locations = place % length
    order = (objects * length + locations).argsort()
    return objects[order], locations[order]
