"""Pairs found by looking into bins and blocks, against the whole matrix of overlaps: the same bits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assignbench.core import (
    Head,
    Priors,
    Targets,
    anchor_head,
    best_overlap,
    iou_matrix,
    matching,
    near_pairs,
    overlapping_pairs,
    sure_overlap,
)
from assignbench.core.overlap import BLOCK
from assignbench.core.priors import pyramid_priors
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


def matrix(targets: Targets, boxes: Tensor) -> Tensor:
    if boxes.ndim == 2:
        return iou_matrix(targets.boxes, boxes)
    return torch.stack(
        [iou_matrix(box[None], boxes[i])[0] for box, i in zip(targets.boxes, targets.image, strict=True)]
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.booleans(), st.floats(-1, 9), st.floats(0, 4))
def test_nothing_that_overlaps_enough_is_missed(seed: int, shared: bool, low: float, more: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = objects(random_boxes(generator, 23, low, low + more), 3)
    boxes = random_boxes(generator, 400 if shared else 1200, low - 1, low + more + 1)
    boxes[:4], boxes[-len(ODD) :] = targets.boxes[:4], ODD
    boxes = boxes if shared else boxes.view(3, 400, 4)
    least = torch.rand(23, generator=generator).clamp(min=1e-3) ** 2
    least[0] = 1.0
    dense = matrix(targets, boxes)
    want = (dense >= least[:, None]).nonzero(as_tuple=True)
    found = overlapping_pairs(targets, boxes, least)
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
        len(overlapping_pairs(targets, priors.boxes, least)[0]),
    )
    assert found <= looked < 30 * found < 0.01 * 300 * len(priors)


@pytest.mark.parametrize("least", [0.0, 1e-9])
def test_any_overlap_at_all(least: float) -> None:
    targets = objects(random_boxes(torch.Generator().manual_seed(2), 9, 2, 8), 1)
    boxes = random_boxes(torch.Generator().manual_seed(3), 500, 1, 9)
    pairs = overlapping_pairs(targets, boxes, torch.full((9,), least))
    dense = matrix(targets, boxes)
    assert torch.equal(torch.stack(pairs[:2])[:, pairs[2] > 0], torch.stack((dense > 0).nonzero(as_tuple=True)))


def test_without_objects_or_boxes() -> None:
    nothing, some = torch.zeros(0, 4), random_boxes(torch.Generator().manual_seed(1), 5, 3, 6)
    for boxes, others in ((nothing, some), (some, nothing), (nothing, nothing)):
        found = overlapping_pairs(objects(boxes, 1), others, torch.full((len(boxes),), 0.5))
        assert [len(part) for part in found] == [0, 0, 0]


@pytest.mark.parametrize("k", [1, 2, 50, 300])
@pytest.mark.parametrize("grid", [True, False])
@pytest.mark.parametrize("head", [Head(), anchor_head()], ids=["point", "anchors"])
def test_a_sure_overlap_is_reached(head: Head, grid: bool, k: int) -> None:
    whole = pyramid_priors(head, 160, 224).padded(torch.tensor([[150, 220], [64, 90]]))
    priors = whole if grid else Priors(whole.boxes, whole.stride, whole.level, extent=whole.extent)
    generator = torch.Generator().manual_seed(k)
    corner = torch.rand(60, 2, generator=generator) * torch.tensor([86.0, 60])
    side = torch.rand(60, 2, generator=generator) ** 3 * (torch.tensor([90.0, 64]) - corner)
    targets = objects(torch.cat((corner, corner + side), 1), 2)
    overlap = iou_matrix(targets.boxes, priors.boxes)
    assert priors.inside is not None
    best = overlap.masked_fill(~priors.inside[targets.image], 0).topk(k, dim=1).values[:, -1]
    sure = sure_overlap(targets, priors, k)
    assert bool((sure <= best).all())
    if k <= 2 or not grid:
        near = (sure >= 0.6 * best).float().mean()  # looking around the centre is looking in the right place
        assert near > 0.9
    assert torch.equal(sure, best) or grid


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
    assert torch.equal(best_overlap(predictions, targets), want)
    monkeypatch.setattr(matching, "CHUNK", 1)
    assert torch.equal(best_overlap(predictions, targets), want)
    monkeypatch.setattr("assignbench.core.overlap.free_to_wait", lambda _: False)  # as on a GPU
    assert torch.equal(best_overlap(predictions, targets), want)


def test_a_predicted_box_that_is_no_number_shows() -> None:
    problem = random_problem(Head(), seed=4, classes=3, counts=(2,))
    boxes = problem.predictions.boxes.detach().clone()
    boxes[0, 7, 1] = NAN
    predictions = type(problem.predictions)(problem.predictions.outputs, boxes, boxes)
    best = best_overlap(predictions, problem.targets)
    assert best[0, 7].isnan()
    assert not best[0, :7].isnan().any()
