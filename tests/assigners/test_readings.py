"""Strategies against slow readings of their formulas: loops over objects and locations.

Values and gradients, on random batches, in float64.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from assignbench.core import Assigner, Setting, assign, giou, iou, sides
from assignbench.core.parts import PairLoss, QualityFocal
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.ddod import DDOD
from assigners.dw import DW
from assigners.freeanchor import FreeAnchor
from assigners.fsaf import FSAF
from assigners.noisyanchor import NoisyAnchor
from assigners.paa import PAA
from assigners.simota import SimOTA
from assigners.soft_label import SoftLabel
from assigners.tal import TAL

CLASSES = 3


def ours(assigner: Assigner, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    view = problem.view(loss)
    return dict(objective(assign(assigner, view), view, problem.head.extras))


def negatives(probability: Tensor, discount: Tensor, loss: PairLoss) -> Tensor:
    q = probability * discount
    return loss.classes.negative_weight * (q**2 * -torch.log1p(-q)).sum()


def slow_autoassign(assigner: AutoAssign, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets = problem.predictions, problem.priors, problem.targets
    probability = predictions.logits.sigmoid()
    bags, masses, discount = [], [], torch.ones_like(probability)
    mass_of_image = [torch.tensor(0.0, dtype=torch.float64)] * targets.images
    for n, (box, label, image) in enumerate(zip(targets.boxes, targets.labels, targets.image, strict=True)):
        confidence, gaussian, sharp, places = [], [], [], []
        for j, point in enumerate(priors.points):
            if sides(box, point).min() <= 0:
                continue
            places.append(j)
            d = (point - (box[:2] + box[2:]) / 2) / priors.stride[j]
            exponent = -((d - assigner.mu[label]) ** 2) / (2 * assigner.sigma[label] ** 2)
            gaussian.append(exponent.exp().prod())
            location = (-5 * (1 - giou(predictions.boxes[image, j], box))).exp()
            confidence.append(probability[image, j, label] * location)
            own = targets.boxes[targets.image == image]
            best = max(iou(predictions.boxes[image, j].detach(), other).item() for other in own)
            sharp.append(1 / max(1 - best, 1e-12))
        if not places:
            bags.append(torch.tensor(100.0, dtype=torch.float64))
            continue
        p, g = torch.stack(confidence), torch.stack(gaussian)
        w = (p / assigner.tau).exp() * g
        bags.append(-((w / w.sum()) * p).sum().log())
        masses.append(g.sum().detach())
        mass_of_image[image] = mass_of_image[image] + g.sum()
        low, high = min(sharp), max(sharp)
        for j, value in zip(places, sharp, strict=True):
            factor = 1 - (value - low + 1e-12) / (high - low + 1e-12)
            discount[image, j, label] = min(discount[image, j, label].item(), factor)
        del n
    count = torch.bincount(targets.image, minlength=targets.images)
    center = [count[i] / mass_of_image[i] if mass_of_image[i] > 0 else torch.tensor(0.0) for i in range(targets.images)]
    return {
        "bag": loss.weight * torch.stack(bags).sum() / max(1, len(targets)),
        "background": negatives(probability, discount, loss) / max(1.0, sum(masses).item()),
        "center": 0.75 * torch.stack(center).mean(),
    }


def slow_freeanchor(assigner: FreeAnchor, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets = problem.predictions, problem.priors, problem.targets
    probability = predictions.logits.sigmoid()
    bags, chance = [], torch.zeros_like(probability)
    for box, label, image in zip(targets.boxes, targets.labels, targets.image, strict=True):
        overlaps = [iou(prior, box).item() for prior in priors.boxes]
        order = sorted(range(len(overlaps)), key=lambda j: (-overlaps[j], j))[: assigner.k]
        p = torch.stack(
            [probability[image, j, label] * (-5 * (1 - giou(predictions.boxes[image, j], box))).exp() for j in order]
        )
        w = 1 / (1 - p)
        bags.append(-((w / w.sum()) * p).sum().log())
        reached = [iou(predicted.detach(), box).item() for predicted in predictions.boxes[image]]
        top = max(reached)
        for j, value in enumerate(reached):
            if value > 0.6:
                share = min(1.0, max(0.0, (value - 0.6) / (top - 0.6)))
                chance[image, j, label] = max(chance[image, j, label].item(), share)
    return {
        "bag": loss.weight * torch.stack(bags).sum() / len(targets),
        "background": negatives(probability, 1 - chance, loss) / (assigner.k * len(targets)),
    }


def slow_dynamic_k(problem: Problem, candidate: Tensor, cost: Callable[[int, int], float], most: int) -> dict[int, int]:
    """Image · locations + location → object: SimOTA's dynamic k as it is told, one entry at a time."""
    targets, length, taken = problem.targets, len(problem.priors), {}
    for image in range(targets.images):
        places = [j for j in range(length) if candidate[image, j]]
        mine = [n for n in range(len(targets)) if targets.image[n] == image]
        chosen: dict[int, list[int]] = {}
        for n in mine:
            overlaps = [iou(problem.predictions.boxes[image, j].detach(), targets.boxes[n]).item() for j in places]
            k = max(1, int(sum(sorted(overlaps, reverse=True)[:most])))
            for j in sorted(places, key=lambda j, n=n: (cost(n, j), j))[:k]:
                chosen.setdefault(j, []).append(n)
        for j, several in chosen.items():
            rivals = mine if len(several) > 1 else several
            taken[image * length + j] = min(rivals, key=lambda n, j=j: (cost(n, j), n))
    return taken


def slow_focal(problem: Problem, taken: dict[int, int], loss: PairLoss, *, weighted: bool) -> dict[str, Tensor]:
    """Focal and GIoU of pairs whose class score is their overlap."""
    predictions, targets, length = problem.predictions, problem.targets, len(problem.priors)
    probability = predictions.logits.sigmoid()
    discount, zero = torch.ones_like(probability), torch.tensor(0.0, dtype=torch.float64)
    classes, boxes, total = zero, zero, 0.0
    for place, n in taken.items():
        image, j, label = place // length, place % length, targets.labels[n]
        q = iou(predictions.boxes[image, j].detach(), targets.boxes[n])
        p = probability[image, j, label]
        classes = classes - (q - p) ** 2 * (q * p.log() + (1 - q) * (1 - p).log())
        boxes = boxes + (q if weighted else 1.0) * 5 * (1 - giou(predictions.boxes[image, j], targets.boxes[n]))
        discount[image, j, label] = 0
        total += q.item() if weighted else 1.0
    total = max(1.0, total)
    return {
        "class": 0.25 * classes / total,
        "box": loss.weight * boxes / total,
        "background": negatives(probability, discount, loss) / total,
    }


def slow_simota(assigner: SimOTA, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets = problem.predictions, problem.priors, problem.targets
    objectness = predictions.extras["objectness"]
    probability = (predictions.logits.sigmoid() * objectness.sigmoid()[..., None]).sqrt().detach()
    center = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2

    def inside(n: int, j: int) -> bool:
        return bool(sides(targets.boxes[n], priors.points[j]).min() > 0)

    def central(n: int, j: int) -> bool:
        return bool((priors.points[j] - center[n]).abs().max() < assigner.radius * priors.stride[j])

    def cost(n: int, j: int) -> float:
        image, wanted = targets.image[n], torch.zeros(CLASSES, dtype=torch.float64)
        wanted[targets.labels[n]] = 1
        entropy = torch.nn.functional.binary_cross_entropy(probability[image, j], wanted, reduction="sum")
        overlap = iou(predictions.boxes[image, j].detach(), targets.boxes[n])
        far = 0 if inside(n, j) and central(n, j) else 1e5
        return (entropy - 3 * (overlap + 1e-7).log() + far).item()

    candidate = torch.zeros(targets.images, len(priors), dtype=torch.bool)
    for n in range(len(targets)):
        for j in range(len(priors)):
            candidate[targets.image[n], j] |= inside(n, j) or central(n, j)
    taken = slow_dynamic_k(problem, candidate, cost, assigner.candidates)
    there = torch.zeros_like(objectness)
    for place in taken:
        there.view(-1)[place] = 1
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(objectness, there, reduction="sum")
    return {**slow_focal(problem, taken, loss, weighted=False), "objectness": entropy / max(1, len(taken))}


def slow_soft_label(assigner: SoftLabel, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets = problem.predictions, problem.priors, problem.targets

    def cost(n: int, j: int) -> float:
        logits = predictions.logits[targets.image[n], j].detach()
        overlap = iou(predictions.boxes[targets.image[n], j].detach(), targets.boxes[n])
        wanted = torch.zeros(CLASSES, dtype=torch.float64)
        wanted[targets.labels[n]] = overlap
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        center = (targets.boxes[n, :2] + targets.boxes[n, 2:]) / 2
        distance = (priors.points[j] - center).norm() / priors.stride[j]
        focal = ((wanted - logits.sigmoid()) ** 2 * entropy).sum()
        return (focal - 3 * (overlap + 1e-7).log() + 10 ** (distance - 3)).item()

    candidate = torch.zeros(targets.images, len(priors), dtype=torch.bool)
    for n in range(len(targets)):
        candidate[targets.image[n]] |= sides(targets.boxes[n], priors.points).amin(-1) > 0
    taken = slow_dynamic_k(problem, candidate, cost, assigner.candidates)
    return slow_focal(problem, taken, loss, weighted=True)


def slow_hard(
    problem: Problem, loss: PairLoss, owner: dict[tuple[int, int], int], ignored: set[tuple[int, int, int]]
) -> dict[str, Tensor]:
    """Losses of a hard assignment, before any part is divided, and 1 − GIoU of every pair."""
    probability, targets = problem.predictions.logits.sigmoid(), problem.targets
    every = torch.ones_like(probability)
    positive, boxes = [], {}
    for (image, j), n in owner.items():
        label = int(targets.labels[n])
        p = probability[image, j, label]
        positive.append(loss.classes.positive_weight * (1 - p) ** 2 * -p.log())
        every[image, j, label] = 0
        boxes[image, j] = loss.weight * 5 * (1 - giou(problem.predictions.boxes[image, j], targets.boxes[n]))
    for image, j, label in ignored:
        every[image, j, label] = 0
    background = (every * probability**2 * -torch.log1p(-probability)).sum() * loss.classes.negative_weight
    zero = probability.new_zeros(1)
    return {"class": torch.stack([*positive, zero[0]]).sum(), "background": background, "boxes": boxes}  # type: ignore[dict-item]


def charge(problem: Problem, loss: PairLoss, n: int, j: int, ignored: set[tuple[int, int, int]]) -> float:
    """Focal loss of all classes of a location that learns object n, and its box part."""
    image, label = int(problem.targets.image[n]), int(problem.targets.labels[n])
    total = loss.weight * 5 * (1 - giou(problem.predictions.boxes[image, j], problem.targets.boxes[n])).item()
    for other, p in enumerate(problem.predictions.logits[image, j].sigmoid().tolist()):
        if other == label:
            total += loss.classes.positive_weight * (1 - p) ** 2 * -math.log(p)
        elif (image, j, other) not in ignored:
            total += loss.classes.negative_weight * p**2 * -math.log1p(-p)
    return total


def slow_fsaf(assigner: FSAF, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    priors, targets = problem.priors, problem.targets
    cores: dict[tuple[int, int], list[int]] = {}
    ignored = set()
    for n, box in enumerate(targets.boxes.tolist()):
        image, label = int(targets.image[n]), int(targets.labels[n])
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        for j, (px, py) in enumerate(priors.points.tolist()):
            half, share = priors.stride[j].item() / 2, {}
            for scale in (assigner.core, assigner.ring):
                reach_x, reach_y = (box[2] - box[0]) / 2 * scale, (box[3] - box[1]) / 2 * scale
                width = min(px + half, x + reach_x) - max(px - half, x - reach_x)
                height = min(py + half, y + reach_y) - max(py - half, y - reach_y)
                share[scale] = max(0, width) * max(0, height) / (2 * half) ** 2
            if share[assigner.core] > 0.01 and box[0] < px < box[2] and box[1] < py < box[3]:
                cores.setdefault((image, j), []).append(n)
            elif share[assigner.ring] > 0.01:
                ignored.add((image, j, label))
    size = [(box[2] - box[0]) * (box[3] - box[1]) for box in targets.boxes.tolist()]
    won = {place: min(objects, key=lambda n: (size[n], n)) for place, objects in cores.items()}
    for (image, j), objects in cores.items():
        ignored |= {(image, j, int(targets.labels[n])) for n in objects if n != won[image, j]}
    owner = {}
    for n in range(len(targets)):
        cells: dict[int, list[int]] = {}
        for (_, j), winner in won.items():
            if winner == n:
                cells.setdefault(int(priors.level[j]), []).append(j)
        mean = {
            level: sum(charge(problem, loss, n, j, ignored) for j in own) / len(own) for level, own in cells.items()
        }
        best = min(mean, key=lambda level: (mean[level], level), default=None)
        image, label = int(targets.image[n]), int(targets.labels[n])
        for level, own in cells.items():
            for j in own:
                if level == best:
                    owner[image, j] = n
                else:
                    ignored.add((image, j, label))
    found = slow_hard(problem, loss, owner, ignored)
    count = max(1, len(owner))
    boxes: dict[tuple[int, int], Tensor] = found.pop("boxes")  # type: ignore[assignment]
    return {name: value / count for name, value in found.items()} | {
        "box": torch.stack(list(boxes.values())).sum() / count
    }


def slow_paa(assigner: PAA, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    priors, targets = problem.priors, problem.targets
    overlaps = [[iou(prior, box).item() for prior in priors.boxes] for box in targets.boxes]
    owner: dict[tuple[int, int], int] = {}
    for image in range(targets.images):
        mine = [n for n in range(len(targets)) if targets.image[n] == image]
        for j in range(len(priors)):
            forcing = [n for n in mine if overlaps[n][j] == max(overlaps[n]) > 0]
            near = forcing or [n for n in mine if overlaps[n][j] >= assigner.least_iou]
            if near:
                owner[image, j] = max(near, key=lambda n: (overlaps[n][j], -n))
    positive = {}
    for n in range(len(targets)):
        pooled = []
        for level in range(5):
            own = [j for (_, j), winner in owner.items() if winner == n and priors.level[j] == level]
            pooled += sorted((charge(problem, loss, n, j, set()), j) for j in own)[: assigner.k]
        pooled.sort()
        low, density = slow_mixture([e for e, _ in pooled])
        if len(pooled) < 2 or not any(low):
            chosen = pooled
        else:
            top = max((i for i in range(len(pooled)) if low[i]), key=lambda i: (density[i], -i))
            chosen = [one for i, one in enumerate(pooled) if low[i] and i <= top]
        positive |= {(int(targets.image[n]), j): n for _, j in chosen}
    found = slow_hard(problem, loss, positive, set())
    boxes: dict[tuple[int, int], Tensor] = found.pop("boxes")  # type: ignore[assignment]
    quality = {place: iou(problem.predictions.boxes[place].detach(), targets.boxes[n]) for place, n in positive.items()}
    logits = problem.predictions.extras["iou"]
    entropy = [
        -(q * torch.nn.functional.logsigmoid(logits[place]) + (1 - q) * torch.nn.functional.logsigmoid(-logits[place]))
        for place, q in quality.items()
    ]
    count = max(1, len(positive))
    return {name: value / count for name, value in found.items()} | {
        "box": torch.stack([quality[place] * boxes[place] for place in positive]).sum()
        / max(1.0, torch.stack(list(quality.values())).sum().item()),
        "iou": 0.5 * torch.stack(entropy).sum() / count,
    }


def slow_mixture(values: list[float]) -> tuple[list[bool], list[float]]:
    """Two normal distributions by EM, value by value; see `core.fast.mixture`."""
    little = 10 * torch.finfo(torch.float64).eps
    share, mean, variance = [0.5, 0.5], [min(values), max(values)], [1.0, 1.0]

    def joint(x: float) -> list[float]:
        return [
            math.log(w) - 0.5 * math.log(2 * math.pi * v) - (x - m) ** 2 / (2 * v)
            for w, m, v in zip(share, mean, variance, strict=True)
        ]

    def log_density(x: float) -> float:
        high = max(joint(x))
        return high + math.log(sum(math.exp(each - high) for each in joint(x)))

    before = -math.inf
    for _ in range(100):
        bound = sum(log_density(x) for x in values) / len(values)
        belongs = [[math.exp(each - log_density(x)) for each in joint(x)] for x in values]
        mass = [sum(row[c] for row in belongs) + little for c in (0, 1)]
        mean = [sum(row[c] * x for row, x in zip(belongs, values, strict=True)) / mass[c] for c in (0, 1)]
        square = [sum(row[c] * x * x for row, x in zip(belongs, values, strict=True)) / mass[c] for c in (0, 1)]
        variance = [square[c] - mean[c] ** 2 + 1e-6 for c in (0, 1)]
        share = [mass[c] / sum(mass) for c in (0, 1)]
        if abs(bound - before) < 1e-3:
            break
        before = bound
    return [joint(x)[0] >= joint(x)[1] for x in values], [log_density(x) for x in values]


def slow_dw(assigner: DW, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets = problem.predictions, problem.priors, problem.targets
    probability = predictions.logits.sigmoid()
    positive, negative = [torch.tensor(0.0, dtype=torch.float64)], torch.ones_like(probability)
    for box, label, image in zip(targets.boxes, targets.labels, targets.image, strict=True):
        places = [j for j, point in enumerate(priors.points) if sides(box, point).min() > 0]
        costs, likely, central, poor = [], [], [], []
        for j in places:
            cost = -probability[image, j, label].log() + 5 * (1 - giou(predictions.boxes[image, j], box))
            d = (priors.points[j] - (box[:2] + box[2:]) / 2) / priors.stride[j]
            costs.append(cost)
            likely.append(math.exp(-cost.item()))
            central.append(math.exp(-d.square().sum().item() / (2 * assigner.sigma**2)))
            poor.append((1 - iou(predictions.boxes[image, j].detach(), box).item() ** 2) / 0.75)
        total = max(1e-12, sum(math.exp(3 * p) * p * g for p, g in zip(likely, central, strict=True)))
        for j, cost, p, g, t in zip(places, costs, likely, central, poor, strict=True):
            positive.append(math.exp(5 * p) * p * g / total * cost)
            y = 1.0 if t > 1 else (t - min(poor) + 1e-12) / (min(1, max(poor)) - min(poor) + 1e-12)
            negative[image, j, label] = min(negative[image, j, label].item(), y)
    background = (negative * probability**2 * -torch.log1p(-probability)).sum()
    return {
        "bag": loss.weight * torch.stack(positive).sum() / max(1, len(targets)),
        "background": loss.classes.negative_weight * background / max(1.0, (1 - negative).sum().item()),
    }


def slow_ddod(assigner: DDOD, problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets = problem.predictions, problem.priors, problem.targets
    probability, boxes = predictions.logits.sigmoid(), predictions.boxes
    owners = []
    for alpha in (assigner.class_alpha, assigner.box_alpha):
        owner: dict[tuple[int, int], tuple[float, int]] = {}
        for n, (box, label, image) in enumerate(zip(targets.boxes, targets.labels, targets.image, strict=True)):
            far = (priors.points - (box[:2] + box[2:]) / 2).square().sum(-1).sqrt().tolist()
            near: list[int] = []
            for level in range(5):
                own = [j for j in range(len(far)) if priors.level[j] == level]
                near += sorted(own, key=lambda j: (far[j], j))[: assigner.k]
            fit = {j: probability[image, j, label].item() ** (1 - alpha) * iou(boxes[image, j], box).item() ** alpha
                   for j in near}  # fmt: skip
            q = torch.tensor(list(fit.values()), dtype=torch.float64)
            inside = [j for j in near if sides(box, priors.points[j]).min() > 0.01]
            chosen = [j for j in inside if fit[j] >= (q.mean() + q.std()).item()]
            chosen = chosen or [j for j in inside if fit[j] == max(fit[one] for one in inside)]
            for j in chosen:
                if fit[j] > owner.get((int(image), j), (-1.0, -1))[0]:
                    owner[int(image), j] = fit[j], n
        owners.append(owner)
    counts = torch.zeros(targets.images, 5, dtype=torch.float64)
    weights = []
    for owner in owners:
        for image, j in owner:
            counts[image, priors.level[j]] += 1
        low, high = counts.amin(1, keepdim=True), counts.amax(1, keepdim=True)
        weights.append((2 - (counts - low) / (high - low + 1e-10))[:, priors.level])
    background = weights[0][..., None] * probability**2 * -torch.log1p(-probability)
    learned, box_sum, overlaps = [torch.zeros(3, dtype=torch.float64).sum()], [], []
    for (image, j), (_, n) in owners[0].items():
        p = probability[image, j, targets.labels[n]]
        learned.append(weights[0][image, j] * (1 - p) ** 2 * -p.log())
        background[image, j, targets.labels[n]] = 0
    for (image, j), (_, n) in owners[1].items():
        box_sum.append(weights[1][image, j] * 5 * (1 - giou(boxes[image, j], targets.boxes[n])))
        u, z = iou(boxes[image, j], targets.boxes[n]).detach(), predictions.extras["iou"][image, j]
        overlaps.append(weights[1][image, j] * -(u * z.sigmoid().log() + (1 - u) * (-z).sigmoid().log()))
    of_class, of_box = (max(1, len(owner)) for owner in owners)
    return {
        "class": loss.classes.positive_weight * torch.stack(learned).sum() / of_class,
        "box": loss.weight * torch.stack(box_sum).sum() / of_box,
        "iou": torch.stack(overlaps).sum() / of_box,
        "background": loss.classes.negative_weight * background.sum() / of_class,
    }


CASES: list[tuple[type[Assigner], Callable[..., dict[str, Tensor]]]] = [
    (AutoAssign, slow_autoassign),
    (FreeAnchor, slow_freeanchor),
    (DW, slow_dw),
    (DDOD, slow_ddod),
    (FSAF, slow_fsaf),
    (PAA, slow_paa),
    (SimOTA, slow_simota),
    (SoftLabel, slow_soft_label),
]


@pytest.mark.parametrize(("cls", "slow"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_gradients(cls: type[Assigner], slow: Callable[..., dict[str, Tensor]], seed: int) -> None:
    loss = PairLoss()
    assigner = cls(Setting(classes=CLASSES)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in assigner.parameters():  # not where they start: μ = 0 hides signs
            parameter.add_(torch.rand(parameter.shape, generator=generator) * 0.5)
    problem = random_problem(
        cls.head.controlled(),
        seed=seed,
        classes=CLASSES,
        counts=(3, 0, 2),
        height=64,
        width=96,
        dtype=torch.float64,
    )
    with torch.no_grad():  # good boxes at some locations, so that every branch is taken
        problem.raw.regression.mul_(0.3)
    leaves = [*problem.leaves(), *assigner.parameters()]

    fast, reading = ours(assigner, problem, loss), slow(assigner, problem, loss)
    assert fast.keys() == reading.keys()
    for name, value in reading.items():
        assert fast[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), name
    gradients = torch.autograd.grad(torch.stack(list(fast.values())).sum(), leaves)
    slow_gradients = torch.autograd.grad(torch.stack(list(reading.values())).sum(), leaves, allow_unused=True)
    for one, other in zip(gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-7, atol=1e-10)


def problem_for(assigner: Assigner) -> Problem:
    return random_problem(assigner.head.controlled(), seed=4, classes=CLASSES, counts=(4, 3))


def test_weights_of_a_bag_sum_to_one() -> None:
    for cls in (AutoAssign, FreeAnchor):
        assigner = cls(Setting(classes=CLASSES))
        problem = problem_for(assigner)
        record = assign(assigner, problem.view())
        total = torch.zeros(7).index_add(0, record.pairs.object, record.pairs.weight)
        taught = torch.zeros(7).index_add(0, record.pairs.object, torch.ones(len(record.pairs))) > 0
        torch.testing.assert_close(total[taught], torch.ones(int(taught.sum())))


@pytest.mark.parametrize(
    ("limit", "exact"),
    [
        ({"tau": 1e9}, {"confidence": "off"}),
        ({"center": "fixed", "sigma": 1e9}, {"center": "none", "center_loss": 0.0}),
    ],
)
def test_a_part_switched_off_is_its_limit(limit: dict[str, object], exact: dict[str, object]) -> None:
    values = []
    for options in (limit, exact):
        assigner = AutoAssign(Setting(classes=CLASSES), **options)  # type: ignore[arg-type]
        values.append(ours(assigner, problem_for(assigner), PairLoss()))
    assert values[0].keys() == values[1].keys()
    for name, value in values[0].items():
        assert value.item() == pytest.approx(values[1][name].item(), rel=1e-5), name


def test_the_best_location_of_an_object_is_not_pushed_to_background() -> None:
    assigner = AutoAssign(Setting(classes=CLASSES))
    problem = problem_for(assigner)
    record = assign(assigner, problem.view())
    for n in range(7):
        mine = record.pairs.location[record.pairs.object == n]
        if len(mine):
            image, label = problem.targets.image[n], problem.targets.labels[n]
            entries = (record.discounts.image == image) & (record.discounts.label == label)
            own = entries & torch.isin(record.discounts.location, mine)
            assert record.discounts.factor[own].min() == 0


def test_detached_weights_leave_the_prior_to_the_centre_loss() -> None:
    learned = AutoAssign(Setting(classes=CLASSES), detach_weights=True)
    problem = problem_for(learned)
    losses = ours(learned, problem, PairLoss())
    (gradient,) = torch.autograd.grad(losses["bag"], [learned.mu], allow_unused=True, retain_graph=True)
    assert gradient is None
    (gradient,) = torch.autograd.grad(losses["center"], [learned.mu])
    assert gradient.abs().sum() > 0
    undetached = AutoAssign(Setting(classes=CLASSES), center_loss=0.0)
    losses = ours(undetached, problem_for(undetached), PairLoss())
    (gradient,) = torch.autograd.grad(losses["bag"], [undetached.mu])
    assert gradient.abs().sum() > 0


def test_an_object_without_a_location_costs_a_constant() -> None:
    assigner = AutoAssign(Setting(classes=CLASSES))
    problem = random_problem(assigner.head.controlled(), seed=1, classes=CLASSES, counts=(1,))
    problem.targets.boxes[0] = torch.tensor([50.2, 50.3, 50.9, 51.1])
    losses = ours(assigner, problem, PairLoss())
    assert losses["bag"].item() == pytest.approx(0.25 * 100)
    assert losses["center"].item() == 0
    assert math.isfinite(losses["background"].item())


def slow_tal(problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets = problem.predictions, problem.priors, problem.targets
    probability = predictions.logits.sigmoid()
    p, boxes = probability.detach(), predictions.boxes.detach()
    t = torch.zeros(len(targets), len(priors), dtype=torch.float64)
    u = torch.zeros_like(t)
    owner = {}
    for n, (box, label, image) in enumerate(zip(targets.boxes, targets.labels, targets.image, strict=True)):
        for j in range(len(priors)):
            u[n, j] = iou(boxes[image, j], box)
            t[n, j] = p[image, j, label] * u[n, j] ** 6
        for j in sorted(range(len(priors)), key=lambda j: (-t[n, j].item(), j))[:13]:
            if t[n, j] > 0 and sides(box, priors.points[j]).min() > 0.01:
                rival = owner.get((int(image), j))
                if rival is None or u[n, j] > u[rival, j]:
                    owner[int(image), j] = n
    score = torch.zeros_like(probability)
    box_sum = torch.tensor(0.0, dtype=torch.float64)
    for (image, j), n in owner.items():
        own = [place for (_, place), other in owner.items() if other == n]
        share = t[n, j] / (t[n, own].max() + 1e-7) * u[n, own].max()
        score[image, j, targets.labels[n]] = share
        box_sum = box_sum + share * 5 * (1 - giou(predictions.boxes[image, j], targets.boxes[n]))
    entries = -(score * probability.log() + (1 - score) * torch.log1p(-probability)) * (score - probability) ** 2
    mass = max(1.0, score.sum().item())
    return {
        "class": loss.classes.positive_weight * entries[score > 0].sum() / mass,
        "background": loss.classes.negative_weight * entries[score == 0].sum() / mass,
        "box": loss.weight * box_sum / mass,
    }


@pytest.mark.parametrize("loss", [PairLoss(), PairLoss(QualityFocal(), weight=0.5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_gradients_of_tal(loss: PairLoss, seed: int) -> None:
    problem = random_problem(
        TAL.head, seed=seed, classes=CLASSES, counts=(4, 0, 3), height=64, width=96, dtype=torch.float64
    )
    with torch.no_grad():
        problem.raw.regression.mul_(0.3)
    view = problem.view(loss)
    fast = objective(assign(TAL(Setting(classes=CLASSES)), view, progress=0.5), view, ())
    reading = slow_tal(problem, loss)
    assert fast.keys() == reading.keys()
    for name, value in reading.items():
        assert fast[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), name
    gradients = torch.autograd.grad(torch.stack(list(fast.values())).sum(), problem.leaves())
    slow_gradients = torch.autograd.grad(torch.stack(list(reading.values())).sum(), problem.leaves())
    for one, other in zip(gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


def slow_noisyanchor(problem: Problem, loss: PairLoss) -> dict[str, Tensor]:
    predictions, priors, targets, classes = problem.predictions, problem.priors, problem.targets, loss.classes
    probability = predictions.logits.sigmoid()
    nothing = torch.tensor(0.0, dtype=torch.float64)
    positive, background, box_sum, count = nothing, nothing, nothing, 0
    for image in range(targets.images):
        own = [n for n in range(len(targets)) if targets.image[n] == image]
        overlaps = {n: [iou(prior, targets.boxes[n]).item() for prior in priors.boxes] for n in own}
        chosen = [j for n in own for j in sorted(range(len(priors)), key=lambda j: (-overlaps[n][j], j))[:30]]
        owner = {j: max(own, key=lambda n: (overlaps[n][j], -n)) for j in chosen}
        p = {j: probability[image, j, targets.labels[n]].item() for j, n in owner.items()}
        u = {j: iou(predictions.boxes[image, j], targets.boxes[n]).item() for j, n in owner.items()}

        def mean(values: dict[int, float], chosen: list[int] = chosen) -> float:
            return sum(values[j] for j in chosen) / len(chosen)

        fu, fp = ({j: 1 / (1 - x) for j, x in each.items()} for each in (u, p))
        s = {j: 0.75 * u[j] / mean(u) + 0.25 * p[j] / mean(p) for j in owner}
        label = {
            j: mean(u) + (s[j] - min(s.values())) * (1 - mean(u)) / (max(s.values()) - min(s.values())) for j in owner
        }
        r = {j: 0.75 * fu[j] / mean(fu) + 0.25 * fp[j] / mean(fp) for j in owner}
        costs = []  # of each location: of the own class as positive, of all as background, of the box
        for j in range(len(priors)):
            taught, negative = nothing, -(probability[image, j] ** 2) * torch.log1p(-probability[image, j])
            box = nothing
            if j in owner:
                y, share = targets.labels[owner[j]], label[j]
                taught = -share * (1 - probability[image, j, y]) ** 2 * probability[image, j, y].log()
                negative = torch.stack([negative[k] * (1 - share if k == y else 1) for k in range(CLASSES)])
                box = 5 * (1 - giou(predictions.boxes[image, j], targets.boxes[owner[j]]))
            costs.append(
                (classes.positive_weight * taught, classes.negative_weight * negative.sum(), loss.weight * box)
            )
        factor = [r.get(j, 1.0) for j in range(len(priors))]
        kept = []
        for parts in ((0, 1), (2,)):
            plain = [sum(cost[part].item() for part in parts) for cost in costs]
            moved = sum(f * value for f, value in zip(factor, plain, strict=True))
            kept.append(sum(plain) / moved if moved else 1.0)
        for f, cost in zip(factor, costs, strict=True):
            positive, background = positive + kept[0] * f * cost[0], background + kept[0] * f * cost[1]
            box_sum = box_sum + kept[1] * f * cost[2]
        count += len(owner)
    return {"class": positive / count, "background": background / count, "box": box_sum / count}


@pytest.mark.parametrize("seed", [0])
def test_values_and_gradients_of_noisyanchor(seed: int) -> None:
    loss, assigner = PairLoss(), NoisyAnchor(Setting(classes=CLASSES))
    problem = random_problem(
        assigner.head.controlled(),
        seed=seed,
        classes=CLASSES,
        counts=(4, 0, 3),
        height=64,
        width=96,
        dtype=torch.float64,
    )
    with torch.no_grad():
        problem.raw.regression.mul_(0.3)
    fast, reading = ours(assigner, problem, loss), slow_noisyanchor(problem, loss)
    assert fast.keys() == reading.keys()
    for name, value in reading.items():
        assert fast[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), name
    gradients = torch.autograd.grad(torch.stack(list(fast.values())).sum(), problem.leaves())
    slow_gradients = torch.autograd.grad(torch.stack(list(reading.values())).sum(), problem.leaves())
    for one, other in zip(gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


def slow_vfnet(problem: Problem, pairs: list[tuple[int, int]]) -> dict[str, Tensor]:
    """The losses of VFNet at pairs (object, location)."""
    priors, targets = problem.priors, problem.targets
    probability = problem.raw.logits.sigmoid()
    score = torch.zeros_like(probability)
    firsts, seconds, weights = [], [], []
    for n, j in pairs:
        image, point, box = targets.image[n], priors.points[j], targets.boxes[n]
        side = problem.raw.regression[image, j].exp() * 8 * priors.stride[j]
        first = torch.cat((point - side[:2], point + side[2:]))
        side = side.detach() * problem.raw.extras["refinement"][image, j].exp()
        second = torch.cat((point - side[:2], point + side[2:]))
        u1, u2 = (max(iou(one.detach(), box).item(), 1e-6) for one in (first, second))
        firsts.append(1.5 * u1 * (1 - giou(first, box)))
        seconds.append(2.0 * u2 * (1 - giou(second, box)))
        weights.append((u1, u2))
        score[image, j, targets.labels[n]] = iou(second.detach(), box)
    own = -score * (score * probability.log() + (1 - score) * torch.log1p(-probability))
    background = -0.75 * probability**2 * torch.log1p(-probability)
    taught = torch.zeros_like(probability, dtype=torch.bool)
    for n, j in pairs:
        taught[targets.image[n], j, targets.labels[n]] = True
    return {
        "class": own[taught].sum() / len(pairs),
        "background": background[~taught].sum() / len(pairs),
        "refinement": torch.stack(firsts).sum() / max(1.0, sum(u1 for u1, _ in weights)),
        "box": torch.stack(seconds).sum() / max(1.0, sum(u2 for _, u2 in weights)),
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_gradients_of_vfnet(seed: int) -> None:
    preset = ATSS.presets["vfnet"]
    assigner = ATSS(Setting(classes=CLASSES), **preset.options)
    sizes = {"height": 64, "width": 96, "dtype": torch.float64}
    problem = random_problem(preset.head, seed=seed, classes=CLASSES, counts=(4, 0, 3), **sizes)  # type: ignore[arg-type]
    with torch.no_grad():
        problem.raw.regression.mul_(0.3).sub_(1)
        problem.raw.extras["refinement"].mul_(0.3)
    view = problem.view(preset.loss)
    record = assign(assigner, view)
    fast = objective(record, view, preset.head.extras)
    reading = slow_vfnet(problem, list(zip(record.pairs.object.tolist(), record.pairs.location.tolist(), strict=True)))
    assert fast.keys() == reading.keys()
    for name, value in reading.items():
        assert fast[name].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), name
    gradients = torch.autograd.grad(torch.stack(list(fast.values())).sum(), problem.leaves())
    slow_gradients = torch.autograd.grad(torch.stack(list(reading.values())).sum(), problem.leaves())
    for one, other in zip(gradients, slow_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)
