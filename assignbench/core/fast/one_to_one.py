"""The one-to-one matching of objects and locations whose scores sum to the most, of all images in one go.

It is the assignment problem, solved by shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987). With costs
c = −score, a price u of every object and v of every location, it keeps c_nj − u_n − v_j ≥ 0, and = 0 where n has j:

    start       v = 0, u_n = min_j c_nj: an object that no better one contests has its best location
    each other  finds the cheapest way to a free location, along which objects move on to another location of theirs

Almost every object has its best location at the start. Only those that were outbid are looked at one by one, and only
in their neighbourhood. Work is done in the host's memory, in Python's numbers.
"""

from __future__ import annotations

from heapq import heappop, heappush

import torch
from torch import Tensor

from assignbench.core.fast.rows import best_of
from assignbench.core.tensors import beside
from assignbench.core.types import Priors, Targets


@torch.no_grad()
def best_matching(
    score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors, *, without: float = -1.0
) -> Tensor:
    """Index of the pairs of the one-to-one matching with the largest sum of scores, ordered by object.

    Every object has one location and every location of an image one object, at most. Equal sums: an object that is
    listed before another one of the same scores has the better location. A GPU is waited for once.

    Args:
        score: ``[pair]``, at least ``without``; what is not a number counts as that.
        objects: ``[pair]``, ascending, as in all functions that make pairs.
        locations: ``[pair]``.
        targets: the objects.
        priors: the locations.
        without: what an object counts that has no location.
    """
    values, *index = torch.stack((score.double(), objects.double(), locations.double())).cpu()
    values = values.nan_to_num(nan=without)
    owner, place = (each.long() for each in index)
    place = targets.on_host().image[owner] * len(priors) + place
    best = best_of(owner, values)
    best &= best_of(place, values.where(best, -torch.inf))
    if bool(best.sum() < len(owner.unique())):
        best = moved_on(values, owner, place, best, without)
    return beside(best.nonzero()[:, 0], score)


def moved_on(score: Tensor, objects: Tensor, places: Tensor, start: Tensor, without: float) -> Tensor:
    """The best matching from one in which some objects have their best place and the others none: bool ``[pair]``."""
    values, groups = objects.unique_consecutive(return_counts=True)
    first = dict(zip(values.tolist(), (groups.cumsum(0) - groups).tolist(), strict=True))
    length = dict(zip(values.tolist(), groups.tolist(), strict=True))
    holder: dict[int, int] = {}  # place → object
    held: dict[int, int] = {}  # object → pair; −1: it stays without a place
    for pair in start.nonzero()[:, 0].tolist():
        held[int(objects[pair])] = pair
        holder[int(places[pair])] = int(objects[pair])
    u: dict[int, float] = {}  # prices; of an object that was never looked at: its least cost
    v: dict[int, float] = {}  # of a place that was never looked at: 0

    choices: dict[int, list[tuple[int, int, float]]] = {}  # object → (pair, place, cost)

    def look(n: int) -> list[tuple[int, int, float]]:
        if n not in choices:
            pairs = range(first[n], first[n] + length[n])
            span = slice(pairs.start, pairs.stop)
            costs = (-score[span]).tolist()
            # to stay without is a place of the object's own: no other one has its number
            choices[n] = [*zip(pairs, places[span].tolist(), costs, strict=True), (-1, -1 - n, -without)]
            u[n] = min(cost for _, _, cost in choices[n])
        return choices[n]

    for outbid in first:
        if outbid in held:
            continue
        way: dict[int, tuple[float, int, int]] = {}  # place → its distance, the object before it, and their pair
        near: list[tuple[float, int]] = []
        done: dict[int, float] = {}
        n, distance, reached = outbid, 0.0, [(outbid, 0.0)]
        while True:
            for pair, place, cost in look(n):
                length_there = distance + (cost - u[n] - v.get(place, 0.0))
                if place not in done and (place not in way or length_there < way[place][0]):
                    way[place] = length_there, n, pair
                    heappush(near, (length_there, place))
            distance, place = heappop(near)
            while place in done or distance > way[place][0]:
                distance, place = heappop(near)
            if place not in holder:
                break
            done[place] = distance
            n = holder[place]
            reached.append((n, distance))
        for n, before in reached:
            u[n] += distance - before
        for one, before in done.items():
            v[one] = v.get(one, 0.0) + before - distance
        while True:  # back along the way: each object takes the place that it was left for
            _, n, pair = way[place]
            left = held.get(n)
            held[n], holder[place] = pair, n
            if left is None:
                break
            place = int(places[left])
    chosen = torch.zeros_like(start)
    chosen[[pair for pair in held.values() if pair >= 0]] = True
    return chosen


def and_orphans(objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> tuple[Tensor, Tensor]:
    """The pairs and, with them, each image's r-th object that has none at its r-th location that has none.

    Neither of them lies in the padding: ``[pair]`` each.
    """
    every = torch.ones(targets.images, len(priors), dtype=torch.bool, device=objects.device)
    free = every if priors.inside is None else priors.inside.clone()
    free[targets.image[objects], locations] = False
    left = torch.ones_like(targets.image).index_fill(0, objects, 0).nonzero()[:, 0]
    image = targets.image[left]
    rank = (image[:, None] == image).tril().sum(1, keepdim=True)
    location = torch.searchsorted(free.cumsum(1)[image], rank)[:, 0]
    fits = location < len(priors)
    return torch.cat((objects, left[fits])), torch.cat((locations, location[fits]))
