import pytest

from assignbench.data.spec.tails import existing_tail, parts_of, prefix_length


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


@pytest.mark.parametrize(
    "prefix",
    ["images/train/", "./images/train/", "data/images/train/", "/a/b/images/train/", "D:\\images\\train\\"],
)
def test_what_stands_before_the_pictures_of_a_list_is_dropped(lay_out, prefix):
    names = [f"{number}.jpg" for number in range(30)]
    folder = lay_out(*(f"images/train/{name}" for name in names), "splits/train.txt")
    stated = [f"{prefix}{name}" for name in ("gone.jpg", *names)]
    found = prefix_length([folder / "splits", folder], stated)
    assert found is not None
    base, drop = found
    places = [base.joinpath(*parts_of(one)[drop:]) for one in stated[1:]]
    assert places == [folder / "images/train" / name for name in names]


def test_a_list_of_pictures_that_are_nowhere_has_no_prefix(lay_out):
    assert prefix_length([lay_out("a.jpg")], ["x/b.jpg"]) is None
    assert prefix_length([lay_out("a.jpg")], []) is None
