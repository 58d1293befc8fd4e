"""What the names in a pickle stand for: objects that note what they are told, and do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


class Inert:
    """An object that takes no state: without `__setstate__` a pickle could write to its attributes."""

    def __setstate__(self, *state: object) -> None:
        pass


class Placeholder(Inert):
    """An object, or a class, that is not known: whatever is done to it has no effect."""

    def __new__(cls, *_: object, **__: object) -> Placeholder:  # noqa: D102 - pickle's way to call a class
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> Placeholder:  # noqa: D102 - a function, or a class of a class
        return self

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Of a subclass of list."""

    def extend(self, values: object) -> None:
        """Of a subclass of list."""

    def add(self, value: object) -> None:
        """Of a subclass of set."""


class Items(Inert, dict[Any, Any]):
    """``dict``, ``OrderedDict``, ``Counter``, or a ``defaultdict`` whose factory is never called."""

    def __init__(self, *arguments: object) -> None:
        last = arguments[-1] if arguments else ()
        super().__init__(last if isinstance(last, dict | list | tuple) else ())


@dataclass(frozen=True)
class Storage(Inert):
    """Where a tensor's numbers are: ``count`` elements from ``first`` on in the file's storage ``key``."""

    dtype: torch.dtype
    key: str
    count: int
    first: int = 0


@dataclass(frozen=True)
class TensorSpec(Inert):
    """A tensor of a file that has not been read yet; nothing in it has been checked."""

    storage: Storage
    offset: int  # elements of dtype, as are the strides
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class NumberType:
    """A numpy dtype: its code without byte order, e.g. ``f4``, then the order by `__setstate__`."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.order = str(code), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class ArraySpec:
    """A numpy array that has not been built yet; nothing in it has been checked."""

    def __init__(self, shape: object = (), kind: object = None, raw: object = b"", fortran: object = False) -> None:
        self.shape, self.kind, self.raw, self.fortran = shape, kind, raw, fortran

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.kind, self.fortran, self.raw = state
