"""Dynamic k against a naive reading, however the work is cut."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from assignbench.core import Head, PairView, dynamic_k, inside_pairs, iou
from assignbench.core.fast import rows
from assignbench.synthetic import Problem, random_problem


def problem(seed: int, counts: tuple[int, ...] = (9, 0, 5)) -> Problem:
    made = random_problem(Head(), seed=seed, classes=3, counts=counts, height=64, width=96)
    with torch.no_grad():
        made.raw.regression.mul_(0.2)
    return made


def naive(one: Problem, cost: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Loops over images, objects and places; ``cost`` is ``[object, location]``."""
    targets, boxes = one.targets, one.predictions.boxes.detach()
    objects, locations = inside_pairs(targets, one.priors)
    pairs = []
    for image in range(targets.images):
        places = sorted(set(locations[targets.image[objects] == image].tolist()))
        mine = (targets.image == image).nonzero()[:, 0].tolist()
        chosen: dict[int, list[int]] = {}
        for n in mine:
            overlap = iou(boxes[image, places], targets.boxes[n]).sort(descending=True).values[:most].sum()
            cheap = [j for j in sorted(places, key=lambda j, n=n: (cost[n, j].item(), j)) if cost[n, j].isfinite()]
            for j in cheap[: max(1, int(overlap))]:
                chosen.setdefault(j, []).append(n)
        for j, several in chosen.items():
            rivals = several if len(several) == 1 else mine
            pairs.append((min(rivals, key=lambda n, j=j: (cost[n, j].item(), n)), j))
    found = torch.tensor(sorted(pairs), dtype=torch.int64).view(-1, 2)
    return found[:, 0], found[:, 1]


@pytest.mark.parametrize("chunk", [1, 500, 1 << 17])
@pytest.mark.parametrize("seed", range(5))
def test_as_the_naive_reading(monkeypatch: pytest.MonkeyPatch, seed: int, chunk: int) -> None:
    """Costs are whole numbers, some below 0 and some infinite, so that many are equal."""
    monkeypatch.setattr(rows, "CHUNK", chunk)
    one = problem(seed)
    shape = (len(one.targets), len(one.priors))
    cost = torch.randint(-3, 6, shape, generator=torch.Generator().manual_seed(seed)).float()
    cost[cost == 5] = torch.inf

    def price(pair: PairView) -> Tensor:
        return cost[pair.objects, pair.locations]

    for most in (1, 10):
        found = dynamic_k(one.view(), *inside_pairs(one.targets, one.priors), cost=price, most=most)
        for ours, theirs in zip(found, naive(one, cost, most), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_nobody_chooses_what_costs_no_number() -> None:
    one = problem(0)
    pairs = inside_pairs(one.targets, one.priors)
    for value in (torch.nan, torch.inf, -torch.inf):
        objects, locations = dynamic_k(
            one.view(), *pairs, cost=lambda pair, value=value: torch.full_like(pair.overlap, value), most=10
        )
        assert len(objects) == len(locations) == 0


@pytest.mark.parametrize("counts", [(0, 0), (3, 0)])
def test_without_objects_or_candidates_there_are_no_pairs(counts: tuple[int, ...]) -> None:
    one = problem(1, counts)
    objects, locations = inside_pairs(one.targets, one.priors)
    found = dynamic_k(one.view(), objects[:0], locations[:0], lambda pair: pair.overlap, 10)
    assert [part.dtype for part in found] == [torch.int64] * 2
    assert [len(part) for part in found] == [0, 0]


def test_a_location_that_two_choose_may_go_to_a_third() -> None:
    """All objects of the image compete for it, those that had cheaper ones as well."""
    one = problem(2, (3,))
    box = torch.tensor([0.0, 0, 40, 40])
    one = replace(one, targets=replace(one.targets, boxes=box.expand(3, 4).contiguous()))
    places = inside_pairs(one.targets, one.priors)[1].unique()[:2]
    cost = torch.full((3, len(one.priors)), 9.0)
    cost[0, places[0]], cost[1, places[0]] = 2.0, 3.0
    cost[2, places[0]], cost[2, places[1]] = 1.0, 0.0
    pairs = torch.tensor([0, 0]), places
    objects, locations = dynamic_k(one.view(), *pairs, cost=lambda pair: cost[pair.objects, pair.locations], most=1)
    assert list(zip(objects.tolist(), locations.tolist(), strict=True)) == [(2, int(place)) for place in places]


def test_what_is_looked_at_is_without_gradient_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK", 300)
    one, sizes = problem(3), []

    def price(pair: PairView) -> Tensor:
        assert not pair.logit.requires_grad
        assert not pair.box_part.requires_grad
        sizes.append(len(pair))
        return pair.cost

    view = one.view()
    objects, locations = dynamic_k(view, *inside_pairs(one.targets, one.priors), cost=price, most=10)
    assert len(sizes) > 2
    assert max(sizes) <= 300
    assert view(objects, locations).logit.requires_grad
