from pathlib import Path

import pytest

from assignbench.data.folders import HIDDEN, LINKED, SYSTEM, UNREADABLE, Found, is_picture, pictures_below
from assignbench.errors import DataError


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(found: Found, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found.paths]


def aside(found: Found, root: Path) -> dict[str, list[str]]:
    return {why: [path.relative_to(root).as_posix() for path in paths] for why, paths in found.left_aside.items()}


def test_a_suffix_counts_in_any_case():
    fine = ("a.jpg", "a.JPG", "a.JpEg", "a.jfif", "a.ppm", "a.avif", "a.jpe", "a.mpo", "a.jp2", "b.c.png")
    assert all(map(is_picture, fine))
    assert not any(map(is_picture, ("a.txt", "a", "jpg", "a.heic", "a.jpg.txt", ".jpg")))


def test_pictures_are_sorted_and_what_is_left_aside_is_told(tmp_path):
    write(tmp_path, "b.jpg", "a.PNG", "sub/c.jfif", "a.txt", "sub/notes.md", "._b.jpg", "Thumbs.db", "sub/.DS_Store")
    write(tmp_path, ".ipynb_checkpoints/b-checkpoint.jpg", "__MACOSX/sub/._c.jfif", ".git/config", "d.HEIC", "e.cr2")
    found = pictures_below(tmp_path)
    assert names(found, tmp_path) == ["a.PNG", "b.jpg", "sub/c.jfif"]
    assert aside(found, tmp_path) == {
        SYSTEM: ["Thumbs.db", "sub/.DS_Store"],
        HIDDEN: ["._b.jpg", ".ipynb_checkpoints/b-checkpoint.jpg", "__MACOSX/sub/._c.jfif"],
        UNREADABLE: ["d.HEIC", "e.cr2"],
    }
    assert [path.name for path in found.others] == ["a.txt", "notes.md"]


def test_linked_folders_are_followed_once(tmp_path):
    write(tmp_path, "elsewhere/x.jpg", "elsewhere/deep/y.jpg", "set/images/a/z.jpg", "set/val/v.jpg")
    images = tmp_path / "set" / "images"
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "again").symlink_to(tmp_path / "elsewhere")
    (images / "to_a").symlink_to(images / "a")
    (images / "loop").symlink_to(images)
    (images / "up").symlink_to(tmp_path / "set")
    (images / "one.jpg").symlink_to(tmp_path / "elsewhere" / "x.jpg")  # a file is a file
    (tmp_path / "elsewhere" / "back").symlink_to(images)
    found = pictures_below(images)
    assert names(found, images) == ["a/z.jpg", "again/deep/y.jpg", "again/x.jpg", "one.jpg"]
    assert sorted(aside(found, images)) == [LINKED]
    assert aside(found, images)[LINKED] == ["again/back", "linked", "loop", "to_a", "up"]


def test_a_link_as_the_folder_itself(tmp_path):
    write(tmp_path, "real/x.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(pictures_below(tmp_path / "link"), tmp_path) == ["link/x.jpg"]


def test_a_link_to_nothing_stays_to_be_missed_by_whoever_reads_it(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert names(pictures_below(tmp_path), tmp_path) == ["gone.jpg"]


def test_no_folder_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*none"):
        pictures_below(tmp_path / "none")
    write(tmp_path, "file")
    with pytest.raises(DataError, match=r"the folder .*file cannot be read"):
        pictures_below(tmp_path / "file")
