"""AutoAssign, FreeAnchor, DW and DDOD against slow readings of their formulas: loops over objects and locations.

Values and gradients, on random batches, in float64.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from assignbench.core import Assigner, Setting, assign, giou, iou, sides
from assignbench.core.parts import PairLoss
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.autoassign import AutoAssign
from assigners.ddod import DDOD
from assigners.dw import DW
from assigners.freeanchor import FreeAnchor

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
]


@pytest.mark.parametrize(("cls", "slow"), CASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
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
