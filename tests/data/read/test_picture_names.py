"""A picture is found under another spelling of its name, or not at all; never is another one taken for it."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.read import picture_names
from assignbench.data.read.picture_names import respell


def folder_of(place: Path, *files: str) -> Path:
    folder = place / "images"
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("file", "stated", "way"),
    [
        ("sub/x.jpg", "sub\\x.jpg", "backslashes"),
        ("sub/x.jpg", ".\\sub\\x.jpg", "backslashes"),
        ("a b+c.jpg", "a%20b+c.jpg", "URL escapes"),
        ("süß.jpg", "s%C3%BC%C3%9F.jpg", "URL escapes"),
        (unicodedata.normalize("NFD", "é.jpg"), unicodedata.normalize("NFC", "é.jpg"), "accents"),
        (unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg"), "accents"),
        ("x.JPG", "x.jpg", "case"),
        ("x.jpg", "X.Jpg", "case"),
        ("Sub/x.jpg", "sub/x.jpg", "case"),
        ("x.jpg", "images/x.jpg", "folders"),
        ("x.jpg", "../../label-studio/label-studio/media/upload/1/x.jpg", "folders"),
        ("x.jpg", "/data/imgs/x.jpg", "folders"),
        ("sub/x.jpg", "C:\\data\\Sub\\x.jpg", "case, backslashes, folders"),
        ("sub/x.jpg", "x.jpg", "folders"),
        ("sub/x.jpg", "sub/other/../../sub/x.jpg", "folders"),
        ("a../x.jpg", "/b/a../x.jpg", "folders"),
        ("sub/a%20b.jpg", "images/sub/a%20b.jpg", "folders"),
    ],
)
def test_another_spelling_is_found_and_named(tmp_path, file, stated, way):
    folder = folder_of(tmp_path, file, "other.jpg", "deep/er/another.jpg")
    found = respell(folder, ["other.jpg", stated])
    assert found.names == ["other.jpg", file]
    assert (found.places, found.ways, found.missing) == ((1,), (way,), ())


@pytest.mark.parametrize(
    ("files", "stated"),
    [
        (["a/x.jpg", "b/x.jpg"], "x.jpg"),  # two that fit
        (["x.JPG", "X.jpg"], "x.jpg"),
        (["X.jpg", "sub/x.jpg"], "x.jpg"),
        (["train/x.jpg"], "val/x.jpg"),  # the end is the same, the folders contradict each other
        (["train/x.jpg"], "/data/val/x.jpg"),
        (["xx.jpg"], "x.jpg"),
        (["x.jpeg"], "x.jpg"),
        ([".hidden/x.jpg"], "x.jpg"),
        (["__MACOSX/x.jpg"], "x.jpg"),
        ([], "x.jpg"),
        (["x.jpg"], ""),
        (["x.jpg"], "a\0b"),
        (["x.jpg"], ".."),
    ],
)
def test_what_could_be_several_files_or_none_is_missing(tmp_path, files, stated):
    folder = folder_of(tmp_path, *files)
    found = respell(folder, [stated])
    assert (list(found.names), found.places, found.missing) == ([stated], (), (0,))


def test_of_several_the_one_that_shares_the_most_is_meant(tmp_path):
    folder = folder_of(tmp_path, "x.jpg", "b/x.jpg", "c/x.jpg")
    assert respell(folder, ["/a/b/x.jpg"]).names == ["b/x.jpg"]


def test_of_equal_paths_the_closest_spelling_is_meant(tmp_path):
    folder = folder_of(tmp_path, "sub/A.jpg", "sub/a.jpg")
    assert respell(folder, ["sub\\A.jpg"]).names == ["sub/A.jpg"]


def test_no_two_names_get_one_file(tmp_path):
    folder = folder_of(tmp_path, "x.jpg")
    assert respell(folder, ["a/x.jpg", "b/x.jpg"]).missing == (0, 1)
    assert respell(folder, ["x.jpg", "b/x.jpg"]).missing == (1,)
    assert respell(folder, ["b/x.jpg", "b/x.jpg"]).names == ["x.jpg", "x.jpg"]  # one name, twice: another finding


@pytest.mark.parametrize("stated", ["../x.jpg", "sub/../../x.jpg", "{outside}/x.jpg", "..\\x.jpg"])
def test_a_name_never_leaves_the_folder(tmp_path, stated):
    folder = folder_of(tmp_path, "sub/y.jpg")
    (tmp_path / "x.jpg").write_bytes(b"")
    stated = stated.format(outside=tmp_path)
    assert respell(folder, [stated]).missing == (0,)
    folder_of(tmp_path, "x.jpg")
    assert respell(folder, [stated]).names == ["x.jpg"]


def test_linked_folders_are_followed_and_circles_end(tmp_path):
    folder = folder_of(tmp_path, "y.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jpg").write_bytes(b"")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(folder)
    assert respell(folder, ["x.jpg", "again/y.jpg"]).names == ["linked/x.jpg", "again/y.jpg"]


def test_nothing_but_one_listing_per_folder_is_read_when_all_are_there(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, "a.jpg", "b.jpg", "sub/c.jpg")
    listed: list[Path] = []
    original = picture_names._listing
    monkeypatch.setattr(picture_names, "_listing", lambda place: listed.append(place) or original(place))
    monkeypatch.setattr(picture_names, "_files", lambda folder: pytest.fail("the whole folder was read"))
    names = ["a.jpg", "b.jpg", "sub/c.jpg"]
    found = respell(folder, names)
    assert found.names is names
    assert listed == [folder, folder / "sub"]


NAMES = st.lists(st.sampled_from(["a", "A", "é", "é", "a b", "sub"]), min_size=1, max_size=3)


@settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    files=st.lists(NAMES, max_size=4),
    stated=st.lists(
        st.tuples(NAMES, st.sampled_from(["/", "\\"]), st.sampled_from(["", "/", "../", "./"])), max_size=4
    ),
)
def test_what_is_found_is_there_and_nobody_elses(tmp_path_factory, files, stated):
    folder = folder_of(tmp_path_factory.mktemp("x"), *("/".join([*parts[:-1], f"{parts[-1]}.jpg"]) for parts in files))
    names = [start + cut.join([*parts[:-1], f"{parts[-1]}.jpg"]) for parts, cut, start in stated]
    found = respell(folder, names)
    assert len(found.names) == len(names)
    assert sorted({*found.places, *found.missing}) == sorted([*found.places, *found.missing])
    for place, name in enumerate(names):
        if place in found.missing:
            assert found.names[place] == name
        else:
            assert (folder / found.names[place]).is_file()
            assert (folder / found.names[place]).resolve().is_relative_to(folder)
    by_file: dict[str, set[str]] = {}
    for place in found.places:
        by_file.setdefault(found.names[place], set()).add(names[place])
    assert all(len(claimed) == 1 for claimed in by_file.values())


@pytest.mark.parametrize("stated", ["a/1.jpg,a/2.jpg", "b/1.PNG a/2.jpg", "b\\1.jpg\ra\\2.jpg", "/a/1.tiff/a/2.jpg"])
def test_the_last_of_several_names_is_not_looked_for(tmp_path, stated):
    folder = folder_of(tmp_path, "a/1.jpg", "a/2.jpg", "2.jpg")
    assert respell(folder, [stated]).missing == (0,)
