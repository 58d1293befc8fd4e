"""Shared memory that workers fill again: whatever an item's size, what arrives is what was loaded, and stays so."""

import copy
import time
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from assignbench.data.load import slots
from assignbench.data.load.loader import load_ahead
from assignbench.data.load.slots import LARGEST, SLOTS, InSlot, Slots, sendable, unset
from assignbench.errors import DataError

SIZES = (0, 10, 1000, 70_000, 5, 70_000, 1 << 20, 3, 200_000)  # they grow and shrink, and follow in any order


@dataclass
class Item:
    """Some tensors, of which the first is the largest."""

    number: int
    parts: list[Tensor]

    def __reduce__(self) -> tuple[type["Item"], tuple[object, ...]]:
        return Item, (self.number, [sendable(part) for part in self.parts])


def made(number: int) -> Item:
    """Of every fifth item nothing is asked for; others have up to three tensors."""
    count = 0 if number % 5 == 4 else 1 + number % 3
    parts = [unset(SIZES[(number * 7 + part) % len(SIZES)]) for part in range(count)]
    for part in parts:
        part.fill_(number % 251)
    time.sleep(0.002 * (number % 4))  # workers overtake each other
    return Item(number, parts)


def large(number: int) -> Item:
    return Item(number, [unset(LARGEST + number).fill_(number)])


def failing(number: int) -> Item:
    part = unset(1000).fill_(number)
    if number == 7:
        raise DataError("the seventh")
    return Item(number, [part])


def as_made(item: Item, number: int) -> bool:
    wanted = made(number).parts
    return item.number == number and all(torch.equal(*pair) for pair in zip(item.parts, wanted, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("pause", [0.0, 0.005])
def test_what_is_kept_is_what_was_loaded(workers, pause):
    kept = []
    for item in load_ahead(made, range(60), workers):
        kept.append(item)
        time.sleep(pause)
    assert all(as_made(item, number) for number, item in enumerate(kept))


def test_what_arrived_may_be_changed():
    for number, item in enumerate(load_ahead(made, range(20), 1)):
        assert as_made(item, number)
        for part in item.parts:
            part.fill_(255)


def test_what_is_large_arrives_too():
    for number, item in enumerate(load_ahead(large, range(3), 1)):
        assert item.parts[0].shape == (LARGEST + number,)
        assert bool((item.parts[0] == number).all())


@pytest.mark.parametrize("stop", [2, 5, 60])
def test_nothing_stays_mapped(stop):
    items, other = load_ahead(made, range(60), 1), load_ahead(made, range(60), 1)
    assert [next(other).number, next(other).number] == [0, 1]
    for _ in range(stop):
        next(items)
    assert len({place[0] for place in slots._mapped}) == 2
    items.close()
    assert len({place[0] for place in slots._mapped}) == 1, "the other loader goes on"
    assert [item.number for item in other] == list(range(2, 60))
    assert not slots._mapped


def test_nothing_stays_mapped_after_an_error():
    with pytest.raises(DataError, match="the seventh"):
        list(load_ahead(failing, range(60), 2))
    assert not slots._mapped


def test_a_slot_is_filled_again_when_its_turn_comes_and_larger_items_get_more():
    worker = Slots(0, 0)
    places = []
    for _ in range(2 * SLOTS):
        worker.begin()
        places.append(worker.take((30, 2)).data_ptr())
    assert places[:SLOTS] == places[SLOTS:]
    assert len(set(places)) == SLOTS
    worker.begin()
    more, second = worker.take((5, 20)), worker.take((4,))
    more.fill_(7)
    second.fill_(8)
    assert more.shape == (5, 20)
    assert bool((more == 7).all()), "a second tensor of an item lies elsewhere"


def test_a_place_is_sent_of_what_begins_a_slot_and_a_copy_of_what_lies_elsewhere_in_it():
    worker = Slots(0, 0)
    worker.begin()
    whole = worker.take((6, 4))
    worker.begin()  # the item before is sent while the next is loaded
    worker.take((6, 4))
    assert worker.sent(whole).shape == (6, 4)
    assert isinstance(worker.sent(whole[:2]), InSlot)
    for part in (whole.T, whole[1:], whole[:, 1]):
        sent = worker.sent(part)
        assert isinstance(sent, Tensor)
        assert torch.equal(sent, part)
        assert sent.untyped_storage().data_ptr() != whole.data_ptr()
    for other in (whole.clone(), worker.take((6, 4))):
        assert worker.sent(other) is other


def test_memory_is_sent_once_until_it_grows(monkeypatch):
    monkeypatch.setattr(slots, "_mapped", {})
    worker = Slots(3, 1)
    for size, new in ((10, True), (10, True), (10, False), (8, False), (11, True), (12, True), (11, False)):
        worker.begin()
        filled = worker.take((size,)).fill_(size)
        sent = worker.sent(filled)
        assert isinstance(sent, InSlot)
        arrive, arguments = sent.__reduce__()
        assert isinstance(arguments[1], Tensor) == new
        arrived = arrive(*arguments)
        assert torch.equal(arrived, filled)
        assert arrived.data_ptr() != filled.data_ptr()


def test_outside_of_a_worker_memory_is_ordinary():
    given = unset(3, 2)
    assert sendable(given) is given
    assert copy.copy(Item(1, [given])).parts[0] is given
