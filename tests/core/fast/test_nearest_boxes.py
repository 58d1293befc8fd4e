"""The boxes most like an object's, against loops."""

import pytest
import torch

from assignbench.core import Head, nearest_boxes
from assignbench.core.fast import rows
from assignbench.core.parts import anchor_head
from assignbench.synthetic import random_problem


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
        problem = problem.changed(torch.clone, priors=problem.priors.padded(sizes))
    predicted = problem.predictions.boxes.detach().clone()
    predicted[0, 5] = float("nan")
    predicted[2, 7] = float("inf")
    for boxes in (predicted, problem.priors.boxes):
        for k in (1, 5):
            found = nearest_boxes(problem.targets, boxes, problem.priors, k)
            assert list(zip(*(part.tolist() for part in found), strict=True)) == naive(problem, boxes, k)


def test_fewer_where_there_are_fewer_and_none_of_nobody() -> None:
    problem = random_problem(Head(), seed=1, classes=2, counts=(2,), height=32, width=32)
    objects, locations, _ = nearest_boxes(problem.targets, problem.priors.boxes, problem.priors, 1000)
    assert torch.bincount(objects).tolist() == [len(problem.priors)] * 2
    assert len(locations) == 2 * len(problem.priors)
    empty = random_problem(Head(), seed=1, classes=2, counts=(0,), height=32, width=32)
    assert [len(part) for part in nearest_boxes(empty.targets, empty.priors.boxes, empty.priors, 3)] == [0, 0, 0]
    with pytest.raises(ValueError, match="k must be"):
        nearest_boxes(empty.targets, empty.priors.boxes, empty.priors, 0)
