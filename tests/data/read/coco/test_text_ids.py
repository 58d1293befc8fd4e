"""Ids that are text become numbers: those they spell, else numbers of their own, the same everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.read.coco.text_ids import SMALLEST, TextIds, numbers_of

QUIET = settings(max_examples=100, derandomize=True, deadline=None)


@pytest.mark.parametrize(
    ("texts", "stated", "numbers", "spelt"),
    [
        (["0002", "0001"], [], [2, 1], True),
        (["-5", "7"], [7], [-5, 7], True),  # "7" and 7 are the same
        (["1", "01"], [], [2, 1], False),  # both spell 1: in sorted order
        (["b", "a", "10"], [1, 3], [5, 4, 2], False),  # 2, 4 and 5 are free
        (["1.0"], [], [1], False),
        (["9" * 19], [], [1], False),  # beyond 64 bits
        (["٣"], [], [1], False),  # a digit of another script
        (["-9223372036854775808"], [], [1], False),
        ([], [1], [], True),
    ],
)
def test_by_hand(texts, stated, numbers, spelt):
    assert numbers_of(texts, np.array(stated, dtype=np.int64)) == (numbers, spelt)


def test_one_text_is_one_number_in_every_column():
    texts = TextIds()
    own = np.array([texts.provisional("x"), 1, texts.provisional("y")], dtype=np.int64)
    owners = np.array([texts.provisional("y"), 1, texts.provisional("z"), texts.provisional("x")], dtype=np.int64)
    settled = texts.settle(own, owners)
    assert own.tolist() == [2, 1, 3]
    assert owners.tolist() == [3, 1, 4, 2]
    assert not settled.spelt
    (places, said), (others, _) = settled.columns
    assert (places.tolist(), said) == ([0, 2], ("'x' is 2", "'y' is 3"))
    assert others.tolist() == [0, 2, 3]
    assert settled.strange == {4: "z"}


IDS = (
    st.integers(SMALLEST, 2**63 - 1) | st.integers(-3, 9) | st.text(min_size=1, max_size=2) | st.integers(0, 9).map(str)
)


@QUIET
@given(own=st.lists(IDS, max_size=8), owners=st.lists(IDS, max_size=8))
def test_different_ids_stay_different_and_equal_ones_equal(own, owners):
    texts = TextIds()
    columns = [
        np.array([texts.provisional(one) if isinstance(one, str) else one for one in column], dtype=np.int64)
        for column in (own, owners)
    ]
    settled = texts.settle(*columns)
    numbers: dict[object, int] = {}
    for one, number in zip([*own, *owners], [*columns[0].tolist(), *columns[1].tolist()], strict=True):
        assert numbers.setdefault(one, number) == number
        assert number == one if isinstance(one, int) else number >= SMALLEST
    same = {one: int(one) if settled.spelt else one for one in numbers if isinstance(one, str)}  # "7" may be 7
    distinct = {same.get(one, one) if isinstance(one, str) else one for one in numbers}
    assert len(set(numbers.values())) == len(distinct)
