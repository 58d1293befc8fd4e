"""Golden vectors on disk: which there are, and their tensors; the layout is that of mmdetection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from assignbench.core import Head, Predictions, Priors, Targets
from assignbench.core.parts import RawOutputs, predictions_of
from assignbench.core.priors import STRIDES, pyramid_priors
from assignbench.detector.head import flatten
from assignbench.errors import DataError, RunError, UsageError
from assignbench.files import read_json
from assignbench.golden.reference import Origin

KINDS = ("losses", "network", "detections", "trajectory")


@dataclass(frozen=True)
class Vectors:
    """One file: of a strategy, and of a case where there are several."""

    kind: str
    strategy: str
    case: str
    path: Path


@dataclass(frozen=True)
class Tensors:
    """What a file holds."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise DataError(f"{self.path} holds no tensor {name!r}; it is not a golden vector of this kind")
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def levels(self, name: str) -> list[Tensor]:
        """``name.0``, ``name.1``, … of all levels, or nothing where the strategy has no such output."""
        count = sum(key.rpartition(".")[0] == name for key in self.tensors)
        return [self[f"{name}.{level}"] for level in range(count)]

    def setting(self, name: str) -> str:
        """A value of the metadata."""
        if name not in self.metadata:
            raise DataError(f"{self.path} says no {name!r} in its metadata")
        return self.metadata[name]


def find(folder: Path) -> list[Vectors]:
    """Every file of vectors below a folder, in the order of the kinds.

    Raises:
        UsageError: there is none.
    """
    found = [Vectors("losses", path.parent.name, path.stem, path) for path in folder.glob("losses/*/*.safetensors")]
    found += [Vectors("network", path.stem, "outputs", path) for path in folder.glob("network/*.safetensors")]
    found += [Vectors("detections", path.stem, "images", path) for path in folder.glob("detections/*.safetensors")]
    found += [Vectors("trajectory", path.stem, "steps", path) for path in folder.glob("trajectory/*.json")]
    if not found:
        state = "holds no golden vectors" if folder.is_dir() else "does not exist"
        raise UsageError(f"{folder} {state}; expected {', '.join(f'{kind}/' for kind in KINDS)} in it")
    return sorted(found, key=lambda one: (one.strategy, KINDS.index(one.kind), one.case))


def read_tensors(path: Path, device: torch.device) -> Tensors:
    """All tensors of a safetensors file, on the device.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return Tensors(path, tensors, dict(file.metadata() or {}))
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read as safetensors: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DataError: the file is missing, damaged or something else.
    """
    try:
        content = read_json(path)
    except RunError as error:  # here it is data, and no run's
        raise DataError(str(error)) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a JSON object")
    return content


def images_of(raw: Tensors) -> int:
    """Images in the batch."""
    return raw["cls.0"].shape[0]


def priors_of(raw: Tensors, head: Head) -> Priors:
    """The priors for the maps of a file, at the strides that it names: those of P3 … P7 if it names none."""
    named = raw.metadata.get("strides", ",".join(map(str, STRIDES)))
    strides = tuple(int(stride) for stride in named.split(","))
    maps = [(one.shape[-2], one.shape[-1]) for one in raw.levels("cls")]
    if len(maps) != len(strides):
        raise DataError(f"{raw.path} holds class logits of {len(maps)} levels, and names strides of {len(strides)}")
    height, width = (size * strides[0] for size in maps[0])
    if len(head.levels) < len(STRIDES):  # the file's levels are those that the head speaks on
        own = dict(zip(head.levels, zip(maps, strides, strict=True), strict=True))
        placed = [own.get(level, ((0, 0), stride)) for level, stride in enumerate(STRIDES)]
        maps, strides = [size for size, _ in placed], tuple(stride for _, stride in placed)
    return pyramid_priors(head, height, width, raw["cls.0"].device, maps=maps, strides=strides)


def predictions_from(
    raw: Mapping[str, Tensor], head: Head, priors: Priors, classes: int, file: Tensors, origin: Origin
) -> Predictions:
    """Predictions from raw maps ``cls.L``, ``reg.L`` and further outputs: ``[image, anchor · K, row, column]``."""
    names = {output: name or (head.extras[0].name if head.extras else "") for output, name in origin.outputs.items()}
    found = {name: output for output, name in names.items() if f"{output}.0" in raw}
    if set(found) != {extra.name for extra in head.extras}:
        raise DataError(f"{file.path}: the extra output of the file and of the strategy's head do not go together")
    extras = {extra.name: joined(raw, found[extra.name], extra.channels) for extra in head.extras}
    coding = origin.coding or head.coding
    regression = joined(refined(raw, origin), "reg", coding.outputs)
    if coding != head.coding:
        boxes = coding.decode(regression, priors.boxes, priors.stride)
        regression = head.coding.encode(boxes, priors.boxes, priors.stride)
    return predictions_of(
        RawOutputs(
            joined(raw, "cls", classes),
            regression,
            {
                extra.name: extras[extra.name] if extra.channels > 1 else extras[extra.name][..., 0]
                for extra in head.extras
            },
        ),
        head,
        priors,
    )


def refined(raw: Mapping[str, Tensor], origin: Origin) -> Mapping[str, Tensor]:
    """The maps, those of boxes refined where a file has offsets for it."""
    if origin.refined is None:
        return raw
    levels = [name.removeprefix("offset.") for name in raw if name.startswith("offset.")]
    return {**raw, **{f"reg.{one}": origin.refined(raw[f"reg.{one}"], raw[f"offset.{one}"]) for one in levels}}


def priors_in_use(raw: Mapping[str, Tensor], head: Head, priors: Priors, origin: Origin) -> Priors:
    """The priors that an extra output predicts, where one does; else the head's own."""
    own = {name: output for output, name in origin.outputs.items()}
    for extra in head.extras:
        if extra.name in own and f"{own[extra.name]}.0" in raw:
            values = joined(raw, own[extra.name], extra.channels).detach()
            boxes = extra.predicted_priors(values if extra.channels > 1 else values[..., 0], priors)
            priors = priors if boxes is None else priors.predicted(boxes)
    return priors


def joined(raw: Mapping[str, Tensor], name: str, width: int) -> Tensor:
    """All levels of an output: ``[image, location, width]``."""
    levels = sum(key.rpartition(".")[0] == name for key in raw)
    return torch.cat([flatten(raw[f"{name}.{level}"], width) for level in range(levels)], dim=1)


def targets_of(boxes: list[Tensor], labels: list[Tensor]) -> Targets:
    """The objects of a batch, from one tensor an image."""
    image = [torch.full((len(one),), index, device=one.device) for index, one in enumerate(boxes)]
    return Targets(torch.cat(boxes), torch.cat(labels).long(), torch.cat(image), len(boxes))
