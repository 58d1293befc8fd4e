"""A data set in one file: a line of JSON, then its arrays as they lie in memory, so that processes can map them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset, Repair, Shared
from assignbench.data.images import Images

_ARRAYS = ("boxes", "labels", "image", "area", "crowd", "annotation_ids")  # of a Dataset
_PICTURES = ("ids", "sizes", "text", "ends")  # of its Images
_ALIGNED = 64  # bytes
_BLOCK = 1 << 22  # bytes hashed at once
_LONGEST = 1 << 24  # bytes of the header
_KINDS = {"<f8": np.dtype("<f8"), "<i8": np.dtype("<i8"), "|u1": np.dtype("u1"), "|b1": np.dtype("?")}


def save(dataset: Dataset, file: Path) -> None:
    """Write header and arrays, whole or not at all.

    Raises:
        OSError: the disk is full, the folder cannot be written, ….
    """
    images = images_of(dataset)
    arrays = {
        **{key: getattr(dataset, key) for key in _ARRAYS},
        **{f"images.{key}": getattr(images, key) for key in _PICTURES},
        **{f"flags.{key}": array for key, array in dataset.flags.items()},
    }
    places, end = {}, 0
    for key, array in arrays.items():
        places[key] = [array.dtype.newbyteorder("<").str, list(array.shape), end]
        end += -(-array.nbytes // _ALIGNED) * _ALIGNED
    facts = {
        "classes": dataset.classes,
        "category_ids": dataset.category_ids,
        "repairs": [asdict(repair) for repair in dataset.repairs],
        "fingerprint": dataset.fingerprint,
        "offsets": dataset.offsets,
    }
    header = {"arrays": places, "facts": facts}
    blocks = [_padded(array) for array in arrays.values()]
    digest = _digest(header, (part for block in blocks for part in block))
    line = json.dumps({**header, "sha256": digest}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(line + b" " * (-(len(line) + 1) % _ALIGNED) + b"\n")
            for block in blocks:
                for part in block:
                    stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


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
    with file.open("rb") as stream:
        header = json.loads(stream.readline(_LONGEST))
        if not isinstance(header, dict):
            raise ValueError("it has no header")
        first = stream.tell()
        if verify and _digest(header, _blocks(stream)) != header["sha256"]:
            raise ValueError("its digest does not fit")
        mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {key: _mapped(mapping, first, *place) for key, place in header["arrays"].items()}
    facts = header["facts"]
    dataset = Dataset(
        name=name,
        split=split,
        classes=tuple(facts["classes"]),
        category_ids=tuple(facts["category_ids"]),
        images=Images(pictures, *(arrays[f"images.{key}"] for key in _PICTURES)),
        boxes=arrays["boxes"],
        labels=arrays["labels"],
        image=arrays["image"],
        area=arrays["area"],
        crowd=arrays["crowd"],
        annotation_ids=arrays["annotation_ids"],
        repairs=tuple(Repair(one["kind"], one["count"], tuple(one["examples"])) for one in facts["repairs"]),
        fingerprint=facts["fingerprint"],
        offsets={key: (x, y) for key, (x, y) in facts["offsets"].items()},
        flags={key.removeprefix("flags."): array for key, array in arrays.items() if key.startswith("flags.")},
    )
    object.__setattr__(dataset, "shared", Shared(load, file, (name, split, pictures)))
    return dataset


def images_of(dataset: Dataset) -> Images:
    """Its pictures as flat arrays."""
    return dataset.images if isinstance(dataset.images, Images) else Images.of(dataset.images)


def _mapped(mapping: mmap.mmap, first: int, kind: str, shape: list[int], offset: int) -> NDArray[Any]:
    count = int(np.prod(shape))
    dtype = _KINDS[kind]
    if not count:
        return np.zeros(shape, dtype)
    return np.frombuffer(mapping, dtype, count, first + offset).reshape(shape)


def _padded(array: NDArray[Any]) -> tuple[memoryview, bytes]:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return little.view(np.uint8).data, bytes(-little.nbytes % _ALIGNED)


def _blocks(stream: BinaryIO) -> Iterable[bytes]:
    return iter(lambda: stream.read(_BLOCK), b"")


def _digest(header: Mapping[str, Any], blocks: Iterable[memoryview | bytes]) -> str:
    """Over the header, without its own digest, and the arrays."""
    digest = hashlib.sha256(json.dumps([header["arrays"], header["facts"]]).encode())
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
