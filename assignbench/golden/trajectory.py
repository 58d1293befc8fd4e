"""Replay of the first training steps: what is frozen, what decays, batch norm's mode, every gradient at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from assignbench.errors import DataError
from assignbench.golden.checks import LOSS, OUTPUT, Check, Quantity, relative, worst
from assignbench.golden.reference import terms_as
from assignbench.golden.vectors import targets_of
from assignbench.run.learner import Learner

LR, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4  # of every trainable parameter, constant


def replay_trajectory(content: Mapping[str, Any], path: Path, image: Tensor, learner: Learner) -> Iterator[Check]:
    """Loss terms of every step, and how many numbers are trained.

    Args:
        content: of the file of steps.
        path: its name, for messages.
        image: the network's input, normalised already: ``[image, 3, row, column]``.
        learner: the network at its start; trained in place.
    """
    device = image.device
    try:
        boxes = [torch.tensor(one, device=device).reshape(-1, 4) for one in content["boxes"]]
        targets = targets_of(boxes, [torch.tensor(one, dtype=torch.int64, device=device) for one in content["labels"]])
        steps = [{name: torch.tensor(value) for name, value in step.items()} for step in content["steps"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no trajectory: {type(error).__name__}: {error}") from error

    learner.train()
    trainable = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    first, later = [], []
    for number, golden in enumerate(steps):
        predictions, priors = learner.detector.predict(image)
        losses = learner.charge(predictions, priors, targets).losses
        ours = terms_as(list(golden), losses, str(path))
        quantities = [Quantity(f"{name}, step {number + 1}", relative(ours[name], golden[name])) for name in golden]
        (later if number else first).extend(quantities)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    yield from worst("first step", first, LOSS)
    yield from worst("later steps", later, OUTPUT)
    yield from worst("trainable", trained(content, learner), 0.0)


def trained(content: Mapping[str, Any], learner: Learner) -> Iterator[Quantity]:
    """Numbers that are trained, and whether those of the backbone's batch norm are."""
    if "trainable" in content:
        count = sum(parameter.numel() for parameter in learner.parameters() if parameter.requires_grad)
        yield Quantity("numbers", float(abs(count - content["trainable"])))
    if "trainable_norm_affine" in content:
        norms = [one for one in learner.detector.backbone.modules() if isinstance(one, nn.BatchNorm2d | FrozenBatchNorm2d)]
        affine = any(parameter.requires_grad for one in norms for parameter in one.parameters())
        yield Quantity("batch norm", float(affine != content["trainable_norm_affine"]))
