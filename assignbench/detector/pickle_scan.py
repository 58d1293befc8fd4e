"""What a pickle would build, by its opcodes, before any of it is built.

Reading a pickle can end the process: Python hashes tuples in tuples without looking how deep they go, and torch makes
room for as many numbers as the file says that there are. So the opcodes are walked through first, on a stack of notes
instead of values.
"""

from __future__ import annotations

import math
import pickletools
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

import torch
from torch import _weights_only_unpickler as weights_only

DEEPEST = 100  # tuples in tuples; trainings leave five
LARGEST = 10**6  # values in a tuple and in the tuples in it, each as often as it stands there
_MARK = object()
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")


class OddPickleError(ValueError):
    """It would build what no checkpoint holds; says what."""


@dataclass
class Scan:
    """What a pickle asks for."""

    names: set[str] = field(default_factory=set)  # "module.name" of everything that it would look up
    storages: dict[str, int] = field(default_factory=dict)  # key of a block of torch's numbers → bytes it would take


@dataclass(frozen=True)
class _Note:
    """What is known of a value: a constant, a name or a tuple; of all else nothing."""

    value: Any = None
    name: str = ""
    parts: tuple[_Note, ...] | None = None
    depth: int = 0  # of tuples
    size: int = 1


_NOTHING = _Note()
_RESULT, _BYTES, _DTYPE = _Note(name="a result"), _Note(name="bytes"), _Note(name="a type of numpy")


def scan(stream: IO[bytes], size: int, found: Scan) -> None:
    """Walk through one pickle, up to its end.

    Args:
        stream: at its start; left behind its end.
        size: bytes that are there at all. Nothing that the pickle names can be larger.
        found: gets what it asks for.

    Raises:
        OddPickleError: it would build what no checkpoint holds.
        ValueError, …: it is not a whole pickle.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, given, _ in pickletools.genops(stream):
        name, argument = opcode.name, cast(Any, given)
        if name in _PUTS and not 0 <= argument <= size:
            raise OddPickleError("it remembers more values than it has bytes")
        if name == "FRAME" and argument > size:
            raise OddPickleError("a part of it is longer than the file")
        if name in _PUTS or name == "MEMOIZE":
            memo[len(memo) if name == "MEMOIZE" else argument] = _top(stack)
            continue
        if name in _GETS:
            stack.append(memo[argument])
            continue
        taken = list(_taken(stack, opcode))
        made = [_MARK if one is pickletools.markobject else _NOTHING for one in opcode.stack_after]
        if name == "DUP":
            made = [taken[0], taken[0]]
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE"):
            made = [_tuple(taken)]
        elif name == "GLOBAL":
            lines = iter(f"{line}\n".encode() for line in argument.split(" ", 1))
            made = [_named(found, ".".join(weights_only._read_global_instruction(lines.__next__)))]
        elif name == "STACK_GLOBAL":
            made = [_named(found, ".".join(str(one.value) for one in taken))]
        elif name in ("REDUCE", "NEWOBJ"):
            made = [_called(*taken)]
        elif name in ("NEWOBJ_EX", "OBJ", "INST"):
            raise OddPickleError("it makes objects in a way that no checkpoint needs")
        elif name == "BUILD":
            made = [_built(*taken, size=size)]
        elif name == "BINPERSID":
            _storage(found, taken[0], size)
        elif len(made) == 1 and made[0] is _NOTHING and argument is not None:
            made = [_Note(argument)]
        stack += made


def _top(stack: list[Any]) -> Any:
    if not stack:
        raise OddPickleError("it remembers a value before there is one")
    return stack[-1]


def _taken(stack: list[Any], opcode: pickletools.OpcodeInfo) -> Iterator[_Note]:
    """Take off the stack what an opcode uses, in the order of the stack, without marks."""
    before = opcode.stack_before
    start = len(stack) - len(before)
    if pickletools.markobject in before:
        mark = next((place for place in reversed(range(len(stack))) if stack[place] is _MARK), -1)
        start = mark - before.index(pickletools.markobject)
    if start < 0:
        raise OddPickleError("it uses values that it does not hold")
    taken = stack[start:]
    del stack[start:]
    yield from (one for one in taken if one is not _MARK)


def _named(found: Scan, name: str) -> _Note:
    found.names.add(name)
    return _Note(name=name)


def _tuple(parts: list[_Note]) -> _Note:
    depth = 1 + max((part.depth for part in parts), default=0)
    size = 1 + sum(part.size for part in parts)
    if depth > DEEPEST or size > LARGEST:
        raise OddPickleError("it nests tuples deeper than any checkpoint does")
    return _Note(parts=tuple(parts), depth=depth, size=size)


def _called(function: _Note, arguments: _Note) -> _Note:
    """What a call gives. What makes room for more than the file holds, or goes through it many times, is refused."""
    name, parts = function.name, arguments.parts
    if parts is None:
        raise OddPickleError(f"it calls {name or 'something'} with what is put together as it is read")
    texts = all(isinstance(part.value, str | bytes) for part in parts)
    first = parts[0] if parts else _NOTHING
    if name == "torch._tensor._rebuild_from_type_v2":  # calls the first with the third
        return _called(first, parts[2] if len(parts) > 2 else _NOTHING)
    if name == "numpy.dtype":
        if not re.fullmatch(r"[<>=|]?[?biufcSUa]\d{0,9}", str(first.value)):
            raise OddPickleError(f"it holds an array of {first.value}, which are no numbers")
        return _DTYPE
    fine = {
        "_codecs.encode": texts and [part.value for part in parts[1:]] in (["latin1"], ["latin-1"]),
        "builtins.bytes": texts or first is _BYTES,
        "builtins.bytearray": texts or first is _BYTES,
        "builtins.set": first is not _RESULT,  # of a tensor, it would hold each of its numbers
        "collections.Counter": first is not _RESULT,
        "collections.OrderedDict": first is not _RESULT,
        "numpy.ndarray": False,
    }.get(name, not re.fullmatch(r"torch(\.\w+)*\.\w*Tensor", name))
    if name.endswith(".multiarray._reconstruct"):
        fine = len(parts) > 1 and parts[1].parts is not None and [one.value for one in parts[1].parts] == [0]
    if not fine:
        raise OddPickleError(f"it calls {name} in a way that no checkpoint needs")
    return _BYTES if name == "_codecs.encode" else _RESULT


def _built(target: _Note, state: _Note, *, size: int) -> _Note:
    """A value with its state. numpy takes every flag of a type, also that its numbers were objects."""
    if target is _DTYPE:
        order, names, counts = (
            [one.value for one in (state.parts or ())[part]] for part in (slice(2), slice(2, 5), slice(5, 7))
        )
        flags = [one.value for one in (state.parts or ())[7:]]
        whole = len(order) == 2 and names == [None] * 3 and all(isinstance(one, int) and one <= size for one in counts)
        if not whole or flags not in ([0], [8]):
            raise OddPickleError("it holds an array of an unknown type")
    return target


def _storage(found: Scan, note: _Note, size: int) -> None:
    """Note a block of numbers: ``("storage", type, key, where, count)``, and of the old format one part more."""
    if note.parts is None or len(note.parts) < 5:
        raise OddPickleError("it names a block of numbers in an unknown way")
    kind, key, count = note.parts[1].name, note.parts[2].value, note.parts[4].value
    if not isinstance(key, str | bytes) or type(count) is not int:
        raise OddPickleError("it names a block of numbers in an unknown way")
    taken = count * _ITEM.get(kind, 0)
    if kind not in _ITEM or not 0 <= taken <= size:
        raise OddPickleError(f"it says that {count:,} numbers of {kind or 'no type'} are in it")
    key = key if isinstance(key, str) else key.decode("ascii")
    found.storages[key] = max(taken, found.storages.get(key, 0))


def _items() -> Mapping[str, int]:
    """Bytes of a number, by the name of a class of storages."""
    found = {"torch.storage.UntypedStorage": 1, "torch.UntypedStorage": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in dir(torch):
            dtype = getattr(getattr(torch, name), "dtype", None) if name.endswith("Storage") else None
            if isinstance(dtype, torch.dtype):
                found |= {f"torch.{name}": dtype.itemsize, f"torch.cuda.{name}": dtype.itemsize}
    return found


_ITEM = _items()


def held(shape: tuple[int, ...], itemsize: int, size: int) -> bool:
    """Whether numbers of a shape can be what a file of a size holds."""
    return math.prod(shape) * itemsize <= size
