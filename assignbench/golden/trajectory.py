"""Replay of the first training steps: what is frozen, what decays, batch norm's mode, every gradient at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from assignbench.core import Targets
from assignbench.core.head import MAIN
from assignbench.errors import DataError
from assignbench.golden.checks import LOSS, OUTPUT, Check, Quantity, relative, worst
from assignbench.golden.reference import Origin, golden_terms, terms_as
from assignbench.golden.vectors import targets_of
from assignbench.run.training.learner import Learner

LR, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4  # of every trainable parameter, constant

# A step may hinge on the last bit of a number: the sign of an L1 difference of 0 ± 1e-7, an activation at ReLU's bend.
# From there on trajectories part, ours from ours as much as ours from the reference's. How much is measured, by
# starting again from inputs that differ by a rounding error, until one start explains it or `STARTS` have not.
STARTS = 12
ROUNDING = 2.0**-23  # relative
FACTOR = 3.0  # times what rounding does to our own trajectory is no difference


def replay_trajectory(
    content: Mapping[str, Any], path: Path, image: Tensor, build: Callable[[], Learner], origin: Origin
) -> tuple[list[Check], list[str]]:
    """Loss terms of every step, and how many numbers are trained; and what is to be said of it.

    Args:
        content: of the file of steps.
        path: its name, for messages.
        image: the network's input, normalised already: ``[image, 3, row, column]``.
        build: makes the network at its start.
        origin: the strategy as the reference calls it.
    """
    device, where = image.device, str(path)
    keys = {"main": "steps"} | {one: f"{one}_steps" for one in origin.progress if f"{one}_steps" in content}
    if odd := [key for key in content if key.endswith("_steps") and key not in keys.values()]:
        raise DataError(f"{path} holds {odd[0]}, a phase of training that the strategy does not have")
    try:
        boxes = [torch.tensor(one, device=device).reshape(-1, 4) for one in content["boxes"]]
        targets = targets_of(boxes, [torch.tensor(one, dtype=torch.int64, device=device) for one in content["labels"]])
        losses = {
            phase: [{name: torch.tensor(value) for name, value in step.items()} for step in content[key]]
            for phase, key in keys.items()
        }
        names = {phase: [list(step) for step in golden] for phase, golden in losses.items()}
        losses = {phase: [golden_terms(step, origin.terms) for step in golden] for phase, golden in losses.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no trajectory: {type(error).__name__}: {error}") from error

    first: list[Quantity] = []
    later: list[Quantity] = []
    ratios: list[Quantity] = []
    notes: list[str] = []
    for phase, golden in losses.items():

        def follow(
            x: Tensor, each: Sequence[list[str]] = names[phase], progress: float = origin.progress.get(phase, 1.0)
        ) -> list[dict[str, Tensor]]:
            return steps(build(), x, targets, each, where, origin, progress)

        own = follow(image)
        errors = distances(own, golden, "" if phase == "main" else f"{phase}, ")
        first += errors[0]
        if all(quantity.error <= OUTPUT for step in errors[1:] for quantity in step):
            later += [one for step in errors[1:] for one in step]
            continue
        spread, starts = own_spread(follow, image, own, errors[1:])
        pairs = [pair for step in zip(errors[1:], spread, strict=True) for pair in zip(*step, strict=True)]
        apart = [(quantity, rounding) for quantity, rounding in pairs if not quantity.error <= OUTPUT]
        later += [quantity for quantity, _ in pairs if quantity.error <= OUTPUT]
        ratios += [Quantity(quantity.name, quantity.error / max(rounding, ROUNDING)) for quantity, rounding in apart]
        told = "; ".join(f"{one.name}: {one.error:.1e}, by rounding alone up to {size:.1e}" for one, size in apart)
        notes.append(
            f"further from the golden step than {OUTPUT:g}, but an input that differs by one rounding error leads our "
            f"own steps as far away; held to {FACTOR:g} times that, of {starts} starts ({told})"
        )
    checks = [*worst("trainable", trained(content, build()), 0.0), *worst("first step", first, LOSS)]
    checks += worst("later steps", later, OUTPUT)
    return [*checks, *worst("beyond that, in rounding errors", ratios, FACTOR)], notes


def steps(
    learner: Learner,
    image: Tensor,
    targets: Targets,
    names: Sequence[list[str]],
    where: str,
    origin: Origin,
    progress: float,
) -> list[dict[str, Tensor]]:
    """Train for as many steps as there are lists of names; the losses of each, under the reference's names."""
    learner.train()
    trainable = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    found = []
    for step in names:
        losses = learner.charge({MAIN: learner.detector.predict(image, progress)}, targets, progress=progress).losses
        found.append({name: loss.detach() for name, loss in terms_as(step, losses, where, origin.terms).items()})
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    return found


def distances(
    ours: Sequence[Mapping[str, Tensor]], golden: Sequence[Mapping[str, Tensor]], phase: str = ""
) -> list[list[Quantity]]:
    """Relative error of every loss of every step."""
    return [
        [Quantity(f"{phase}{name}, step {number}", relative(own[name], one[name])) for name in one]
        for number, (own, one) in enumerate(zip(ours, golden, strict=True), start=1)
    ]


def own_spread(
    follow: Callable[[Tensor], list[dict[str, Tensor]]],
    image: Tensor,
    own: Sequence[Mapping[str, Tensor]],
    later: Sequence[Sequence[Quantity]],
) -> tuple[list[list[float]], int]:
    """How far inputs that differ by a rounding error lead away, at most, for every loss of every step but the first.

    A loss counts with the largest distance that it has had up to the step: what has parted stays apart, and that it is
    near for a moment is chance. Starts are drawn until they explain all errors of ``later``, `STARTS` at most; also
    returned: how many were.
    """
    spread = [[0.0] * len(step) for step in later]
    for seed in range(STARTS):
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).to(image.device)
        found = distances(follow(image * (1 + ROUNDING * noise)), own)[1:]
        so_far = accumulate(([one.error for one in step] for step in found), larger)
        spread = [larger(*step) for step in zip(spread, so_far, strict=True)]
        if all(
            one.error <= max(OUTPUT, FACTOR * max(most, ROUNDING))
            for step in zip(later, spread, strict=True)
            for one, most in zip(*step, strict=True)
        ):
            return spread, seed + 1
    return spread, STARTS


def larger(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """The larger one of every two."""
    return [max(pair) for pair in zip(ours, others, strict=True)]


def trained(content: Mapping[str, Any], learner: Learner) -> Iterator[Quantity]:
    """Numbers that are trained, and whether those of the backbone's batch norm are."""
    if "trainable" in content:
        count = sum(parameter.numel() for parameter in learner.parameters() if parameter.requires_grad)
        yield Quantity("numbers", float(abs(count - content["trainable"])))
    if "trainable_norm_affine" in content:
        norms = [
            one for one in learner.detector.backbone.modules() if isinstance(one, nn.BatchNorm2d | FrozenBatchNorm2d)
        ]
        affine = any(parameter.requires_grad for one in norms for parameter in one.parameters())
        yield Quantity("batch norm", float(affine != content["trainable_norm_affine"]))
