"""Losses on the evaluation split, at ends of epochs: the strategy's own, and one that is the same for all.

The strategy's own are what training would charge for the whole split as one batch: sums of all batches and processes
are divided once, so neither the batch nor the number of processes shows in them. They are computed as detections are:
in evaluation mode, in float32, at the recipe's test size, from pictures as they are. The other loss is
`assignbench.run.scoring.common_loss`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from assignbench.core.head import MAIN
from assignbench.data.dataset import Dataset
from assignbench.data.load.batch import Batch
from assignbench.data.load.streams import view_batches
from assignbench.data.load.transfer import on_device
from assignbench.data.load.transforms import View
from assignbench.detector.objective import Charges
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.results.names import COMMON, VALIDATION
from assignbench.run.scoring.common_loss import CommonCharges, common_charges
from assignbench.run.scoring.detect import rule_of
from assignbench.run.training.device import memory_advice, workers_of
from assignbench.run.training.learner import Learner
from assignbench.run.training.processes import summed
from assignbench.run.training.stopping import stop_asked
from assignbench.run.training.undisturbed import evaluating

Part = tuple[int, Mapping[str, Charges], CommonCharges]  # of a batch: its first picture, and what it costs


def validation_losses(
    learner: Learner,
    dataset: Dataset,
    accelerator: Accelerator,
    data: DataSettings,
    settings: EvaluateSettings,
    progress: float,
) -> dict[str, float | None] | None:
    """The losses of a split, the same on all processes; every process must call it.

    Args:
        learner: in training; nothing of it is changed.
        dataset: the split.
        accelerator: processes and devices.
        data: sizes of the pictures.
        settings: the batch, and how final scores are made.
        progress: how far training is, from 0 to 1.

    Returns:
        Name → loss, as a line of ``losses.jsonl`` has them; None for one that is not finite. None in place of all:
        a process was asked to stop, so that it was not brought to its end.

    Raises:
        DataError: a picture cannot be read.
        RunError: the strategy's record is impossible.
        SystemProblem: memory is short.
    """
    parts: list[Part] = []
    device = accelerator.device
    batches = view_batches(
        dataset,
        [View(*data.test_sides)],
        batch=settings.batch,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        workers=workers_of(data, device),
    )
    with evaluating(learner, device), contextlib.closing(batches):
        for batch in on_device(batches, device):
            if stop_asked() is not None:
                break
            parts.append(part_of(learner, batch, settings, progress))
    if summed(torch.tensor(float(stop_asked() is not None), device=device), accelerator).item():
        return None
    return losses_of(learner, gather_object(parts))


def part_of(learner: Learner, batch: Batch, settings: EvaluateSettings, progress: float) -> Part:
    """What one batch costs."""
    detector = learner.detector
    height, width = batch.images.shape[-2:]
    short = (
        f"losses on {len(batch)} evaluation images of {height} × {width} pixels at once do not fit into memory\n"
        "lower evaluate.batch, which changes speed and not results, or set train.validate_every=0"
    )
    with memory_advice(short):
        seen = detector.every_branch(batch.images, batch.sizes, progress)
        charged = learner.tried(seen, batch.targets, progress)
        rule = rule_of(settings, suppress=detector.spec.suppress)
        common = common_charges(*seen[MAIN], batch.sizes, batch.targets, detector.spec.extras, rule)
    return batch.indices[0], {branch: own.settled() for branch, own in charged.items()}, common


def losses_of(learner: Learner, parts: Sequence[Part]) -> dict[str, float | None]:
    """The losses of all parts together: added up in one order, whoever has computed them."""
    ordered = sorted(parts, key=lambda part: part[0])
    charged = {branch: reduce(add, (own[branch] for _, own, _ in ordered)) for branch in learner.head.by_branch()}
    own = {name: value.item() for name, value in learner.losses(charged).items()}
    common = reduce(add, (each for _, _, each in ordered)).losses()
    named = ((VALIDATION, own), (COMMON, common))
    found = {
        prefix + name: value for prefix, some in named for name, value in {**some, "total": sum(some.values())}.items()
    }
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
