import pytest

from assignbench.data.spec.tails import existing_tail


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ("/home/me/set/images/train", "images/train"),
        ("images/train", "images/train"),
        ("..\\set\\images\\train", "images/train"),
        ("E:\\set\\train.txt", "train.txt"),
        ("/home/me/other", None),
        ("", None),
        ("\0", None),
    ],
)
def test_the_longest_tail_that_exists_is_found(lay_out, stated, found):
    folder = lay_out("images/train/a.jpg", "train.txt", "train/a.jpg")
    assert existing_tail(folder, stated) == (None if found is None else folder / found)
