import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assignbench.data.spec.division import taught
from assignbench.errors import DataError

names = st.lists(st.text("abcdefgh0123éü _-", min_size=1, max_size=8).map(lambda name: f"{name}.jpg"), min_size=2)
distinct = names.map(lambda some: sorted({unicodedata.normalize("NFC", name).casefold() for name in some}))
shares = st.floats(0.01, 0.99)


def test_ten_pictures_stay_as_they_were_divided():
    """A record names the share alone, so the function must never change."""
    chosen = taught([f"{number}.jpg" for number in range(10)], 0.8)
    assert np.flatnonzero(~chosen).tolist() == [3, 9]


@given(distinct.filter(lambda some: len(some) > 1), shares)
def test_so_many_are_taught_and_at_least_one_is_on_either_side(some, share):
    chosen = taught(some, share)
    assert chosen.sum() == min(max(round(len(some) * share), 1), len(some) - 1)


@given(distinct.filter(lambda some: len(some) > 1), shares, st.randoms())
def test_order_folder_and_spelling_make_no_difference(some, share, random):
    chosen = dict(zip(some, taught(some, share).tolist(), strict=True))
    shuffled = random.sample(some, len(some))
    for spelt in (
        [f"/data/Set A/{name}" for name in shuffled],
        [f"D:\\images\\{name}" for name in shuffled],
        [f"./{unicodedata.normalize('NFD', name)}" for name in shuffled],
        [name.replace(".jpg", ".JPG") for name in shuffled],
    ):
        assert taught(spelt, share).tolist() == [chosen[name] for name in shuffled]


@given(st.lists(st.integers(1, 5), min_size=2, max_size=20), shares)
def test_copies_of_one_picture_stay_together(copies, share):
    some = [f"a/{place}_jpg.rf.{copy:032x}.jpg" for place, count in enumerate(copies) for copy in range(count)]
    groups = np.repeat(np.arange(len(copies)), copies)
    chosen = taught(some, share)
    per_group = [set(chosen[groups == group].tolist()) for group in range(len(copies))]
    assert all(len(one) == 1 for one in per_group)
    assert len(set.union(*per_group)) == 2
    assert abs(chosen.sum() - len(some) * share) <= max(copies) + 0.5


def test_folders_tell_pictures_apart():
    some = [f"{camera}/{number}.jpg" for camera in "abcd" for number in range(50)]
    chosen = taught(some, 0.5).reshape(4, 50)
    assert not (chosen == chosen[0]).all()


@pytest.mark.parametrize("some", [[], ["a.jpg"], ["a.jpg", "a.jpg"], ["a.rf.1.jpg", "a.rf.2.jpg"]])
def test_what_cannot_be_divided_is_refused(some):
    with pytest.raises(DataError, match="cannot be divided into training and evaluation"):
        taught(some, 0.8)
