from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.images import ImageInfo, Images, Stored

STORED = st.builds(Stored, upright=st.booleans(), bits=st.none() | st.integers(9, 16))
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9).filter(
    lambda name: name not in (".", "..")
)


def as_a_worker_gets(images: Images) -> Images:
    return ForkingPickler.loads(bytes(ForkingPickler.dumps(images)))  # pyright: ignore[reportAttributeAccessIssue]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(stored=STORED, names=st.lists(NAMES, min_size=1, max_size=6, unique=True), data=st.data())
def test_how_pictures_are_stored_reaches_each_of_them(stored, names, data):
    sizes = np.array([(10 + number, 20) for number in range(len(names))])
    images = Images.named(Path("/some/where"), np.arange(1, len(names) + 1), sizes, names, stored)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(names) - 1), max_size=5)), dtype=np.int64)
    infos = [ImageInfo(number + 1, Path("/some/where") / names[number], 10 + number, 20, stored) for number in chosen]
    for same in (images, as_a_worker_gets(images), Images.of(list(images))):
        assert list(same.take(chosen)) == infos
        assert all(one.stored == stored for one in same)
        assert list(same[0 : len(same)]) == list(same)
        assert list(same.names()) == [same.name(index) for index in range(len(same))]


def test_pictures_that_are_stored_in_two_ways_are_no_split():
    infos = [ImageInfo(number, Path("a"), 1, 1, Stored(upright=bool(number))) for number in (0, 1)]
    with pytest.raises(ValueError, match="unpack"):
        Images.of(infos)
    assert Images.of([]).stored == Stored()


@pytest.mark.parametrize(
    ("folder", "name"), [("/a/b", "c/d.jpg"), (".", "/x/y.jpg"), ("", "y.jpg"), ("/a", "./q//r.jpg")]
)
def test_a_path_is_the_folder_and_the_name(folder, name):
    images = Images.named(Path(folder), np.array([1]), np.array([[1, 1]]), [name])
    assert images[0].path == Path(folder) / name
