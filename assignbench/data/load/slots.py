"""Shared memory that a worker fills again and again: to get and map new memory costs more than to fill it.

A worker has a few slots and takes them in turn, one for each item that it loads. It sends the place of what lies in a
slot. The main process maps a slot when it first hears of it, and copies an item out of it while it receives it. By then
the slot is free, as the loader's rule has it: a worker gets the number of its next item only when the main process has
received the item that it loaded `SLOTS` items before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.errors import SystemProblem

LARGEST = 1 << 25  # bytes of a slot: the C library fetches new memory for every copy from here on, and nothing is saved
SLOTS = 2  # of a worker; also the loader's ``prefetch_factor``, by which the rule above holds

Place = tuple[int, int, int]  # loader, worker, slot

_mapped: dict[Place, Tensor] = {}  # what the main process has of its workers' slots


@dataclass
class Slot:
    """Memory of a worker that the main process shares."""

    place: Place
    memory: Tensor  # [byte] uint8; it grows when an item is larger than all before
    known: bool = False  # whether the main process was sent this memory


@dataclass(frozen=True)
class InSlot:
    """A tensor in a slot, on its way to the main process, where it arrives as a `Tensor` of its own."""

    slot: Slot
    shape: tuple[int, ...]

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[object, ...]]:
        new = None if self.slot.known else self.slot.memory
        self.slot.known = True
        return _copied, (self.slot.place, new, self.shape)


class Slots:
    """The slots of a worker."""

    def __init__(self, loader: int, worker: int) -> None:
        self._slots = [Slot((loader, worker, slot), _shared(0)) for slot in range(SLOTS)]
        self._items = 0
        self._given = True  # the slot of this item

    def begin(self) -> None:
        """An item begins."""
        self._items += 1
        self._given = False

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Memory of any content: the item's slot; what is large, or not the item's first, gets memory of its own."""
        count = math.prod(shape)
        if self._given or count > LARGEST:
            return _shared(count).view(shape)
        self._given = True
        slot = self._slots[self._items % SLOTS]
        if len(slot.memory) < count:
            slot.memory, slot.known = _shared(count), False
        return slot.memory[:count].view(shape)

    def sent(self, tensor: Tensor) -> Tensor | InSlot:
        """What to send in place of a tensor, perhaps when the next item has begun: its place, if it fills a slot."""
        for slot in self._slots:
            if len(slot.memory) and tensor.untyped_storage().data_ptr() == slot.memory.data_ptr():
                whole = tensor.is_contiguous() and tensor.storage_offset() == 0
                return InSlot(slot, tuple(tensor.shape)) if whole else tensor.clone()  # the slot is filled again
        return tensor


_own: Slots | None = None  # of this process, if it is a worker


def open_slots(loader: int, worker: int) -> None:
    """From here on, this process is a worker."""
    global _own  # a process is one worker all its life
    _own = Slots(loader, worker)


def begin_item() -> None:
    """A worker begins an item."""
    if _own is not None:
        _own.begin()


def unset(*shape: int) -> Tensor:
    """uint8 of any values; in a worker at once in memory that the main process shares, which saves a pass over them.

    Raises:
        SystemProblem: there is no shared memory left.
    """
    return torch.empty(shape, dtype=torch.uint8) if _own is None else _own.take(shape)


def sendable(tensor: Tensor) -> Tensor | InSlot:
    """What a worker sends in place of a tensor that `unset` gave, or of a part of it; elsewhere the tensor itself."""
    return tensor if _own is None else _own.sent(tensor)


def forget(loader: int) -> None:
    """Unmap the slots of a loader whose workers have ended."""
    for place in [place for place in _mapped if place[0] == loader]:
        del _mapped[place]


def _shared(count: int) -> Tensor:
    try:  # what the loader's own collation does
        storage = torch.UntypedStorage._new_shared(count)
    except RuntimeError as error:
        raise SystemProblem(f"a data worker gets no shared memory; use fewer workers: {error}") from error
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _copied(place: Place, new: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if new is not None:
        _mapped[place] = new
    filled = _mapped[place][: math.prod(shape)]
    return torch.from_numpy(filled.numpy().copy()).view(shape)  # by one thread: for `clone`, several wait for long
