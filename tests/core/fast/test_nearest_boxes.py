"""The boxes most like an object's, against loops."""

import pytest
import torch

from assignbench.core import Head, nearest_boxes
from assignbench.core.fast import nearest_boxes as kernel
from assignbench.core.fast import rows
from assignbench.core.parts import anchor_head
from assignbench.synthetic import Problem, random_problem


def naive(problem, boxes, k):
    priors, targets, found = problem.priors, problem.targets, []
    for n, i in enumerate(targets.image.tolist()):
        own = boxes if boxes.ndim == 2 else boxes[i]
        distance = []
        for j, box in enumerate(own):
            if priors.inside is not None and not priors.inside[i, j]:
                continue
            a, b = box, targets.boxes[n]
            parts = [(a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2, (a[2:] - a[:2]) - (b[2:] - b[:2])]
            length = torch.cat(parts).abs().sum().item()
            if length < float("inf"):
                distance.append((length, j))
        found += [(n, j, rank) for rank, (_, j) in enumerate(sorted(distance)[:k])]
    return found


@pytest.mark.parametrize("chunk", [1, 1 << 17])
@pytest.mark.parametrize("head", [Head(), anchor_head()], ids=["points", "anchors"])
@pytest.mark.parametrize("padded", [False, True])
def test_they_are_the_nearest(monkeypatch: pytest.MonkeyPatch, chunk: int, head: Head, padded: bool) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    problem = random_problem(head, seed=1, classes=2, counts=(3, 0, 4), height=64, width=96, dtype=torch.float64)
    if padded:
        sizes = torch.tensor([[64, 96], [64, 96], [32, 64]])
        problem = problem.padded(sizes)
    predicted = problem.predictions.boxes.detach().clone()
    predicted[0, 5] = float("nan")
    predicted[2, 7] = float("inf")
    for boxes in (predicted, problem.priors.boxes):
        for k in (1, 5):
            found = nearest_boxes(problem.targets, boxes, problem.priors, k)
            assert list(zip(*(part.tolist() for part in found), strict=True)) == naive(problem, boxes, k)


def dense(problem: Problem, boxes: torch.Tensor, k: int) -> list[tuple[int, int, int]]:
    """All distances at once, to the last bit what `nearest_boxes` has to compare."""
    targets, found = problem.targets, []
    own = kernel.coordinates(boxes.expand(targets.images, -1, -1) if boxes.ndim == 2 else boxes)[:, targets.image]
    x, y, w, h = (own - kernel.coordinates(targets.boxes)[..., None]).abs()
    distance = x + y + w + h
    if problem.priors.inside is not None:
        distance[~problem.priors.inside[targets.image]] = torch.inf
    for n, row in enumerate(distance):
        order = row.nan_to_num(nan=torch.inf).argsort(stable=True)[:k]
        found += [(n, j, rank) for rank, j in enumerate(order[row[order].isfinite()].tolist())]
    return found


@pytest.mark.parametrize("head", [Head(size=4.0), anchor_head()], ids=["points", "anchors"])
@pytest.mark.parametrize("side", [1, 3, 8], ids="side {}".format)
@pytest.mark.parametrize("everywhere", [False, True], ids=["in a few tiles", "everywhere"])
def test_tiles_leave_nothing_out(monkeypatch: pytest.MonkeyPatch, head: Head, side: int, everywhere: bool) -> None:
    monkeypatch.setattr(kernel, "SIDE", side)
    monkeypatch.setattr(kernel, "free_to_wait", lambda _: not everywhere)
    problem = random_problem(head, seed=2, classes=2, counts=(5, 0, 20), height=128, width=160)
    problem = problem.padded(torch.tensor([[128, 160], [128, 160], [40, 100]]))
    predicted = problem.predictions.boxes.detach()
    generator = torch.Generator().manual_seed(3)
    ties = (predicted / 8).round() * 8
    shuffled = predicted[:, torch.randperm(predicted.shape[1], generator=generator)]
    same = predicted[:, :1].expand_as(predicted)
    large = predicted * 10 ** (38 * torch.rand(*predicted.shape[:2], 1, generator=generator))
    broken = predicted.masked_fill(torch.rand(predicted.shape, generator=generator) < 0.2, torch.nan)
    nothing = torch.full_like(predicted, torch.inf)
    for boxes in (predicted, problem.priors.boxes, ties, shuffled, same, large, broken, nothing):
        for k in (1, 4, 70):
            found = nearest_boxes(problem.targets, boxes, problem.priors, k)
            assert list(zip(*(part.tolist() for part in found), strict=True)) == dense(problem, boxes, k)


def test_an_object_looks_into_few_tiles() -> None:
    problem = random_problem(Head(size=4.0), seed=2, classes=2, counts=(40,), height=408, width=408)
    tiled = kernel.tiles_of(1, problem.predictions.boxes.detach(), problem.priors)
    wanted = kernel.coordinates(problem.targets.boxes)
    objects, _ = kernel.near_tiles(problem.targets.image, wanted, tiled, 4)
    assert len(tiled) == 49 + 16 + 4 + 1 + 1  # those along the borders are not full
    assert len(objects) < 40 * len(tiled) / 10


def test_fewer_where_there_are_fewer_and_none_of_nobody() -> None:
    problem = random_problem(Head(), seed=1, classes=2, counts=(2,), height=32, width=32)
    objects, locations, _ = nearest_boxes(problem.targets, problem.priors.boxes, problem.priors, 1000)
    assert torch.bincount(objects).tolist() == [len(problem.priors)] * 2
    assert len(locations) == 2 * len(problem.priors)
    empty = random_problem(Head(), seed=1, classes=2, counts=(0,), height=32, width=32)
    assert [len(part) for part in nearest_boxes(empty.targets, empty.priors.boxes, empty.priors, 3)] == [0, 0, 0]
    with pytest.raises(ValueError, match="k must be"):
        nearest_boxes(empty.targets, empty.priors.boxes, empty.priors, 0)
