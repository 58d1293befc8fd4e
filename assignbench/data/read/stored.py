"""A data set in one file of safetensors: processes that open it map its arrays, so that they lie in memory once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from assignbench.data.dataset import Dataset, Repair, Shared
from assignbench.data.images import Images, Stored
from assignbench.files import require_regular, written

_ARRAYS = ("boxes", "labels", "image", "area", "crowd", "annotation_ids")  # of a Dataset
_PICTURES = ("ids", "sizes", "text", "ends")  # of its Images
_ITEMS = ("images", "annotations")  # of each Repair


def save(dataset: Dataset, file: Path) -> None:
    """Write arrays and facts, whole or not at all.

    Raises:
        SystemProblem: the disk is full, the folder cannot be written, ….
    """
    images = images_of(dataset)
    arrays = {
        **{key: getattr(dataset, key) for key in _ARRAYS},
        **{f"images.{key}": getattr(images, key) for key in _PICTURES},
        **{f"flags.{key}": array for key, array in dataset.flags.items()},
        **{f"repairs.{at}.{key}": getattr(one, key) for at, one in enumerate(dataset.repairs) for key in _ITEMS},
    }
    arrays = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    facts = json.dumps(
        {
            "classes": dataset.classes,
            "category_ids": dataset.category_ids,
            "repairs": [[one.kind, one.count, one.examples, one.how, one.details] for one in dataset.repairs],
            "fingerprint": dataset.fingerprint,
            "offsets": dataset.offsets,
            "stored": asdict(images.stored),
        }
    )
    with written(file) as temporary:
        try:
            save_file(arrays, temporary, {"facts": facts, "sha256": _digest(facts, arrays)})
        except SafetensorError as error:  # what it says of a disk that is full
            raise OSError(str(error)) from error


def load(file: Path, name: str, split: str, pictures: Path, *, verify: bool = False) -> Dataset:
    """The data set of a file, its arrays mapped; another process that gets it maps them, too.

    Args:
        file: as `save` wrote it.
        name: of the data set.
        split: name of the split.
        pictures: folder of the pictures.
        verify: read it all once and compare the digest.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is damaged; also KeyError and TypeError.
    """
    require_regular(file)
    try:
        with safe_open(file, "pt") as opened:  # for numpy, it would copy
            metadata = opened.metadata() or {}
            arrays = {key: opened.get_tensor(key).numpy() for key in opened.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    for array in arrays.values():
        array.flags.writeable = False
    if verify and _digest(metadata["facts"], arrays) != metadata["sha256"]:
        raise ValueError("its digest does not fit")
    facts = json.loads(metadata["facts"])
    dataset = Dataset(
        name=name,
        split=split,
        classes=tuple(facts["classes"]),
        category_ids=tuple(facts["category_ids"]),
        images=Images(
            pictures,
            **{key: arrays[f"images.{key}"] for key in _PICTURES},
            stored=Stored(**facts["stored"]),
        ),
        **{key: arrays[key] for key in _ARRAYS},
        repairs=tuple(
            Repair(
                kind,
                count,
                tuple(examples),
                how,
                images=arrays[f"repairs.{at}.images"],
                annotations=arrays[f"repairs.{at}.annotations"],
                details=tuple(details),
            )
            for at, (kind, count, examples, how, details) in enumerate(facts["repairs"])
        ),
        fingerprint=facts["fingerprint"],
        offsets={key: (x, y) for key, (x, y) in facts["offsets"].items()},
        flags={key.removeprefix("flags."): array for key, array in arrays.items() if key.startswith("flags.")},
    )
    object.__setattr__(dataset, "shared", Shared(load, file, (name, split, pictures)))
    return dataset


def images_of(dataset: Dataset) -> Images:
    """Its pictures as flat arrays."""
    return dataset.images if isinstance(dataset.images, Images) else Images.of(dataset.images)


def _digest(facts: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(facts.encode())
    for key, array in sorted(arrays.items()):
        digest.update(json.dumps([key, array.dtype.name, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
