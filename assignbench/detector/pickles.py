"""Checkpoints of other programs: read without running anything.

torch's files (zip archives, and those from before 1.6) are read by torch's own weights-only reader, which calls nothing
that is not on a list. What a training leaves beside its tensors (logs, configurations, dates) is skipped: its classes
are put on that list as `_Skipped`. Plain pickles of numpy arrays (Detectron's ``.pkl``) are not torch's; Python's
reader reads them, and knows numpy's names alone.
"""

from __future__ import annotations

import contextlib
import mmap
import pickle  # noqa: TID251 - as `_Arrays` alone, which knows a handful of names
import sys
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch import _weights_only_unpickler as weights_only
from torch.serialization import safe_globals

from assignbench.detector.pickle_scan import OddPickleError, Scan, held, scan
from assignbench.detector.wrapped import AmbiguousNamesError, unwrapped, weights_of
from assignbench.errors import DataError
from assignbench.files import open_regular

PACKED = 20  # times its size: as much may an archive hold; weights of a training hardly shrink
ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the first of the pickles in torch's old format


@dataclass(frozen=True)
class Checkpoint:
    """A state dict and what its file says about it."""

    tensors: dict[str, Tensor]  # by their names; may share memory, and be the file's bytes mapped
    classes: tuple[str, ...] | None  # class names in label order, from mmdetection's meta
    version: str | None  # e.g. "mmdet 2.25.0", "mmengine 0.7.0"
    config: str | None  # text of the training's configuration
    notes: tuple[str, ...] = ()  # which of several weights were taken, and what was left out of their names


class _OddFileError(ValueError):
    """Not a checkpoint, or not a whole one; says why."""


class _RefusedNameError(Exception):
    """Opening the file as a pickle would run this name."""


class _Skipped:
    """Stands for a class that is not read: called with anything, it gives a dictionary that the file may fill."""

    def __new__(cls, *_: object) -> Counter[Any]:
        return Counter()  # torch sets items of dict, OrderedDict and Counter alone, and attributes of Counter, too


# Of Python's own names those that a training's notes hold; another name of Python, torch or numpy refuses the file.
_SKIPPED = {
    f"{module}.{name}"
    for module, names in {
        "builtins": "getattr frozenset list tuple dict object int float str bool slice range",
        "collections": "defaultdict deque",
        "datetime": "date datetime time timedelta timezone",
        "pathlib": "Path PosixPath WindowsPath",
        "pathlib._local": "Path PosixPath WindowsPath",
        "argparse": "Namespace",
        "types": "SimpleNamespace",
        "torch.torch_version": "TorchVersion",
    }.items()
    for name in names.split()
}
_RULED = sys.stdlib_module_names | {"torch", "numpy"}  # all else is a third party's

_RECONSTRUCT, _SCALAR = np.zeros(1).__reduce__()[0], np.float32(0).__reduce__()[0]
_NUMPY: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "builtins.bytes": bytes,
    **{f"numpy.{core}.multiarray._reconstruct": _RECONSTRUCT for core in ("core", "_core")},  # before and since numpy 2
    **{f"numpy.{core}.multiarray.scalar": _SCALAR for core in ("core", "_core")},
}
_PLAIN: dict[str, Any] = {  # of plain pickles. `__call__`: a pickle could write to the attributes of a function
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": str.encode,
    "numpy._core.numeric._frombuffer": getattr(np.zeros(1).__reduce_ex__(5)[0], "__call__"),  # noqa: B004, B009
}


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a foreign checkpoint, by the names of the network: `assignbench.detector.wrapped` says which.

    Raises:
        DataError: no such file, not a whole checkpoint, or opening it the usual way would run code.
    """
    try:
        with open_regular(path) as file:
            first = file.read(len(LEGACY))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        if path.suffix == ".safetensors":
            tensors, notes = unwrapped(load_file(path))
            return Checkpoint(tensors, None, None, None, notes)
        if first.startswith(ZIP):
            return _checkpoint(_zip(path), PACKED * path.stat().st_size)
        return _checkpoint(_legacy(path) if first == LEGACY else _arrays(path), path.stat().st_size)
    except _RefusedNameError as name:
        raise DataError(f"{path} would run {name} when opened; refused, nothing was run") from None
    except (_OddFileError, OddPickleError, AmbiguousNamesError) as error:
        raise DataError(f"{path} is not a checkpoint that can be read: {error}") from error
    except Exception as error:  # bytes of unknown origin fail in any way
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0][:200]
        raise DataError(f"{path} is damaged or not a checkpoint ({type(error).__name__}: {reason})") from error


def _zip(path: Path) -> object:
    with ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(entry.file_size for entry in archive.infolist()) > PACKED * path.stat().st_size:
            raise _OddFileError(f"it would be more than {PACKED} times as large when it is unpacked")
        if damaged := archive.testzip():  # mapped, the tensors' checksums are looked at by nobody
            raise _OddFileError(f"{damaged} in it is damaged")
        pickled = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if not pickled:
            raise _OddFileError("the archive was not written by torch, it has no data.pkl")
        found = Scan()
        scan(BytesIO(archive.read(pickled[0])), sum(sizes.values()), found)
        for key, taken in found.storages.items():
            if taken > sizes.get(f"{pickled[0].removesuffix('data.pkl')}data/{key}", 0):
                raise _OddFileError(f"the numbers {key} are not all in it")
        stored = all(entry.compress_type == ZIP_STORED for entry in archive.infolist())
    return _torch(path, found.names, mmap=stored)


def _legacy(path: Path) -> object:
    found = Scan()
    with _mapped(path) as content:  # magic number, version of the format, byte order, then what was saved
        for _ in range(4):
            scan(content, len(content), found)
        if sum(found.storages.values()) > len(content):
            raise _OddFileError("it says that it holds more numbers than it has bytes")
    return _torch(path, found.names, mmap=False)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[Any]:
    """A file's bytes, to be read as a file; whoever asks for more than there are gets those."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content


def _torch(path: Path, names: set[str], *, mmap: bool) -> object:
    """What torch reads of its own file; of ``names`` in it, those that are harmless are skipped."""
    skipped = {name for name in names - _NUMPY.keys() if name in _SKIPPED or name.partition(".")[0] not in _RULED}
    if refused := names - skipped - _NUMPY.keys() - weights_only._get_allowed_globals().keys():
        raise _RefusedNameError(min(refused))
    known: dict[str, Any] = {**dict.fromkeys(skipped, _Skipped), **_NUMPY}
    allowed: list[Any] = [(value, name) for name, value in known.items()]
    allowed += [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    with safe_globals(allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a protocol that is unusual for torch: it is read, or said to be unreadable
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)  # noqa: TID251 - runs nothing


class _Arrays(pickle.Unpickler):
    """A plain pickle of numpy arrays."""

    def find_class(self, module_name: str, global_name: str, /) -> object:
        known = _NUMPY | _PLAIN
        if (name := f"{module_name}.{global_name}") not in known:
            raise _RefusedNameError(name)
        return known[name]


def _arrays(path: Path) -> object:
    with _mapped(path) as content:
        scan(content, len(content), Scan())
    with path.open("rb") as file:
        return _Arrays(file, encoding="latin1").load()  # Python 2's strings hold the bytes of arrays


def _checkpoint(content: object, size: int) -> Checkpoint:
    """Tensors by name; ``size`` is how many bytes of them the file can hold."""
    if not isinstance(content, dict):
        raise _OddFileError("no dictionary at its top")
    state, notes = weights_of(content, (Tensor, np.ndarray, np.generic))
    for name, value in state.items():
        _refuse_unheld(name, value, size)
    tensors = {
        str(name): value.detach() if isinstance(value, Tensor) else _native(value)
        for name, value in state.items()
        if isinstance(value, Tensor | np.ndarray | np.generic)
    }
    if not tensors:
        raise _OddFileError("no tensors by name below 'state_dict', 'model' or 'blobs', or at its top")
    tensors, renamed = unwrapped(tensors)
    meta = content.get("meta")
    return _described(tensors, meta if isinstance(meta, dict) else {}, (*notes, *renamed))


def _refuse_unheld(name: object, value: object, size: int) -> None:
    """Refuse a tensor without numbers of its own: one number may stand for 2³⁶, and a network be built of that size."""
    plain = not isinstance(value, Tensor) or (
        value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized and not value.is_nested
    )
    if isinstance(value, Tensor | np.ndarray) and not (plain and held(tuple(value.shape), value.dtype.itemsize, size)):
        raise _OddFileError(f"{name} is {tuple(value.shape)} large, and the file does not hold so many numbers")


def _native(value: np.ndarray | np.generic) -> Tensor:
    array = np.asarray(value)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def _described(tensors: dict[str, Tensor], meta: Mapping[Any, Any], notes: tuple[str, ...]) -> Checkpoint:
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
        notes=notes,
    )
