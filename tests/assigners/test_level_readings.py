"""Uniform matching, FoveaBox and SAPD against slow readings of their formulas: loops over objects and locations.

Values and gradients, on random batches, in float64.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from assignbench.core import Assigner, Setting, assign, iou
from assignbench.core.parts import PairLoss
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.fovea import FoveaBox
from assigners.sapd import SAPD
from assigners.uniform import Uniform

CLASSES, HEIGHT, WIDTH = 3, 64, 96
Place = tuple[int, int]  # image, location


@dataclass
class Reading:
    """Who teaches what, in words."""

    classes: dict[Place, tuple[int, float]] = field(default_factory=dict)  # the object that is learned, and its weight
    boxes: list[tuple[Place, int, float]] = field(default_factory=list)
    ignored: set[Place] = field(default_factory=set)
    no_class: set[tuple[int, int, int]] = field(default_factory=set)  # image, location, class that is not taught
    share: dict[Place, float] = field(default_factory=dict)  # of the background of other classes; 1 where not listed

    def losses(self, problem: Problem, loss: PairLoss, classes: float, boxes: float) -> dict[str, Tensor]:
        """All terms, entry by entry."""
        probability = problem.predictions.logits.sigmoid()
        view = problem.view(loss)
        kinds, zero = loss.classes, probability.sum() * 0
        own, others = [zero], [zero]
        for i in range(probability.shape[0]):
            for j in range(probability.shape[1]):
                learned, weight = self.classes.get((i, j), (None, 0.0))
                label = None if learned is None else int(problem.targets.labels[learned])
                for c in range(CLASSES):
                    p = probability[i, j, c]
                    if c == label:
                        own.append(weight * kinds.positive_weight * (1 - p) ** kinds.gamma * -p.log())
                    elif (i, j) not in self.ignored and (i, j, c) not in self.no_class:
                        share = self.share.get((i, j), 1.0)
                        others.append(share * kinds.negative_weight * p**kinds.gamma * -(1 - p).log())
        costs = [zero]
        for (_, j), n, weight in self.boxes:
            costs.append(weight * loss.weight * view(torch.tensor([n]), torch.tensor([j])).box_part[0])
        return {
            "class": torch.stack(own).sum() / max(1.0, classes),
            "background": torch.stack(others).sum() / max(1.0, classes),
            "box": torch.stack(costs).sum() / max(1.0, boxes),
        }


def sides_of(problem: Problem, n: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = problem.targets.boxes[n].tolist()
    return x0, y0, x1, y1


def size_of(problem: Problem, n: int) -> float:
    x0, y0, x1, y1 = sides_of(problem, n)
    return (x1 - x0) * (y1 - y0)


def images_of(problem: Problem) -> list[int]:
    return problem.targets.image.tolist()


def slow_uniform(assigner: Uniform, problem: Problem, loss: PairLoss, _: float) -> dict[str, Tensor]:
    priors, targets, predicted = problem.priors, problem.targets, problem.predictions.boxes.detach()

    def apart(box: Tensor, n: int) -> float:
        def numbers(one: Tensor) -> list[float]:
            x0, y0, x1, y1 = one.tolist()
            return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]

        return sum(abs(a - b) for a, b in zip(numbers(box), numbers(targets.boxes[n]), strict=True))

    reading = Reading()
    written: list[tuple[int, int, int, Place, float]] = []  # rank, kind, object, place, IoU of the anchor
    for n, i in enumerate(images_of(problem)):
        for kind, boxes in enumerate((predicted[i], priors.boxes)):
            order = sorted(range(len(priors)), key=lambda j, boxes=boxes, n=n: (apart(boxes[j], n), j))
            for rank, j in enumerate(order[: assigner.k]):
                written.append((rank, kind, n, (i, j), iou(priors.boxes[j], targets.boxes[n]).item()))
    claimed = {place for *_, place, _ in written}
    owner: dict[Place, int] = {}
    if assigner.conflicts == "best":
        good = [one for one in written if one[4] >= assigner.positive_iou]
        owner = {place: n for *_, n, place, _ in sorted(good, key=lambda one: (one[4], -one[2]))}
    else:
        for one in sorted(written):
            owner.pop(one[3], None)
            if one[4] >= assigner.positive_iou:
                owner[one[3]] = one[2]
    reading.classes = {place: (n, 1.0) for place, n in owner.items()}
    reading.boxes = [(place, n, 1.0) for *_, n, place, overlap in written if overlap >= assigner.positive_iou]
    near = {
        (i, j)
        for n, i in enumerate(images_of(problem))
        for j in range(len(priors))
        if iou(predicted[i, j], targets.boxes[n]) > assigner.negative_iou
    }
    reading.ignored = (near | claimed) - set(owner)
    counts = [sum(place[0] == i for place in owner) for i in range(targets.images)]
    count = sum(counts) if assigner.normaliser == "batch" else sum(max(1, one) for one in counts)
    return reading.losses(problem, loss, count, count)


def slow_fovea(assigner: FoveaBox, problem: Problem, loss: PairLoss, _: float) -> dict[str, Tensor]:
    grid, owner = problem.priors.grid, {}
    order = sorted(range(len(problem.targets)), key=lambda n: (-size_of(problem, n), -n))
    if assigner.ties == "last":
        order = sorted(range(len(problem.targets)), key=lambda n: (-size_of(problem, n), n))
    for n in order:  # the last one written has a location
        x0, y0, x1, y1 = sides_of(problem, n)
        x, y, i = (x0 + x1) / 2, (y0 + y1) / 2, int(problem.targets.image[n])
        for level, (rows, columns) in enumerate(zip(grid.rows.tolist(), grid.columns.tolist(), strict=True)):
            stride = 8 * 2**level
            side, scale = math.sqrt(size_of(problem, n)), assigner.base * stride
            if (side < scale / assigner.overlap and level > 0) or (side > scale * assigner.overlap and level < 4):
                continue

            def ends(middle: float, length: float, cells: int, stride: int = stride) -> range:
                low = (middle - length * assigner.fovea / 2) / stride - 0.5
                high = (middle + length * assigner.fovea / 2) / stride - 0.5
                first, last = (min(max(end, 0), cells - 1) for end in (math.ceil(low), math.floor(high)))
                return range(first, last + 1)

            for row in ends(y, y1 - y0, rows):
                for column in ends(x, x1 - x0, columns):
                    owner[i, int(grid.start[level]) + row * columns + column] = n
    reading = Reading(classes={place: (n, 1.0) for place, n in owner.items()})
    reading.boxes = [(place, n, 1.0) for place, n in owner.items()]
    more = problem.targets.images if assigner.normaliser == "local" else 0
    return reading.losses(problem, loss, len(owner) + more, len(owner))


def slow_features(problem: Problem, n: int, size: int = 7) -> Tensor:
    x0, y0, x1, y1 = sides_of(problem, n)
    found = []
    for level, maps in enumerate(problem.pyramid):
        one, stride = maps[int(problem.targets.image[n])], 8 * 2**level
        rows, columns = one.shape[1:]
        for row in range(size):
            for column in range(size):
                x = min(max((x0 + (column + 0.5) / size * (x1 - x0)) / stride - 0.5, 0), columns - 1)
                y = min(max((y0 + (row + 0.5) / size * (y1 - y0)) / stride - 0.5, 0), rows - 1)
                value = torch.zeros_like(one[:, 0, 0])
                for u in range(rows):
                    for v in range(columns):
                        weight = max(0.0, 1 - abs(u - y)) * max(0.0, 1 - abs(v - x))
                        if weight:
                            value = value + weight * one[:, u, v]
                found.append(value)
    cells = torch.stack(found).view(len(problem.pyramid), size, size, -1)
    return cells.permute(0, 3, 1, 2).flatten(0, 1)


def slow_sapd(assigner: SAPD, problem: Problem, loss: PairLoss, progress: float) -> dict[str, Tensor]:
    priors, targets, view = problem.priors, problem.targets, problem.view(loss)
    probability, kinds = problem.predictions.logits.detach().sigmoid(), loss.classes
    owner: dict[Place, int] = {}
    for n in sorted(range(len(targets)), key=lambda n: (-size_of(problem, n), -n)):
        x0, y0, x1, y1 = sides_of(problem, n)
        x, y, i = (x0 + x1) / 2, (y0 + y1) / 2, int(targets.image[n])
        for j, (px, py) in enumerate(priors.points.tolist()):
            half = priors.stride[j].item() / 2
            if (
                abs(px - x) < (x1 - x0) / 2 * assigner.core + half
                and abs(py - y) < (y1 - y0) / 2 * assigner.core + half
            ):
                owner[i, j] = n

    def cost(place: Place, n: int) -> float:
        every = kinds.negative_weight * probability[place] ** 2 * -(1 - probability[place]).log()
        label, p = int(targets.labels[n]), probability[place][int(targets.labels[n])]
        box = view(torch.tensor([n]), torch.tensor([place[1]])).box_part.item()
        own = kinds.positive_weight * (1 - p) ** 2 * -p.log()
        return (every.sum() - every[label] + own).item() + loss.weight * box

    reading, surprises, total = Reading(), [], 0.0
    for n in range(len(targets)):
        mine = [place for place, one in owner.items() if one == n]
        levels: dict[int, list[float]] = {}
        for place in mine:
            levels.setdefault(int(priors.level[place[1]]), []).append(cost(place, n))
        chances = assigner.selection(slow_features(problem, n)[None])[0].softmax(0)
        best = min(levels, key=lambda level: (sum(levels[level]) / len(levels[level]), level), default=None)
        if best is not None:
            surprises.append(-chances[best].log())
        weights = {best: 1.0}
        if progress >= assigner.soft_from:
            top = sorted(range(5), key=lambda level: (-chances[level].item(), level))[: assigner.levels]
            weights = {level: chances[level].item() for level in top}
        x0, y0, x1, y1 = sides_of(problem, n)
        for place in mine:
            level, (px, py) = int(priors.level[place[1]]), priors.points[place[1]].tolist()
            reading.no_class.add((*place, int(targets.labels[n])))
            if level in weights:
                near = max(0, min(px - x0, x1 - px)) * max(0, min(py - y0, y1 - py))
                far = max(px - x0, x1 - px) * max(py - y0, y1 - py)
                weight = (near / far) ** assigner.eta * weights[level] * (near > 0)
                reading.classes[place], reading.share[place] = (n, weight), weight
                reading.boxes.append((place, n, weight))
                total += weight
    found = reading.losses(problem, loss, total, total)
    mean = torch.stack(surprises).mean() if surprises else torch.tensor(0.0, dtype=torch.float64)
    return {**found, "selection": 0.1 * mean}


CASES: list[tuple[type[Assigner], Callable[..., dict[str, Tensor]], Mapping[str, Any], float]] = [
    (Uniform, slow_uniform, {}, 0.0),
    (Uniform, slow_uniform, {"conflicts": "last", "normaliser": "image"}, 0.0),
    (Uniform, slow_uniform, {"k": 2, "positive_iou": 0.4, "negative_iou": 0.3}, 0.0),
    (FoveaBox, slow_fovea, {}, 0.0),
    (FoveaBox, slow_fovea, {"ties": "last"}, 0.0),
    (FoveaBox, slow_fovea, {"fovea": 0.8, "overlap": 3.0, "normaliser": "local"}, 0.0),
    (SAPD, slow_sapd, {}, 0.2),
    (SAPD, slow_sapd, {}, 0.5),
    (SAPD, slow_sapd, {"core": 0.5, "eta": 0.5, "levels": 2, "soft_from": 0.0}, 0.0),
]


@pytest.mark.parametrize(("cls", "slow", "options", "progress"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_gradients(
    cls: type[Assigner],
    slow: Callable[..., dict[str, Tensor]],
    options: Mapping[str, Any],
    progress: float,
    seed: int,
) -> None:
    loss = PairLoss()
    torch.manual_seed(seed)
    assigner = cls(Setting(classes=CLASSES), **options).double()
    problem = random_problem(
        cls.head.controlled(),
        seed=seed,
        classes=CLASSES,
        counts=(3, 0, 2),
        height=HEIGHT,
        width=WIDTH,
        dtype=torch.float64,
    )
    targets = problem.targets
    targets.boxes[3] = targets.boxes[4]  # two equal objects, of different classes
    targets.labels[3], targets.labels[4] = 0, 1
    with torch.no_grad():  # good boxes at some locations, so that every branch is taken
        problem.raw.regression.mul_(0.3)
    leaves = [*problem.leaves(), *assigner.parameters()]
    view = problem.view(loss)
    fast = dict(objective(assign(assigner, view, progress), view, problem.head.extras))
    reading = slow(assigner, problem, loss, progress)
    assert fast.keys() == reading.keys()
    for name, value in reading.items():
        assert fast[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), name
    gradients = torch.autograd.grad(torch.stack(list(fast.values())).sum(), leaves)
    slow_gradients = torch.autograd.grad(torch.stack(list(reading.values())).sum(), leaves, allow_unused=True)
    for one, other in zip(gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-7, atol=1e-10)
