"""POTO, OTA and Dual against slow readings of their formulas: matrices of each image, loops over pairs, in float64.

Values and gradients of all losses. POTO's matching is SciPy's, OTA's plan is Sinkhorn's on the whole matrix.
"""

from collections.abc import Callable, Mapping

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from assignbench.core import Assigner, Setting, giou, iou, sides
from assignbench.core.assigner import assign_branches
from assignbench.core.parts import PairLoss
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.dual import Dual
from assigners.ota import OTA
from assigners.poto import POTO

CLASSES = 3
FORBIDDEN = 1e6
Scores = dict[tuple[int, int], float]  # object, location → the score to learn, and weight of the box


def inside(box: Tensor, point: Tensor, radius: float = torch.inf, stride: float = 1.0, margin: float = 0.0) -> bool:
    away = (point - (box[:2] + box[2:]) / 2).abs().max()
    return bool(sides(box, point).min() > margin and away < radius * stride)


def slow_poto(problem: Problem) -> Mapping[str, Scores]:
    targets, priors = problem.targets, problem.priors
    probability, boxes = problem.predictions.logits.sigmoid().detach(), problem.predictions.boxes.detach()
    scores: Scores = {}
    for image in range(targets.images):
        own = (targets.image == image).nonzero()[:, 0].tolist()
        quality = torch.full((len(own), len(priors)), -1.0, dtype=torch.float64)
        for row, n in enumerate(own):
            box, label = targets.boxes[n], targets.labels[n]
            for j, point in enumerate(priors.points):
                if inside(box, point, 1.5, float(priors.stride[j])):
                    quality[row, j] = probability[image, j, label] ** 0.2 * iou(boxes[image, j], box) ** 0.8
        rows, columns = linear_sum_assignment(quality.detach().numpy(), maximize=True)
        scores |= {(own[row], j): 1.0 for row, j in zip(rows, columns, strict=True) if quality[row, j] >= 0}
    return {"main": scores}


def focal(p: Tensor, wanted: float) -> Tensor:
    if wanted == 0:
        return 0.75 * p**2 * -torch.log1p(-p)
    return 0.25 * (wanted - p).abs() ** 2 * -(wanted * p.log() + (1 - wanted) * torch.log1p(-p))


def slow_ota(problem: Problem) -> Mapping[str, Scores]:
    targets, priors = problem.targets, problem.priors
    probability, boxes = problem.predictions.logits.sigmoid().detach(), problem.predictions.boxes.detach()
    scores: Scores = {}
    for image in range(targets.images):
        cost, supply, own = [], [], []
        background = focal(probability[image], 0).sum(-1)
        for n in (targets.image == image).nonzero()[:, 0].tolist():
            row, overlaps = torch.full((len(priors),), FORBIDDEN, dtype=torch.float64), []
            label = targets.labels[n]
            for j, point in enumerate(priors.points):
                if inside(targets.boxes[n], point, 2.5, float(priors.stride[j]), 0.01):
                    overlap = iou(boxes[image, j], targets.boxes[n])
                    p = probability[image, j]
                    classes = sum(focal(p[c], float(c == label)) for c in range(CLASSES))
                    row[j] = classes - 1.5 * overlap.clamp(min=2.0**-23).log()
                    overlaps.append(float(overlap))
            if overlaps:
                cost.append(row)
                own.append(n)
                supply.append(max(1, int(sum(sorted(overlaps)[-20:]))))
        if not own:
            continue
        table = torch.stack((*cost, background)).detach()
        demand = torch.tensor([*supply, len(priors) - sum(supply)], dtype=torch.float64)
        u, v = torch.ones(len(table), dtype=torch.float64), torch.ones(len(priors), dtype=torch.float64)
        for _ in range(50):
            v = v - 0.1 * ((u[:, None] + v - table) / 0.1).logsumexp(0)
            u = u + 0.1 * (demand.log() - ((u[:, None] + v - table) / 0.1).logsumexp(1))
        plan = ((u[:, None] + v - table) / 0.1).exp()
        plan = plan / plan.amax(1, keepdim=True)
        for j, row in enumerate(plan.argmax(0).tolist()):
            if row < len(own):
                scores[own[row], j] = 1.0
    return {"main": scores}


def aligned(problem: Problem, k: int) -> Scores:
    targets, priors = problem.targets, problem.priors
    probability, boxes = problem.predictions.logits.sigmoid().detach(), problem.predictions.boxes.detach()
    chosen: dict[tuple[int, int], tuple[float, int, float]] = {}
    for n, (box, label, image) in enumerate(zip(targets.boxes, targets.labels, targets.image.tolist(), strict=True)):
        found = []
        for j, point in enumerate(priors.points):
            overlap = float(iou(boxes[image, j], box))
            if inside(box, point) and overlap > 0:
                found.append((-(float(probability[image, j, label]) ** 0.5) * overlap**6, j, overlap))
        for metric, j, overlap in sorted(found)[:k]:
            if (image, j) not in chosen or overlap > chosen[image, j][2]:
                chosen[image, j] = -metric, n, overlap
    scores = {}
    for (_, j), (metric, n, _) in chosen.items():
        own = [(m, o) for m, other, o in chosen.values() if other == n]
        scores[n, j] = metric / max(m for m, _ in own) * max(o for _, o in own)
    return scores


def slow_dual(problem: Problem) -> Mapping[str, Scores]:
    return {"main": aligned(problem, 1), "one_to_many": aligned(problem.beside["one_to_many"], 13)}


def slow_losses(problem: Problem, scores: Scores) -> dict[str, Tensor]:
    """Focal loss with a score, GIoU, the background of all else, and the IoU output where there is one."""
    targets, predictions = problem.targets, problem.predictions
    probability = predictions.logits.sigmoid()
    taught, box, quality = [torch.zeros(())], [torch.zeros(())], [torch.zeros(())]
    untaught = torch.ones_like(probability)
    for (n, j), score in scores.items():
        image, label = targets.image[n], targets.labels[n]
        taught.append(focal(probability[image, j, label], score))
        box.append(0.25 * score * 5 * (1 - giou(predictions.boxes[image, j], targets.boxes[n])))
        untaught[image, j, label] = 0
        if "iou" in predictions.extras:
            p = predictions.extras["iou"][image, j].sigmoid()
            wanted = iou(predictions.boxes[image, j], targets.boxes[n]).detach()
            quality.append(-0.5 * (wanted * p.log() + (1 - wanted) * (1 - p).log()))
    count = max(1.0, sum(scores.values()))
    losses = {"class": sum(taught), "box": sum(box), "background": (untaught * focal(probability, 0)).sum()}
    if "iou" in predictions.extras:
        losses["iou"] = sum(quality)
    return {name: torch.as_tensor(value) / count for name, value in losses.items()}


CASES: list[tuple[type[Assigner], Callable[[Problem], Mapping[str, Scores]]]] = [
    (POTO, slow_poto),
    (OTA, slow_ota),
    (Dual, slow_dual),
]


@pytest.mark.parametrize(("cls", "slow"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_gradients(cls: type[Assigner], slow: Callable[[Problem], Mapping[str, Scores]], seed: int) -> None:
    assigner = cls(Setting(classes=CLASSES))
    problem = random_problem(
        assigner.head.controlled(),
        seed=seed,
        classes=CLASSES,
        counts=(4, 0, 6),
        height=64,
        width=96,
        dtype=torch.float64,
    )
    with torch.no_grad():
        for one in (problem, *problem.beside.values()):  # boxes near the priors: overlaps of all sizes
            one.raw.regression.mul_(0.3)
    views = problem.branches(PairLoss())
    records = assign_branches(assigner, views)
    sums = []
    for name, scores in slow(problem).items():
        branch = problem.of_branch(name)
        reading = slow_losses(branch, scores)
        fast = objective(records[name], views[name], branch.head.extras)
        assert fast.keys() == reading.keys()
        for term, value in reading.items():
            assert fast[term].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), f"{name} {term}"
        assert len(scores) > 4
        sums.append((sum(fast.values()), sum(reading.values())))
    ours, theirs = (
        torch.autograd.grad(torch.stack([torch.as_tensor(one[side]) for one in sums]).sum(), problem.leaves(),
                            allow_unused=True)
        for side in (0, 1)
    )  # fmt: skip
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-7, atol=1e-10)
