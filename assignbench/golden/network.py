"""Replay of a whole network: a checkpoint of the reference's names, imported, gives the reference's outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assignbench.core import Assigner, Predictions, Priors
from assignbench.core.parts import Distances
from assignbench.detector.importers import class_count, import_state
from assignbench.errors import DataError
from assignbench.golden.checks import OUTPUT, Check, Quantity, relative, worst
from assignbench.golden.reference import Origin, made_state
from assignbench.golden.vectors import Tensors, read_object
from assignbench.recipe import ModelSettings
from assignbench.run.matrix.protocol import Protocol
from assignbench.run.training.learner import Learner, build_learner


def build_network(
    keys: Path, cls: type[Assigner], options: Mapping[str, Any], model: ModelSettings, protocol: Protocol
) -> Learner:
    """The preset's learner, with values made for the checkpoint's names and imported under ours.

    Raises:
        DataError: the file of names is missing or damaged.
        UsageError: the names do not fit the preset.
    """
    shapes = read_object(keys)
    if not all(isinstance(shape, list) for shape in shapes.values()):
        raise DataError(f"{keys} does not map names to shapes")
    state = made_state(shapes)
    cell = protocol.head(cls.head).priors_per_cell
    learner = build_learner(
        cls,
        options,
        model,
        classes=class_count(state, "mmdet", cell),
        seed=0,
        protocol=protocol,
        pretrained=False,
    )
    wanted = {name: tensor.shape for name, tensor in learner.state_dict().items()}
    learner.load_state_dict(import_state(state, "mmdet", wanted))
    return learner


@torch.no_grad()
def replay_network(file: Tensors, learner: Learner, origin: Origin | None = None) -> Iterator[Check]:
    """Pyramid and head outputs in evaluation mode, for an input that is normalised already."""
    learner.eval()
    predictions, priors = learner.detector.predict(file["image"])
    found = outputs(predictions, priors, learner, origin)
    quantities = [
        Quantity(name, relative(found[name], golden)) for name, golden in file.tensors.items() if name in found
    ]
    if odd := [name for name in file.tensors if name not in found and name != "image"]:
        raise DataError(f"{file.path} holds {', '.join(odd)}, which the network does not put out")
    yield from worst("outputs", quantities, OUTPUT)


def outputs(
    predictions: Predictions, priors: Priors, learner: Learner, origin: Origin | None = None
) -> dict[str, Tensor]:
    """The maps as the reference has them: ``fpn.L``, ``cls.L``, ``reg.L``, ``extra.L``.

    Distances to the sides are in pixels, after ReLU and stride, those of another unit after ReLU; deltas are raw.
    A decoded reference has probabilities, and boxes in strides.
    """
    head = learner.head
    regression = predictions.regression
    if isinstance(head.coding, Distances):
        regression = regression.clamp(min=0)
        if head.coding.unit == 1:
            regression = regression * priors.stride[:, None]
    flat = {"cls": predictions.outputs, "reg": regression}
    if origin and origin.decoded:
        flat = {"cls": predictions.logits.sigmoid(), "reg": predictions.boxes / priors.stride[:, None]}
    theirs = {name: output for output, name in origin.outputs.items()} if origin else {}
    for name, extra in predictions.extras.items():
        flat[theirs.get(name, "extra")] = extra[..., None] if extra.ndim == 2 else extra
    found = {f"fpn.{level}": features for level, features in enumerate(predictions.pyramid)}
    for name, values in flat.items():
        start = 0
        for place, level in enumerate(head.levels):
            images, _, rows, columns = predictions.pyramid[level].shape
            length = rows * columns * head.priors_per_cell
            maps = values[:, start : start + length].reshape(images, rows, columns, -1)
            found[f"{name}.{place}"] = maps.permute(0, 3, 1, 2)
            start += length
    return found
