"""Dynamic k against a naive reading, however the work is cut."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assignbench.core import Head, PairView, Targets, dynamic_k, inside_pairs, iou, iou_matrix
from assignbench.core.fast import dynamic, rows
from assignbench.synthetic import Problem, random_problem


def problem(seed: int, counts: tuple[int, ...] = (9, 0, 5)) -> Problem:
    made = random_problem(Head(), seed=seed, classes=3, counts=counts, height=64, width=96)
    with torch.no_grad():
        made.raw.regression.mul_(0.2)
    return made


def naive(
    one: Problem, cost: Tensor, most: int, candidates: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Loops over images, objects and places; ``cost`` is ``[object, location]``; without candidates: those in boxes."""
    targets, boxes = one.targets, one.predictions.boxes.detach()
    objects, locations = candidates or inside_pairs(targets, one.priors)
    pairs = []
    for image in range(targets.images):
        places = sorted(set(locations[targets.image[objects] == image].tolist()))
        mine = (targets.image == image).nonzero()[:, 0].tolist()
        chosen: dict[int, list[int]] = {}
        for n in mine:
            overlap = iou(boxes[image, places], targets.boxes[n]).topk(min(most, len(places))).values.sum()
            cheap = [j for j in sorted(places, key=lambda j, n=n: (cost[n, j].item(), j)) if cost[n, j].isfinite()]
            for j in cheap[: max(1, int(overlap.nan_to_num()))]:
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


def spoiled(one: Problem, value: float, generator: torch.Generator) -> None:
    """Some of the outputs that boxes are decoded from become a value."""
    with torch.no_grad():
        one.raw.regression[torch.rand(one.raw.regression.shape, generator=generator) < 0.05] = value


def fitted(one: Problem, generator: torch.Generator) -> None:
    """A third of the locations predict the box of an object of their image."""
    targets, priors = one.targets, one.priors
    with torch.no_grad():
        for image in targets.image.unique().tolist():
            own = targets.boxes[targets.image == image]
            places = (torch.rand(len(priors), generator=generator) < 0.3).nonzero()[:, 0]
            boxes = own[torch.randint(0, len(own), (len(places),), generator=generator)]
            wanted = one.head.coding.encode(boxes, priors.boxes[places], priors.stride[places])
            one.raw.regression[image, places] = wanted


def crowd(targets: Targets, kind: str) -> Targets:
    """Objects that are all alike, smaller than a cell, or on whole cells."""
    boxes = targets.boxes.clone()
    match kind:
        case "alike":
            boxes[:] = boxes[:1]
        case "tiny":
            boxes[:, 2:] = boxes[:, :2] + 0.05 * (boxes[:, 2:] - boxes[:, :2]) + 0.1
        case "whole":
            boxes = (boxes / 8).round() * 8
            boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 8)
    return replace(targets, boxes=boxes)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**30),
    counts=st.sampled_from([(1,), (9, 0, 5), (0, 4), (1, 1), (30,)]),
    kind=st.sampled_from(["any", "alike", "tiny", "whole"]),
    spread=st.sampled_from([0.0, 0.2, 1.0, 4.0]),
    odd=st.sampled_from([None, torch.nan, torch.inf, -torch.inf]),
    most=st.sampled_from([1, 2, 10]),
    steep=st.sampled_from([0.0, 1.0, 30.0]),
    named_share=st.sampled_from([0.0, 0.05, 0.5]),
    fit=st.booleans(),
    padded=st.booleans(),
    few=st.booleans(),
    waiting=st.booleans(),
)
def test_what_a_pair_costs_at_least_changes_nothing(
    seed: int,
    counts: tuple[int, ...],
    kind: str,
    spread: float,
    odd: float | None,
    most: int,
    steep: float,
    named_share: float,
    fit: bool,
    padded: bool,
    few: bool,
    waiting: bool,
) -> None:
    """Costs are whole numbers above the bound −s · u, but for pairs that are named: any numbers."""
    generator = torch.Generator().manual_seed(seed)
    one = random_problem(Head(), seed=seed % 1000, classes=3, counts=counts, height=64, width=96)
    with torch.no_grad():
        one.raw.regression.mul_(spread)
    one = one.with_targets(crowd(one.targets, kind))
    if fit:
        fitted(one, generator)
    if odd is not None:
        spoiled(one, odd, generator)
    if padded:
        one = replace(one, priors=one.priors.padded(torch.tensor([[64, 64]] * len(counts))))
    shape = len(one.targets), len(one.priors)
    pairs = inside_pairs(one.targets, one.priors)
    if few:
        pairs = pairs[0][::3], pairs[1][::3]
    overlap = torch.stack(
        [iou_matrix(box[None], one.predictions.boxes[image].detach())[0]
         for box, image in zip(one.targets.boxes, one.targets.image.tolist(), strict=True)]
    )  # fmt: skip
    table = torch.randint(0, 4, shape, generator=generator).float() - steep * overlap
    named_objects, named_locations = (torch.rand(shape, generator=generator) < named_share).nonzero(as_tuple=True)
    named = named_objects, named_locations
    table[named] = torch.randint(-40, 9, (len(named[0]),), generator=generator).float()
    table[torch.rand(shape, generator=generator) < 0.1] = torch.inf
    table = table.where(table.isfinite(), torch.inf)

    with pytest.MonkeyPatch.context() as patch:
        if waiting:
            patch.setattr(dynamic, "free_to_wait", lambda _: False)
        found = dynamic_k(
            one.view(),
            *pairs,
            cost=lambda pair: table[pair.objects, pair.locations],
            most=most,
            least=lambda overlap: -steep * overlap,
            first=named,
        )
    for ours, theirs in zip(found, naive(one, table, most, pairs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_few_costs_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of objects that the first pairs serve, no other pair is looked at."""
    one, asked = problem(3), []
    objects, locations = inside_pairs(one.targets, one.priors)
    table = torch.full((len(one.targets), len(one.priors)), 100.0)
    table[objects, locations] = 1.0

    def price(pair: PairView) -> Tensor:
        asked.extend(zip(pair.objects.tolist(), pair.locations.tolist(), strict=True))
        return table[pair.objects, pair.locations]

    monkeypatch.setattr(rows, "CHUNK", 300)
    dynamic_k(
        one.view(), objects, locations, price, 1, least=lambda u: torch.full_like(u, 50.0), first=(objects, locations)
    )
    served = set(objects.tolist())
    assert {pair for pair in asked if pair[0] in served} == set(zip(objects.tolist(), locations.tolist(), strict=True))


def test_a_named_pair_that_the_bound_finds_again_counts_once() -> None:
    one = problem(4, (1,))
    one = one.with_targets(replace(one.targets, boxes=torch.tensor([[16.0, 16, 48, 48]])))
    fitted(one, torch.Generator().manual_seed(0))
    objects, locations = inside_pairs(one.targets, one.priors)
    overlap = iou(one.predictions.boxes[0].detach(), one.targets.boxes)
    table = (-30 * overlap)[None]
    found = dynamic_k(
        one.view(),
        objects,
        locations,
        lambda pair: table[pair.objects, pair.locations],
        10,
        least=lambda overlap: -30 * overlap,
        first=(objects, locations),
    )
    assert len(found[0]) == int(overlap[locations].topk(10).values.sum()) > 1


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
