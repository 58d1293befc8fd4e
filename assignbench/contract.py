"""The laws that every strategy must keep: used by the tests and by ``assignbench check``.

A law is a function that raises `Broken` with a sentence when it does not hold. Problems are small, random and
reproducible; float comparisons allow for sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from assignbench.core import Assigner, Assignment, Extra, Head, PairLoss, Preset, Regions, Setting, Targets, assign
from assignbench.core.geometry import sides
from assignbench.detector.objective import objective
from assignbench.options import check_options
from assignbench.synthetic import Problem, random_problem

CLASSES = 3
LOSS = PairLoss()


@dataclass(frozen=True)
class LawResult:
    """How a strategy fared with one law."""

    name: str
    passed: bool
    message: str  # empty when it passed


class Broken(Exception):  # noqa: N818 - what happened, not an error of ours
    """A law does not hold; the message says how."""


Build = Callable[[], Assigner]


def check(
    cls: type[Assigner], options: Mapping[str, Any] | None = None, extras: Sequence[Extra] = ()
) -> list[LawResult]:
    """Try every law on a strategy with the given options and extra outputs, under the controlled protocol.

    A strategy that raises breaks the law that it was tried on; the other laws are tried all the same.
    """

    def build() -> Assigner:
        torch.manual_seed(0)
        assigner = cls(Setting(classes=CLASSES, loss=LOSS), **(options or {}))
        if extras:
            assigner.head = assigner.head.plus(extras)
        return assigner

    results = []
    for name, law in LAWS.items():
        try:
            law(build)
        except Broken as broken:
            results.append(LawResult(name, False, str(broken)))
        except Exception as error:
            results.append(LawResult(name, False, f"raises {type(error).__name__}: {error}"))
        else:
            results.append(LawResult(name, True, ""))
    return results


def declares_itself(build: Build) -> None:
    """It says what it needs of the detector, what it is, and as which detectors it was published, if any."""
    assigner = build()
    require(isinstance(getattr(assigner, "head", None), Head), "head is not a Head")
    for name, preset in assigner.presets.items():
        require(isinstance(preset, Preset), f"preset {name} is not a Preset")
        check_options(type(assigner), preset.options)
    require(bool(assigner.source) or bool(type(assigner).__doc__), "neither source nor docstring says what it is")


def well_formed(build: Build) -> None:
    """Indices exist, weights and factors are finite and in range, pairs and discounts are unique."""
    for counts in ((4, 0, 7), (1,), (0,)):
        assigner, problem = case(build, counts)
        record = decide(assigner, problem)
        try:
            record.check(problem.predictions, problem.targets)
        except ValueError as error:
            raise Broken(str(error)) from error


def batch_equals_images(build: Build) -> None:
    """A batch gives each image what it gets alone."""
    assigner, problem = case(build, (5, 0, 1, 9))
    whole = decide(assigner, problem)
    for image in range(problem.targets.images):
        alone = decide(assigner, problem.of_image(image))
        first = int((problem.targets.image < image).sum())
        same_record(whole, alone, problem, image, lambda index, first=first: index + first)


def order_is_free(build: Build) -> None:
    """The order in which objects are listed does not matter (no two of them being equal)."""
    assigner, problem = case(build, (8, 6))
    targets = problem.targets
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
    shuffled = Targets(targets.boxes[order], targets.labels[order], targets.image[order], targets.images)
    before, after = decide(assigner, problem), decide(assigner, problem.with_targets(shuffled))
    for image in range(targets.images):
        same_record(before, after, problem, image, lambda index: order[index], other_image=image)


def empty_is_fine(build: Build) -> None:
    """Images without objects, alone or among others, give finite losses; every parameter has a gradient."""
    for counts in ((0,), (0, 0), (0, 3, 0)):
        assigner, problem = case(build, counts)
        finite_gradients(assigner, problem)
    none = random_problem(build().head.controlled(), seed=3, classes=CLASSES, counts=(0,))
    require(len(decide(build(), none).pairs) == 0, "an image without objects has pairs")


def hard_objects(build: Build) -> None:
    """Objects of a fraction of a pixel, of the whole image, equal ones and crowds give finite gradients."""
    assigner, problem = case(build, (6, 40))
    boxes = problem.targets.boxes.clone()
    boxes[0] = torch.tensor([50.2, 50.3, 50.9, 51.1])  # no location in it
    boxes[1] = torch.tensor([0.0, 0.0, 160.0, 128.0])
    boxes[2] = boxes[3] = torch.tensor([20.0, 24.0, 84.0, 72.0])  # equal, borders on the grid
    labels = problem.targets.labels.clone()
    labels[2] = labels[3]
    targets = replace(problem.targets, boxes=boxes, labels=labels)
    finite_gradients(assigner, problem.with_targets(targets))


def extreme_predictions(build: Build) -> None:
    """Saturated logits and degenerate boxes, as in a run that diverges or is nearly perfect, stay finite."""
    for shift in (-60.0, 60.0):
        assigner, problem = case(build, (5, 0))
        with torch.no_grad():
            problem.raw.logits.add_(shift)
            problem.raw.regression.mul_(50)
        finite_gradients(assigner, problem)


def small_images(build: Build) -> None:
    """Fewer locations than a strategy would like to take."""
    assigner = build()
    problem = random_problem(assigner.head.controlled(), seed=5, classes=CLASSES, counts=(2, 0), height=32, width=32)
    finite_gradients(assigner, problem)


def deterministic(build: Build) -> None:
    """The same question twice has the same answer, bit for bit."""
    assigner, problem = case(build, (7, 3))
    first, second = decide(assigner, problem), decide(assigner, problem)
    equal = all(
        torch.equal(getattr(first.pairs, name), getattr(second.pairs, name))
        for name in ("object", "location", "weight", "box_weight", "quality")
    )
    require(equal and torch.equal(first.discounts.factor, second.discounts.factor), "two calls differ")


def inputs_untouched(build: Build) -> None:
    """Predictions, priors and targets are read, not written."""
    assigner, problem = case(build, (5, 2))
    watched = {
        "logits": problem.raw.logits,
        "regression": problem.raw.regression,
        "target boxes": problem.targets.boxes,
        "prior boxes": problem.priors.boxes,
    }
    before = {name: tensor.detach().clone() for name, tensor in watched.items()}
    decide(assigner, problem)
    for name, tensor in watched.items():
        require(torch.equal(before[name], tensor.detach()), f"{name} were changed in place")


def reads_what_it_says(build: Build) -> None:
    """With ``reads_predictions = False`` other predictions change nothing: it is told the host's objects and priors."""
    assigner, problem = case(build, (3, 2))
    if assigner.reads_predictions:
        return
    other = random_problem(assigner.head.controlled(), seed=8, classes=CLASSES, counts=(1, 1))
    before = decide(assigner, problem)
    after = assign(assigner, other.predictions, problem.priors, problem.targets)
    for image in range(problem.targets.images):
        try:
            same_record(before, after, problem, image, lambda index: index, other_image=image)
        except Broken as broken:
            raise Broken(f"reads_predictions is False, but with other predictions {broken}") from broken


def padding_and_crowds(build: Build) -> None:
    """Neither the batch's padding nor a crowd region is taught to be background."""
    assigner, problem = case(build, (3, 2))
    priors = problem.priors.padded(torch.tensor([[128, 160], [128, 64]]))
    inside = torch.ones(2, len(priors), dtype=torch.bool)
    inside[1] = priors.centers[:, 0] < 64
    crowd = torch.tensor([[32.0, 32.0, 128.0, 96.0]])
    targets = replace(problem.targets, ignore=Regions(crowd, torch.tensor([0])))
    record = assign(assigner, problem.predictions, priors, targets)
    require(record.background is not None, "nothing is ignored")
    background = record.background if record.background is not None else inside.float()
    require(bool((background[~inside] == 0).all()), "padding is taught background")
    paired = torch.zeros_like(inside)
    paired[targets.image[record.pairs.object], record.pairs.location] = True
    crowded = (sides(crowd, priors.centers).amin(-1) > 0) & ~paired[0]
    require(bool((background[0, crowded] == 0).all()), "a crowd region is taught background")


LAWS: Mapping[str, Callable[[Build], None]] = {
    "declares itself": declares_itself,
    "well-formed record": well_formed,
    "batch = one by one": batch_equals_images,
    "order does not matter": order_is_free,
    "empty is fine": empty_is_fine,
    "hard objects": hard_objects,
    "extreme predictions": extreme_predictions,
    "small images": small_images,
    "deterministic": deterministic,
    "inputs untouched": inputs_untouched,
    "reads what it says": reads_what_it_says,
    "padding and crowds": padding_and_crowds,
}


def case(build: Build, counts: tuple[int, ...]) -> tuple[Assigner, Problem]:
    """A strategy and a random batch for its head."""
    assigner = build()
    return assigner, random_problem(assigner.head.controlled(), seed=7, classes=CLASSES, counts=counts)


def decide(assigner: Assigner, problem: Problem) -> Assignment:
    """The record of a problem."""
    return assign(assigner, problem.predictions, problem.priors, problem.targets)


def require(holds: bool, message: str) -> None:
    """Raise `Broken` unless it holds."""
    if not holds:
        raise Broken(message)


def finite_gradients(assigner: Assigner, problem: Problem) -> None:
    """Losses and all gradients are finite, and every output and trained parameter has one."""
    record = decide(assigner, problem)
    losses = objective(
        record,
        problem.predictions,
        problem.priors,
        problem.targets,
        loss=LOSS,
        coding=problem.head.coding,
        extras=problem.head.extras,
    )
    for name, value in losses.items():
        require(bool(value.isfinite()), f"loss {name} is {value.item()}")
    parameters = [parameter for parameter in assigner.parameters() if parameter.requires_grad]
    leaves = (*problem.raw.leaves(), *parameters)
    total = torch.stack(list(losses.values())).sum()
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    for gradient in gradients:
        require(gradient is not None, "an output or parameter has no gradient: processes would wait for it")
        require(gradient is None or bool(gradient.isfinite().all()), "a gradient is not finite")


def same_record(
    one: Assignment,
    other: Assignment,
    problem: Problem,
    image: int,
    index_of: Callable[[Tensor], Tensor],
    *,
    other_image: int | None = None,
) -> None:
    """Two records say the same about an image; ``index_of`` translates the other's objects.

    ``other_image`` is where the other record has the image; None: it has only that one.
    """
    image_of = problem.targets.image
    tables = []
    for record, translate, place in ((one, lambda index: index, image), (other, index_of, other_image or 0)):
        objects = translate(record.pairs.object)
        mine = image_of[objects] == image
        columns = (
            objects,
            record.pairs.location,
            record.pairs.weight,
            record.pairs.box_weight,
            record.pairs.quality,
        )
        pairs = torch.stack([column[mine].detach().double() for column in columns], dim=1)
        counted = record.discounts.counted()
        here = counted.image == place
        columns = (counted.location, counted.label, counted.factor)
        discounts = torch.stack([column[here].detach().double() for column in columns], dim=1)
        taught = record.background[place] if record.background is not None else torch.ones(len(problem.priors))
        tables.append((in_order(pairs, 2), in_order(discounts, 2), taught.detach().double()))
    for what, before, after in zip(("pairs", "discounts", "background locations"), *tables, strict=True):
        require(before.shape == after.shape, f"image {image} has {len(before)} {what}, then {len(after)}")
        same = torch.allclose(before, after, rtol=1e-4, atol=1e-6)
        require(same, f"the {what} of image {image} differ")


def in_order(rows: Tensor, keys: int) -> Tensor:
    """Rows sorted by their first columns."""
    for column in reversed(range(keys)):
        rows = rows[rows[:, column].sort(stable=True).indices]
    return rows
