"""Unpickling without running anything.

A pickle is a program: it names functions and has them called. Here a name is only looked up in tables, and
nothing is imported for it:

* what builds tensors, arrays and plain containers has a stand-in of its own (`_STAND_INS`), which notes the
  arguments and computes nothing;
* harmless data classes of Python (`_DATA`), the objects of a training (``torch.nn``, ``torch.optim``) and every
  class of a third party become a `Placeholder`: it accepts all that a pickle does to it and does nothing;
* every other name of Python's standard library, of torch or of numpy refuses the file (`RefusedNameError`), as
  soon as it appears, called or not: ``posix.system``, ``builtins.eval``, ``torch.load``.

This is the only module that imports ``pickle``.
"""

from __future__ import annotations

import pickle  # noqa: TID251 - the virtual machine alone; every name and call goes through this module's tables
import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # Python 2's names: __builtin__.xrange → builtins.range
from collections.abc import Callable
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import Any

import torch

from assignbench.detector.inert import ArraySpec, Inert, Items, NumberType, Placeholder, Storage, TensorSpec


class RefusedNameError(Exception):
    """Opening the file as a pickle would run this name."""


@dataclass(frozen=True)
class _Call(Inert):
    """A stand-in for a function. A plain function would let a pickle write to its attributes."""

    run: Callable[..., object]

    def __call__(self, *arguments: object) -> object:
        return self.run(*arguments)


def _tensor(storage: Storage, offset: int, size: Any, stride: Any, *_: object) -> TensorSpec:
    return TensorSpec(storage, offset, tuple(size), tuple(stride), storage.dtype)


def _typed_tensor(storage: Storage, offset: int, size: Any, stride: Any, *rest: Any) -> TensorSpec:
    return TensorSpec(storage, offset, tuple(size), tuple(stride), rest[2])


def _of_type(build: object, _: object, arguments: tuple[Any, ...], *__: object) -> object:
    if not isinstance(build, _Call):
        raise ValueError("a tensor subclass without a way to build it")
    return build(*arguments)


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, as old protocols write them."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _attribute(owner: object, *_: object) -> Placeholder:
    """``getattr`` as pickle names the methods of a class; of unknown classes only."""
    if owner is Placeholder or isinstance(owner, Placeholder):
        return Placeholder()
    raise RefusedNameError("builtins.getattr")


_STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "Untyped": torch.uint8,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}

_NUMPY = ("numpy.core", "numpy._core")  # before and since numpy 2

_STAND_INS: dict[str, object] = {
    "collections.OrderedDict": Items,
    "collections.defaultdict": Items,
    "collections.Counter": Items,
    "builtins.dict": Items,
    "builtins.getattr": _Call(_attribute),
    "copyreg._reconstructor": _Call(Placeholder),
    "_codecs.encode": _Call(_encode),
    "builtins.bytes": _Call(lambda *_: b""),  # old protocols name it for empty bytes only
    "torch._utils._rebuild_tensor": _Call(_tensor),
    "torch._utils._rebuild_tensor_v2": _Call(_tensor),
    "torch._utils._rebuild_tensor_v3": _Call(_typed_tensor),
    "torch._utils._rebuild_parameter": _Call(lambda data, *_: data),
    "torch._utils._rebuild_parameter_with_state": _Call(lambda data, *_: data),
    "torch._tensor._rebuild_from_type": _Call(_of_type),
    "torch._tensor._rebuild_from_type_v2": _Call(_of_type),
    "torch.Size": _Call(lambda *sizes: tuple(*sizes)),
    **{f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    **{
        f"{module}.{name}Storage": dtype
        for name, dtype in _STORAGES.items()
        for module in ("torch", "torch.cuda", "torch.storage")
    },
    "numpy.dtype": NumberType,
    **{f"{numpy}.multiarray._reconstruct": _Call(lambda *_: ArraySpec()) for numpy in _NUMPY},
    **{f"{numpy}.multiarray.scalar": _Call(lambda kind, raw=b"": ArraySpec((), kind, raw)) for numpy in _NUMPY},
    **{
        f"{numpy}.numeric._frombuffer": _Call(lambda raw, kind, shape, order: ArraySpec(shape, kind, raw, order == "F"))
        for numpy in _NUMPY
    },
}

_DATA = {
    f"{module}.{name}"
    for module, names in {
        "builtins": "set frozenset list tuple object int float str bool complex bytearray slice range",
        "datetime": "date datetime time timedelta timezone",
        "pathlib": "Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath",
        "pathlib._local": "Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath",
        "argparse": "Namespace",
        "types": "SimpleNamespace",
        "collections": "deque",
        "uuid": "UUID",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "numpy": "ndarray bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 str_",
        "torch": "Tensor device",
        "torch.torch_version": "TorchVersion",
    }.items()
    for name in names.split()
}

_RULED = sys.stdlib_module_names | {"torch", "numpy"}  # all else is a third party's


def _meaning(module: str, name: str) -> object:
    """What stands for a name of the file.

    Raises:
        RefusedNameError: it may run code.
    """
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    full = f"{module}.{name}"
    if full in _STAND_INS:
        return _STAND_INS[full]
    object_of_a_training = f"{module}.".startswith(("torch.nn.", "torch.optim.")) and "." not in name
    if full not in _DATA and not object_of_a_training and module.partition(".")[0] in _RULED:
        raise RefusedNameError(full)
    return Placeholder


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, encoding="latin1")  # Python 2's strings hold the bytes of arrays
        self.storages: dict[str, Storage] = {}

    def find_class(self, module_name: str, global_name: str, /) -> object:
        return _meaning(module_name, global_name)

    def persistent_load(self, pid: Any, /) -> object:
        """``('storage', type, key, device, elements[, view])``, or a class with its source text."""
        if pid[0] == "module":
            return Placeholder
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError("a reference that is not to a storage")
        storage = Storage(dtype, str(key), count)
        self.storages[storage.key] = storage
        if view and view[0] is not None:
            _, first, count = view[0]
            return Storage(dtype, storage.key, count, first)
        return storage


def load(file: BytesIO) -> tuple[object, dict[str, Storage]]:
    """One pickle from where ``file`` stands; it is left behind it.

    Returns:
        Numbers, strings, lists, tuples, `Items`, `TensorSpec`, `ArraySpec` and `Placeholder`; and the storages
        referred to, by key.

    Raises:
        RefusedNameError: the pickle names something that may run code.
        Exception: any other, for bytes that are not a whole pickle.
    """
    start, size = file.tell(), file.seek(0, SEEK_END)
    file.seek(start)
    for opcode, argument, _ in pickletools.genops(file):
        # the memo is a table as long as the highest index: four bytes could ask for 64 GiB
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
            raise ValueError("a memo index beyond the length of the file")
    file.seek(start)
    unpickler = _Unpickler(file)
    return unpickler.load(), unpickler.storages
