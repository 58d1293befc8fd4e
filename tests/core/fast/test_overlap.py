"""Pairs found by looking into bins and blocks, against the whole matrix of overlaps: the same bits."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assignbench.core import (
    Extra,
    Head,
    Priors,
    Targets,
    best_overlap,
    best_predicted,
    iou,
    iou_matrix,
    most_overlapping,
    overlapping_pairs,
    predicted_overlaps,
)
from assignbench.core.fast import rows
from assignbench.core.fast.blocks import BLOCK
from assignbench.core.fast.overlap import best_objects, near_pairs, overlaps, pairs_from, sure_overlap
from assignbench.core.parts import ImplicitObjectness, anchor_head
from assignbench.core.priors import pyramid_priors
from assignbench.core.types import Grid
from assignbench.synthetic import random_problem

NAN, INF = float("nan"), float("inf")
ODD = torch.tensor(
    [
        [NAN, 0, 10, 10],
        [0, 0, INF, INF],
        [-INF, -INF, INF, INF],
        [20, 20, 20, 20],  # no size
        [30, 30, 10, 10],  # corners exchanged
        [0, 0, 1e-4, 1e-4],
        [-4e4, -4e4, 5e4, 5e4],
        [0, 5, 9e4, 6],
        [1e7, 1e7, 1e7 + 8, 1e7 + 8],
    ]
)


def random_boxes(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    """Sides log-uniform, centres in and around a picture of 1,000 pixels; some on whole pixels, some twice."""
    side = (low + (high - low) * torch.rand(count, 2, generator=generator)).exp2()
    center = torch.rand(count, 2, generator=generator) * 1200 - 100
    boxes = torch.cat((center - side / 2, center + side / 2), dim=1)
    boxes[::3] = boxes[::3].round()
    boxes[1::7] = boxes[:1]
    return boxes


def objects(boxes: Tensor, images: int) -> Targets:
    image = torch.arange(len(boxes)) % images
    return Targets(boxes, torch.zeros_like(image), image, images)


def priors_of(boxes: Tensor, extent: Tensor | None = None) -> Priors:
    """Boxes as if they were a row of cells; where they lie does not follow from them."""
    count, one = boxes.shape[-2], torch.ones(1, dtype=torch.int64)
    points = torch.stack((torch.arange(count) + 0.5, torch.full((count,), 0.5)), dim=1)
    grid = Grid(0 * one, one, count * one, torch.full((1, 2), 0.5), torch.ones(1, 2), anchors=1)
    return Priors(boxes, points, torch.ones(count), torch.zeros(count, dtype=torch.int64), grid, extent)


def matrix(targets: Targets, boxes: Tensor) -> Tensor:
    if boxes.ndim == 2:
        return iou_matrix(targets.boxes, boxes)
    return torch.stack(
        [iou_matrix(box[None], boxes[i])[0] for box, i in zip(targets.boxes, targets.image, strict=True)]
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.booleans(), st.booleans(), st.floats(-1, 9), st.floats(0, 4))
def test_nothing_that_overlaps_enough_is_missed(seed: int, shared: bool, filled: bool, low: float, more: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = objects(random_boxes(generator, 23, low, low + more), 3)
    boxes = random_boxes(generator, 400 if shared else 1200, low - 1, low + more + 1)
    boxes[:4], boxes[-len(ODD) :] = targets.boxes[:4], ODD
    boxes = boxes if shared else boxes.view(3, 400, 4)
    least = torch.rand(23, generator=generator).clamp(min=1e-3) ** 2
    least[0] = 1.0
    dense = matrix(targets, boxes)
    priors = priors_of(boxes, None if filled else torch.tensor([[400.0, 1], [320, 1], [64, 1]]))
    counts = torch.ones(1) if priors.inside is None else priors.inside[targets.image]
    want = ((dense >= least[:, None]) & (counts > 0)).nonzero(as_tuple=True)
    found = pairs_from(targets, priors, least)
    assert torch.equal(torch.stack(found[:2]), torch.stack(want))
    assert torch.equal(found[2], dense[want])
    near = near_pairs(targets, boxes, least)
    assert len(near[0].mul(400).add(near[1]).unique()) == len(near[0])  # none twice
    assert torch.equal(near[2].nan_to_num(-1), dense[near[:2]].nan_to_num(-1))


def test_few_others_are_looked_at() -> None:
    priors = pyramid_priors(anchor_head(), 800, 1216)
    targets = objects(random_boxes(torch.Generator().manual_seed(0), 300, 4, 9), 1)
    least = torch.full((300,), 0.5)
    looked, found = (
        len(near_pairs(targets, priors.boxes, least)[0]),
        len(pairs_from(targets, priors, least)[0]),
    )
    assert found <= looked < 30 * found < 0.01 * 300 * len(priors)


@pytest.mark.parametrize("least", [0.0, 1e-9])
def test_any_overlap_at_all(least: float) -> None:
    targets = objects(random_boxes(torch.Generator().manual_seed(2), 9, 2, 8), 1)
    boxes = random_boxes(torch.Generator().manual_seed(3), 500, 1, 9)
    pairs = pairs_from(targets, priors_of(boxes), torch.full((9,), least))
    dense = matrix(targets, boxes)
    assert torch.equal(torch.stack(pairs[:2])[:, pairs[2] > 0], torch.stack((dense > 0).nonzero(as_tuple=True)))


def test_without_objects_or_boxes() -> None:
    nothing, some = torch.zeros(0, 4), random_boxes(torch.Generator().manual_seed(1), 5, 3, 6)
    for boxes, others in ((nothing, some), (some, nothing), (nothing, nothing)):
        found = pairs_from(objects(boxes, 1), priors_of(others), torch.full((len(boxes),), 0.5))
        assert [len(part) for part in found] == [0, 0, 0]


def padded(head: Head, height: int = 160, width: int = 224) -> Priors:
    """For two images, of which one fills the batch and the other a corner of it."""
    return pyramid_priors(head, height, width).padded(torch.tensor([[150, 220], [64, 90]]))


def inside(count: int, seed: int) -> Targets:
    """Of all sizes, in the images of `padded`."""
    generator = torch.Generator().manual_seed(seed)
    limit = torch.tensor([[220.0, 150], [90, 64]])[torch.arange(count) % 2]
    corner = torch.rand(count, 2, generator=generator) * limit
    side = torch.rand(count, 2, generator=generator) ** 3 * (limit - corner)
    return objects(torch.cat((corner, corner + side), 1), 2)


def dense(targets: Targets, priors: Priors) -> Tensor:
    """IoU of all pairs, −1 in the padding."""
    assert priors.inside is not None
    return matrix(targets, priors.boxes).masked_fill(~priors.inside[targets.image], -1)


@pytest.mark.parametrize("k", [1, 2, 50, 300])
@pytest.mark.parametrize("predicted", [False, True])
@pytest.mark.parametrize("head", [Head(), anchor_head()], ids=["point", "anchors"])
def test_a_sure_overlap_is_reached(head: Head, predicted: bool, k: int) -> None:
    priors, targets = padded(head), inside(120, k)
    if predicted:
        priors = priors.predicted(priors.boxes + 3 * torch.randn(2, len(priors), 4))
    best = dense(targets, priors).clamp(min=0).topk(k, dim=1).values[:, -1]
    sure = sure_overlap(targets, priors, k)
    assert bool((sure <= best).all())
    if k <= 2 or predicted:
        near = (sure >= 0.6 * best).float().mean()  # looking around the centre is looking in the right place
        assert near > 0.9
    assert torch.equal(sure, best) or not predicted


def naive_overlapping(targets: Targets, priors: Priors, least: float, best: bool) -> list[Tensor]:
    overlap = dense(targets, priors)
    top = overlap.amax(1, keepdim=True)
    found = (overlap >= least) | (best & (overlap == top) & (top > 0))
    return [*found.nonzero(as_tuple=True), overlap[found]]


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("least", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("predicted", [False, True])
@pytest.mark.parametrize("head", [Head(), anchor_head()], ids=["point", "anchors"])
def test_overlapping_pairs(head: Head, predicted: bool, least: float, best: bool) -> None:
    priors, targets = padded(head), inside(80, 5)
    if predicted:
        priors = priors.predicted(priors.boxes.repeat(2, 1, 1) + torch.randn(2, len(priors), 4))
    have, want = overlapping_pairs(targets, priors, least, best=best), naive_overlapping(targets, priors, least, best)
    for mine, true in zip(have, want, strict=True):
        assert torch.equal(mine, true)
    assert len(want[0]) > 0


def test_the_best_prior_of_an_object_on_the_border_of_the_padding() -> None:
    """The cells around this object's centre are in the padding; its best prior is not, and overlaps it little."""
    priors = pyramid_priors(anchor_head(), 256, 672).padded(torch.tensor([[256, 640]]))
    targets = objects(torch.tensor([[633.6, 103.1, 640, 107.3]]), 1)
    have, want = overlapping_pairs(targets, priors, 0.4, best=True), naive_overlapping(targets, priors, 0.4, best=True)
    for mine, true in zip(have, want, strict=True):
        assert torch.equal(mine, true)
    assert len(have[0]) > 0
    assert have[2].max() < 0.4


def test_an_object_that_overlaps_nothing_forces_nothing() -> None:
    priors = pyramid_priors(Head(), 64, 64)
    far = objects(torch.tensor([[900.0, 900, 910, 910], [8, 8, 40, 40]]), 1)
    found, _, overlap = overlapping_pairs(far, priors, 0.9, best=True)
    assert found.unique().tolist() == [1]
    assert overlap.max() < 0.9


def naive_most(targets: Targets, priors: Priors, k: int) -> list[tuple[int, int]]:
    found = []
    for row, overlap in enumerate(dense(targets, priors)):
        order = overlap.argsort(descending=True, stable=True)
        found += [(row, place) for place in sorted(order[overlap[order] >= 0][:k].tolist())]
    return found


def listed(pairs: tuple[Tensor, Tensor]) -> list[tuple[int, int]]:
    return list(zip(*(part.tolist() for part in pairs), strict=True))


@pytest.mark.parametrize("k", [1, 9, 40, 10_000])
@pytest.mark.parametrize("predicted", [False, True])
@pytest.mark.parametrize("head", [Head(), anchor_head()], ids=["point", "anchors"])
def test_most_overlapping(head: Head, predicted: bool, k: int) -> None:
    priors, targets = padded(head), inside(30, 8)
    if predicted:
        priors = priors.predicted(priors.boxes.repeat(2, 1, 1) + torch.randn(2, len(priors), 4))
    want = naive_most(targets, priors, k)
    assert listed(most_overlapping(targets, priors, k)) == want
    by_topk = most_overlapping(targets, priors, k, ties="topk")
    assert [row for row, _ in listed(by_topk)] == [row for row, _ in want]  # as many
    overlap, (rows_, places) = dense(targets, priors), by_topk
    assert bool((overlap[by_topk] >= 0).all())
    for row in range(len(targets)):
        mine, true = overlap[row, places[rows_ == row]], overlap[row, [place for one, place in want if one == row]]
        assert torch.equal(mine.sort().values, true.sort().values)  # other locations at most, of equal overlap


def test_predicted_overlaps() -> None:
    problem = random_problem(Head(), seed=4, classes=3, counts=(9, 7), height=160, width=224)
    priors, targets = problem.priors.padded(torch.tensor([[150, 220], [64, 90]])), inside(50, 3)
    overlap = dense(targets, priors.predicted(problem.predictions.boxes.detach()))
    found, places, value = predicted_overlaps(targets, problem.predictions, priors, 0.3)
    assert torch.equal(value, overlap[found, places])
    assert bool((value >= 0).all())  # none in the padding
    have = listed((found, places))
    assert len(set(have)) == len(have)
    assert set(listed((overlap >= 0.3).nonzero(as_tuple=True))) <= set(have)
    assert len(have) < 0.2 * overlap.numel()


def unsorted_objects() -> Targets:
    """Of images 3, 0, 3, 1, …; image 2 has none, nor has the last."""
    generator = torch.Generator().manual_seed(0)
    corner, size = torch.rand(11, 2, generator=generator) * 60, torch.rand(11, 2, generator=generator) * 40
    image = torch.tensor([3, 0, 3, 1, 0, 0, 3, 1, 3, 0, 3])
    return Targets(torch.cat((corner, corner + size), 1), torch.zeros_like(image), image, 5)


@pytest.mark.parametrize("own", [False, True], ids=["same boxes", "each image's own"])
@pytest.mark.parametrize("chunk", [1, 130, 1 << 17, 1 << 60])
def test_overlaps_meet_every_pair_once(monkeypatch: pytest.MonkeyPatch, own: bool, chunk: int) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    some, priors = unsorted_objects(), pyramid_priors(anchor_head(), 33, 130)
    table = priors.boxes + 5 * torch.arange(5)[:, None, None] if own else priors.boxes
    found = torch.full((len(some), len(priors)), float("nan"))
    for part, image, overlap in overlaps(some, table):
        assert bool((some.image[part] == image).all())
        assert part.tolist() == sorted(part.tolist())
        assert bool(found[part].isnan().all())
        found[part] = overlap
    want = [iou(box, table[image] if own else table) for box, image in zip(some.boxes, some.image, strict=True)]
    assert torch.equal(found, torch.stack(want))
    assert list(overlaps(objects(torch.zeros(0, 4), 1), priors.boxes)) == []


@pytest.mark.parametrize("size", [(64, 96), (33, 130), (5, 7)])
@pytest.mark.parametrize("counts", [(9, 0, 30), (1,), (0,)])
def test_best_overlaps_in_blocks(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], counts: tuple[int, ...]
) -> None:
    problem = random_problem(Head(), seed=4, classes=3, counts=counts, height=size[0], width=size[1])
    predictions, targets = problem.predictions, problem.targets
    assert predictions.locations % BLOCK
    want = torch.zeros(len(counts), predictions.locations)
    for image in range(len(counts)):
        own = targets.of_image(image)
        if len(own):
            want[image] = iou_matrix(own.boxes, predictions.boxes[image]).amax(0)
    assert torch.equal(best_overlap(predictions, targets, problem.priors), want)
    monkeypatch.setattr(rows, "CHUNK", 1)
    assert torch.equal(best_overlap(predictions, targets, problem.priors), want)
    monkeypatch.setattr("assignbench.core.fast.blocks.free_to_wait", lambda _: False)  # as on a GPU
    assert torch.equal(best_overlap(predictions, targets, problem.priors), want)


def test_a_predicted_box_that_is_no_number_shows() -> None:
    problem = random_problem(Head(), seed=4, classes=3, counts=(2,))
    boxes = problem.predictions.boxes.detach().clone()
    boxes[0, 7, 1] = NAN
    predictions = type(problem.predictions)(problem.predictions.outputs, boxes, boxes)
    best = best_overlap(predictions, problem.targets, problem.priors)
    assert best[0, 7].isnan()
    assert not best[0, :7].isnan().any()


@pytest.mark.parametrize("extras", [(), (ImplicitObjectness(),)])
@pytest.mark.parametrize("k", [1, 7, 10_000])
def test_the_best_predicted_are_those_of_the_whole_matrix(extras: tuple[Extra, ...], k: int) -> None:
    problem = random_problem(Head(extras=extras), seed=3, classes=3, counts=(3, 0, 4), height=96, width=64)
    order = torch.tensor([6, 0, 3, 1, 5, 2, 4])
    targets = problem.targets
    targets = Targets(targets.boxes[order], targets.labels[order], targets.image[order], 3)
    priors = problem.priors.padded(torch.tensor([[96, 64], [96, 64], [64, 64]]))
    predictions = problem.predictions
    found = best_predicted(targets, predictions, priors, k, lambda p, u: (p * u).round(decimals=2))  # with ties
    wanted = []
    for n in range(7):
        image, label = targets.image[n], targets.labels[n]
        u = iou(predictions.boxes[image], targets.boxes[n])
        value = (predictions.logits[image, :, label].sigmoid() * u).round(decimals=2)
        rows = [j for j in range(len(priors)) if priors.inside is None or priors.inside[image, j]]
        best = sorted(sorted(rows, key=lambda j: (-value[j].item(), j))[:k])
        wanted += [(n, j, value[j].item(), u[j].item()) for j in best]
    assert [each[:2] for each in wanted] == list(zip(found[0].tolist(), found[1].tolist(), strict=True))
    for place in (2, 3):
        torch.testing.assert_close(found[place], torch.tensor([each[place] for each in wanted]))
    assert not found[2].requires_grad


def test_the_best_predicted_of_no_object_and_of_scores_that_are_no_numbers() -> None:
    problem = random_problem(Head(), seed=3, classes=3, counts=(0, 0))
    assert [
        len(each) for each in best_predicted(problem.targets, problem.predictions, problem.priors, 3, torch.mul)
    ] == [0] * 4
    problem = random_problem(Head(), seed=3, classes=3, counts=(1,))
    found = best_predicted(problem.targets, problem.predictions, problem.priors, 3, lambda p, u: p * u / 0 * 0)
    assert len(found[0]) == 0


@pytest.mark.parametrize("chunk", [1, 50, 1 << 17])
def test_the_best_object_of_a_location_is_that_of_the_whole_matrix(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    boxes = random_boxes(generator, 30, 2, 8)
    targets = replace(objects(boxes, 3), image=torch.randint(0, 3, (30,), generator=generator))
    priors = pyramid_priors(anchor_head(), 256, 320)
    image, locations = torch.randint(0, 3, (200,), generator=generator), torch.arange(0, 800, 4)
    found, overlap = best_objects(targets, priors, image, locations)
    matrix = iou_matrix(targets.boxes, priors.boxes[locations]).masked_fill(targets.image[:, None] != image, -1)
    assert torch.equal(overlap, matrix.amax(0))
    assert torch.equal(found, (matrix == matrix.amax(0)).to(torch.uint8).argmax(0))  # the first of equal ones
    nothing = torch.zeros(0, dtype=torch.int64)
    assert [len(one) for one in best_objects(targets, priors, nothing, nothing)] == [0, 0]
