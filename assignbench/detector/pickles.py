"""Checkpoints of other programs: read without running anything.

torch's zip archives, torch's files from before 1.6, plain pickles of numpy arrays (detectron2's ``.pkl``) and
safetensors. Which names a pickle may contain is `assignbench.detector.unpickling`'s rule. Only the storages of the
state dict are read, each within its own bytes; optimizer states stay unread.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import torch
from torch import Tensor

from assignbench.detector.inert import ArraySpec, NumberType, Storage, TensorSpec
from assignbench.detector.unpickling import RefusedNameError, load
from assignbench.errors import DataError

LEGACY = 0x1950A86A20F9469CFC6C  # first pickle of torch's old format
ZIP = b"PK\x03\x04"
DTYPES = frozenset(
    {torch.float64, torch.float32, torch.float16, torch.bfloat16}
    | {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}
)
NUMBERS = re.compile(r"[fiu][1248]|b1")  # numpy's codes of plain numbers
ELEMENTS = 2**40  # no tensor has more: an expanded one may claim any size within few bytes

Reader = Callable[[Storage], bytes]  # all bytes of a storage


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and what its file says about it."""

    tensors: dict[str, Tensor]  # by their names; may share memory
    classes: tuple[str, ...] | None  # class names in label order, from mmdetection's meta
    version: str | None  # e.g. "mmdet 2.25.0", "mmengine 0.7.0"
    config: str | None  # text of the training's configuration


class _OddFileError(ValueError):
    """Not a checkpoint, or not a whole one; says why."""


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a foreign checkpoint: below ``state_dict``, ``model`` or (Detectron's) ``blobs``, or at the top.

    Raises:
        DataError: no such file, not a whole checkpoint, or opening it the usual way would run code.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load as load_safetensors

            return Checkpoint(load_safetensors(data), None, None, None)
        content, reader = _zip(data) if data.startswith(ZIP) else _pickles(data)
        return _checkpoint(content, reader)
    except RefusedNameError as name:
        raise DataError(f"{path} would run {name} when opened; refused, nothing was run") from None
    except _OddFileError as error:
        raise DataError(f"{path} is not a checkpoint that can be read: {error}") from error
    except Exception as error:  # bytes of unknown origin fail in any way
        reason = str(error).strip().partition("\n")[0][:200]
        raise DataError(f"{path} is damaged or not a checkpoint ({type(error).__name__}: {reason})") from error


def _zip(data: bytes) -> tuple[object, Reader]:
    """Torch ≥ 1.6: ``ROOT/data.pkl``, and each storage as ``ROOT/data/KEY``."""
    archive = ZipFile(BytesIO(data))
    pickled = [name for name in archive.namelist() if re.fullmatch(r"[^/]*/data\.pkl", name)]
    if len(pickled) != 1:
        raise _OddFileError("the archive was not written by torch, it has no data.pkl")
    root = pickled[0].partition("/")[0]

    def entry(name: str) -> bytes:
        if name not in archive.NameToInfo:
            raise _OddFileError(f"{name} is missing in the archive")
        if archive.getinfo(name).compress_type != ZIP_STORED:
            raise _OddFileError(f"{name} is compressed in the archive, which torch never does")
        return archive.read(name)

    order = entry(f"{root}/byteorder") if f"{root}/byteorder" in archive.NameToInfo else b"little"
    swapped = order.decode("ascii") != sys.byteorder

    def reader(storage: Storage) -> bytes:
        raw = entry(f"{root}/data/{storage.key}")
        if not swapped or storage.dtype.itemsize == 1:
            return raw
        return np.frombuffer(raw, f"u{storage.dtype.itemsize}").byteswap().tobytes()

    content, _ = load(BytesIO(entry(pickled[0])))
    return content, reader


def _pickles(data: bytes) -> tuple[object, Reader]:
    """One pickle, or torch < 1.6: five of them, then for each storage its number of elements and its bytes."""
    file = BytesIO(data)
    content, _ = load(file)
    if content != LEGACY:
        return content, lambda _: b""  # a plain pickle refers to no storage
    load(file)  # version of the format
    load(file)  # byte order and sizes of C's types on the writing machine; storages are little-endian anyway
    content, storages = load(file)
    keys, _ = load(file)
    if not isinstance(keys, list):
        raise _OddFileError("the list of its storages is missing")
    spans: dict[str, tuple[int, int]] = {}
    position = file.tell()
    for key in map(str, keys):
        elements = int.from_bytes(data[position : position + 8], "little", signed=True)
        start = position + 8
        position = start + elements * storages[key].dtype.itemsize
        if not start <= position <= len(data):
            raise _OddFileError(f"it ends within storage {key}")
        spans[key] = start, position
    return content, lambda storage: data[slice(*spans[storage.key])]


def _checkpoint(content: object, reader: Reader) -> Checkpoint:
    if not isinstance(content, dict):
        raise _OddFileError("no dictionary at its top")
    inner = [content[key] for key in ("state_dict", "model", "blobs") if isinstance(content.get(key), dict)]
    state: dict[Any, Any] = inner[0] if inner else content
    storages: dict[str, Tensor] = {}
    tensors = {}
    for name, value in state.items():
        if isinstance(value, TensorSpec):
            tensors[str(name)] = _tensor(str(name), value, storages, reader)
        elif isinstance(value, ArraySpec):
            tensors[str(name)] = _array(str(name), value)
    if not tensors:
        raise _OddFileError("no tensors by name below 'state_dict', 'model' or 'blobs', or at its top")
    if all(name.startswith("module.") for name in tensors):  # of a model in DataParallel
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    meta = content.get("meta")
    return _described(tensors, meta if isinstance(meta, dict) else {})


def _described(tensors: dict[str, Tensor], meta: Mapping[Any, Any]) -> Checkpoint:
    """Mmdetection 2: CLASSES, mmdet_version, config; 3: dataset_meta, mmengine_version, cfg."""
    dataset = meta.get("dataset_meta")
    dataset = dataset if isinstance(dataset, dict) else {}
    named = [dataset.get("classes"), dataset.get("CLASSES"), meta.get("CLASSES")]
    listed = [tuple(names) for names in named if isinstance(names, list | tuple)]
    classes = [names for names in listed if names and all(isinstance(name, str) for name in names)]
    texts = {key: value for key, value in meta.items() if isinstance(value, str)}
    versions = [f"{name} {texts[f'{name}_version']}" for name in ("mmdet", "mmengine") if f"{name}_version" in texts]
    configs = [texts[key] for key in ("config", "cfg") if key in texts]
    return Checkpoint(
        tensors,
        classes=classes[0] if classes else None,
        version=versions[0] if versions else None,
        config=configs[0] if configs else None,
    )


def _tensor(name: str, spec: TensorSpec, storages: dict[str, Tensor], reader: Reader) -> Tensor:
    """A view of its storage, after it was made sure that it lies within."""
    storage = spec.storage
    if spec.dtype not in DTYPES:
        raise _OddFileError(f"{name} holds numbers of type {spec.dtype}")
    if storage.key not in storages:
        raw = reader(storage)
        storages[storage.key] = torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0).byte()
    flat = storages[storage.key]

    numbers = (spec.offset, storage.first, storage.count, *spec.size, *spec.stride)
    whole = all(type(number) is int and number >= 0 for number in numbers) and len(spec.size) == len(spec.stride)
    if not whole or math.prod(spec.size) > ELEMENTS:
        raise _OddFileError(f"{name} has an impossible shape")
    last = spec.offset + sum((size - 1) * stride for size, stride in zip(spec.size, spec.stride, strict=True))
    end = (last + 1) * spec.dtype.itemsize if all(spec.size) else 0
    first = storage.first * storage.dtype.itemsize
    window = min(storage.count * storage.dtype.itemsize, len(flat) - first)
    if end > window:
        raise _OddFileError(f"{name} reaches outside its storage: {end} bytes of {window}")
    if not all(spec.size):
        return torch.empty(spec.size, dtype=spec.dtype)
    part = flat[first : first + end].view(spec.dtype)
    return part.as_strided(spec.size, spec.stride, part.storage_offset() + spec.offset)


def _array(name: str, spec: ArraySpec) -> Tensor:
    kind, shape, raw = spec.kind, spec.shape, spec.raw
    if isinstance(raw, str):  # of Python 2
        raw = raw.encode("latin1")
    if (
        not isinstance(kind, NumberType)
        or not NUMBERS.fullmatch(kind.code)
        or not isinstance(raw, bytes | bytearray)
        or not isinstance(shape, tuple)
    ):
        raise _OddFileError(f"{name} is an array of something else than numbers")
    dtype = np.dtype(f"{'>' if kind.order == '>' else '<'}{kind.code}")
    if len(raw) != math.prod(shape) * dtype.itemsize or any(size < 0 for size in shape):
        raise _OddFileError(f"{name} has {len(raw)} bytes, its shape {shape} wants another number")
    array = np.frombuffer(raw, dtype).reshape(shape, order="F" if spec.fortran else "C")
    return torch.from_numpy(array.astype(dtype.newbyteorder("="), order="C"))
