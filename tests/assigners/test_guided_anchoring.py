"""Guided Anchoring: what its branches learn, worked by hand and read slowly; what is left out at test."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from assignbench.core import Setting, Targets, assign, iou
from assignbench.core.parts import Focal, GuideLocation, GuideShape, anchor_head
from assignbench.core.priors import anchors_beside, pyramid_priors
from assignbench.detector.networks import head_network
from assignbench.detector.objective import objective
from assignbench.detector.postprocess import PostprocessRule, detect
from assignbench.synthetic import Problem, random_problem
from assigners.guided_anchoring import GuidedAnchoring

CLASSES = 3
CORNERS = replace(GuidedAnchoring.presets["mmdet"].head, extras=GuidedAnchoring.head.extras)


def targets_of(*boxes: tuple[float, float, float, float]) -> Targets:
    count = len(boxes)
    zeros = torch.zeros(count, dtype=torch.int64)
    return Targets(torch.tensor(boxes).view(-1, 4), zeros, zeros, 1)


def cells(values: Tensor, rows: int, columns: int, start: int = 0) -> Tensor:
    return values[0, start : start + rows * columns].view(rows, columns)


def test_the_middle_of_an_object_is_one_and_the_ring_around_it_is_ignored() -> None:
    priors = pyramid_priors(CORNERS, 128, 128)
    middle, weight = GuideLocation().targets(targets_of((16.0, 24.0, 48.0, 56.0)), priors)
    # side 32: level 0, cells 2 … 6 by 3 … 7; middle 20 %: round(3.6) … round(4.4); middle 50 %: 3 … 5
    wanted = torch.zeros(16, 16)
    wanted[5, 4] = 1
    assert torch.equal(cells(middle, 16, 16), wanted)
    ring = torch.full((16, 16), 0.1)
    ring[4:7, 3:6] = 0
    ring[5, 4] = 1
    assert torch.equal(cells(weight, 16, 16), ring)
    # the next level: middle 50 % of 1 … 3 by 1.5 … 3.5, halves to even
    above = torch.full((8, 8), 0.1)
    above[2:4, 2:3] = 0
    assert torch.equal(cells(weight, 8, 8, 256), above)
    assert middle.sum() == 1
    assert (weight[0, 320:] == 0.1).all()


@pytest.mark.parametrize(("conflicts", "taught"), [("best", (1.0, 1.0)), ("last", (0.0, 1.0))])
def test_a_middle_in_the_ring_of_another_object(conflicts: str, taught: tuple[float, float]) -> None:
    priors = pyramid_priors(CORNERS, 128, 128)
    location = GuideLocation(conflicts=conflicts)  # type: ignore[arg-type]
    _, weight = location.targets(targets_of((16.0, 24.0, 48.0, 56.0), (24.0, 24.0, 56.0, 56.0)), priors)
    assert (cells(weight, 16, 16)[5, 4].item(), cells(weight, 16, 16)[5, 5].item()) == taught


def test_anchors_beside_are_retinanets() -> None:
    priors = pyramid_priors(CORNERS, 96, 160)
    nine, wanted = anchors_beside(priors, anchor_head()), pyramid_priors(anchor_head(), 96, 160)
    torch.testing.assert_close(nine.boxes, wanted.boxes)
    assert torch.equal(nine.points, wanted.points)
    assert torch.equal(nine.level, wanted.level)
    assert torch.equal(nine.grid.start, wanted.grid.start)
    assert nine.grid.anchors == 9


def slow_shape(problem: Problem) -> Tensor:
    """The shape loss by loops: one image after the other, one location after the other."""
    shape, targets, priors = problem.raw.extras["shape"], problem.targets, problem.priors
    nine = anchors_beside(priors, anchor_head()).boxes.view(len(priors), 9, 4)
    total, count = torch.zeros((), dtype=shape.dtype), 0
    for image in range(targets.images):
        objects = [n for n in range(len(targets)) if targets.image[n] == image]
        overlap = {n: iou(nine, targets.boxes[n]).amax(1) for n in objects}
        costs, negatives = [], 0
        for j in range(len(priors)):
            values = [overlap[n][j].item() for n in objects]
            best = max(values, default=0.0)
            forcing = [n for n in objects if overlap[n][j] == overlap[n].max() and overlap[n][j] >= 0.4]
            owner = objects[values.index(best)] if best >= 0.5 else None
            if forcing:
                owner = max(forcing, key=lambda n, j=j: overlap[n][j].item())
            negatives += owner is None and best < 0.4
            if owner is None:
                continue
            x0, y0, x1, y1 = targets.boxes[owner].tolist()
            cost = torch.zeros((), dtype=shape.dtype)
            for axis, (low, high) in enumerate(((x0, x1), (y0, y1))):
                wanted, d = high - low, abs((low + high) / 2 - priors.points[j, axis].item())
                size = 4 * priors.stride[j] * shape[image, j, axis].exp()
                off = torch.tensor(1 - max((wanted - 2 * d) / (wanted + 2 * d + 1e-3), 0), dtype=shape.dtype)
                unlike = 1 - torch.minimum(wanted / (size + 1e-3), size / (wanted + 1e-3))
                for one in (off, unlike):
                    cost = cost + (one**2 / 0.4 if one < 0.2 else one - 0.1)
            costs.append(cost)
        some = min(len(costs), 128)
        count += max(1, some) + max(1, min(256 - some, negatives))
        if costs:
            total = total + some / len(costs) * torch.stack(costs).sum()
    return total / count


@pytest.mark.parametrize("seed", [0, 1])
def test_the_branches_against_a_slow_reading(seed: int) -> None:
    assigner = GuidedAnchoring(Setting(classes=CLASSES))
    sizes = {"height": 64, "width": 96, "dtype": torch.float64}
    problem = random_problem(assigner.head.controlled(), seed=seed, classes=CLASSES, counts=(3, 0, 2), **sizes)
    view = problem.view()
    losses = objective(assign(assigner, view), view, problem.head.extras)
    slow = slow_shape(problem)
    assert losses["shape"].item() == pytest.approx(slow.item(), rel=1e-9)
    mine, theirs = (torch.autograd.grad(one, problem.raw.extras["shape"])[0] for one in (losses["shape"], slow))
    torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-10)

    middle, weight = GuideLocation().targets(problem.targets, problem.priors)
    p = problem.raw.extras["location"].sigmoid()
    focal = torch.where(middle > 0, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    wanted = (weight * focal).sum() / max(1, p.numel() / 200)
    assert losses["location"].item() == pytest.approx(wanted.item(), rel=1e-6)
    assert Focal().positive_weight == 0.25


def test_guided_anchors_are_squares_until_the_network_says_otherwise() -> None:
    priors = pyramid_priors(GuidedAnchoring.head, 64, 96)
    same = GuideShape().predicted_priors(torch.zeros(1, len(priors), 2), priors)
    torch.testing.assert_close(same[0], priors.boxes)
    twice = GuideShape().predicted_priors(torch.full((1, len(priors), 2), math.log(2)), priors)
    torch.testing.assert_close(twice[0, :, 2:] - twice[0, :, :2], 2 * (priors.boxes[:, 2:] - priors.boxes[:, :2]))


def test_the_network_gives_the_priors_and_no_gradient_goes_through_them() -> None:
    torch.manual_seed(0)
    head = GuidedAnchoring.head.controlled()
    network = head_network(head, CLASSES, 16, 1, deformable=False)
    priors = pyramid_priors(head, 64, 96)
    pyramid = tuple(torch.randn(2, 16, rows, columns) for rows, columns in ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1)))
    raw = network(pyramid, priors)
    assert raw.priors is not None
    assert raw.priors.shape == (2, len(priors), 4)
    assert not raw.priors.requires_grad
    (gradient,) = torch.autograd.grad(raw.logits.sum(), [network.extra_outputs["shape"].weight], allow_unused=True)
    assert gradient is None


def test_locations_that_are_hardly_any_are_left_out_at_test() -> None:
    head = GuidedAnchoring.head.controlled()
    problem = random_problem(head, seed=0, classes=CLASSES, counts=(0,), height=64, width=64)
    sizes, rule = torch.tensor([[64, 64]]), PostprocessRule()
    with torch.no_grad():
        problem.raw.extras["location"].fill_(-4.0)
    assert len(detect(problem.predictions, problem.priors, sizes, head.extras, rule)[0].scores) > 0
    with torch.no_grad():
        problem.raw.extras["location"].fill_(-5.0)
    assert len(detect(problem.predictions, problem.priors, sizes, head.extras, rule)[0].scores) == 0


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="iou must lie in"):
        GuidedAnchoring(Setting(classes=1), iou=0.0)
