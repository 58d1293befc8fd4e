"""Which pictures are predicted, what their files are called, and what is never overwritten."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data.show.draw import COLOURS
from assignbench.errors import DataError, UsageError
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.predict import Predicted, draw_boxes, predict

Finished = Callable[..., tuple[RunRecord, Path]]


@pytest.fixture
def run(finished_run: Finished) -> Path:
    return finished_run("fcos")[1]


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[str], Path]:
    def picture(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
        return path

    return picture


def names(done: Predicted, output: Path) -> list[str]:
    """Of the drawings; beside each there is a document."""
    assert all(file.is_file() for file in done.files)
    assert [file.with_suffix(".json") for file in done.files[1::2]] == list(done.files[::2])
    return [file.relative_to(output).as_posix() for file in done.files[1::2]]


def test_a_folder_keeps_its_folders(run, picture, tmp_path):
    for name in ("in/a.jpg", "in/x/a.jpg", "in/y/z/a.PNG", "in/notes.txt.jpg"):
        picture(name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    output, seen = tmp_path / "out", []
    done = predict(run, [tmp_path / "in"], output, 0.0, "cpu", watch=lambda *counts: seen.append(counts))
    assert names(done, output) == ["a.png", "notes.txt.png", "x/a.png", "y/z/a.png"]
    assert json.loads((output / "x" / "a.json").read_text())["image"] == "x/a.jpg"
    assert done.left_aside == ()
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_several_places_keep_apart(run, picture, tmp_path):
    places = [picture("a/1.jpg").parent, picture("b/1.jpg").parent, picture("1.jpg")]
    assert names(predict(run, places, tmp_path / "out", 0.0, "cpu"), tmp_path / "out") == [
        "a/1.png",
        "b/1.png",
        "1.png",
    ]
    other = picture("c/a/1.jpg").parent
    with pytest.raises(UsageError, match=r"several pictures are called 'a/1\.jpg'"):
        predict(run, [places[0], other], tmp_path / "out", 0.0, "cpu")


def test_pictures_of_one_name_but_for_the_suffix_keep_it(run, picture, tmp_path):
    for name in ("in/a.jpg", "in/a.png", "in/a.jpg.bmp", "in/x/a.jpg"):
        picture(name)
    done = predict(run, [tmp_path / "in"], tmp_path / "out", 0.0, "cpu")
    assert names(done, tmp_path / "out") == ["a.jpg.png", "a.jpg.bmp.png", "a.png.png", "x/a.png"]


def test_hidden_pictures_are_left_aside_and_counted(run, picture, tmp_path):
    hidden = ["in/.ipynb_checkpoints/a-checkpoint.jpg", "in/._a.jpg", "in/__MACOSX/a.jpg", "in/.a.jpg"]
    for name in ("in/a.jpg", *hidden):
        picture(name)
    done = predict(run, [tmp_path / "in"], tmp_path / "out", 0.0, "cpu")
    assert names(done, tmp_path / "out") == ["a.png"]
    assert {path.relative_to(tmp_path).as_posix() for path in done.left_aside} == set(hidden)
    (tmp_path / "in" / "a.jpg").unlink()
    with pytest.raises(DataError, match="in holds no picture but 4 that are hidden, unreadable or drawn by predict"):
        predict(run, [tmp_path / "in"], tmp_path / "out", 0.0, "cpu")


def test_no_file_but_its_own_is_overwritten(run, picture, tmp_path):
    cat, output = picture("cat.png"), tmp_path / "out"
    before = cat.read_bytes()
    with pytest.raises(UsageError, match=r"cat\.png is the picture itself, and would be overwritten; name another"):
        predict(run, [cat], tmp_path, 0.0, "cpu")
    assert cat.read_bytes() == before
    predict(run, [cat], output, 0.0, "cpu")
    predict(run, [cat], output, 0.0, "cpu")  # its own
    for name, text in (("cat.json", "{}"), ("cat.json", '{"image": 1}'), ("cat.png", "")):
        kept = (output / name).read_bytes()
        (output / name).write_text(text)
        with pytest.raises(UsageError, match=rf"{name} was not written by predict, and would be overwritten"):
            predict(run, [cat], output, 0.0, "cpu")
        assert (output / name).read_text() == text
        (output / name).write_bytes(kept)
    picture("out/cat.png")  # somebody's picture of that name
    with pytest.raises(UsageError, match=r"cat\.png was not written by predict"):
        predict(run, [cat], output, 0.0, "cpu")


def test_what_was_drawn_before_is_no_picture(run, picture, tmp_path):
    picture("in/a.jpg")
    predict(run, [tmp_path / "in"], tmp_path / "out", 0.0, "cpu")
    (tmp_path / "out" / "a.png").rename(tmp_path / "in" / "drawn.png")
    again = predict(run, [tmp_path / "in"], tmp_path / "out", 0.0, "cpu")
    assert names(again, tmp_path / "out") == ["a.png"]
    assert again.left_aside == (tmp_path / "in" / "drawn.png",)


@pytest.mark.parametrize("output", ["in", "in/x", "in/x/new", "out/../in/new", "link/new"])
def test_nothing_is_written_among_the_pictures_of_a_folder(run, picture, tmp_path, output):
    picture("in/x/a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("in")
    before = sorted(tmp_path.rglob("*"))
    for place in ("in", "link"):
        with pytest.raises(UsageError, match=r"lies in .*, which this command reads.*; name a place outside"):
            predict(run, [tmp_path / place], tmp_path / output, 0.0, "cpu")
    assert sorted(tmp_path.rglob("*")) == before


def test_nor_beside_pictures_that_are_named(run, picture, tmp_path):
    files = [picture("in/a.jpg"), picture("in/b.jpg")]
    with pytest.raises(UsageError, match=r"in is the folder of a\.jpg: .*; name another folder"):
        predict(run, files, tmp_path / "in", 0.0, "cpu")
    assert len(list((tmp_path / "in").iterdir())) == 2
    assert names(predict(run, files, tmp_path / "in" / "new", 0.0, "cpu"), tmp_path / "in" / "new") == [
        "a.png",
        "b.png",
    ]


def test_pictures_that_use_fewer_than_their_sixteen_bits_are_refused(run, tmp_path):
    (tmp_path / "in").mkdir()
    for name, top in (("a", 4095), ("b", 300)):
        values = np.random.default_rng(top).integers(0, top, (64, 64), np.uint16, endpoint=True)
        values[0, 0] = top
        Image.fromarray(values).save(tmp_path / "in" / f"{name}.png")
    for place, words in (
        ("in", "in: no value of its 16-bit pictures is above 4095.*nearly black; .* are divided by 16"),
        ("in/b.png", r"is above 300, of 65535.* are divided by 2\)"),
    ):
        with pytest.raises(DataError, match=words):
            predict(run, [tmp_path / place], tmp_path / "out", 0.0, "cpu")
    assert not (tmp_path / "out").exists()
    bright = np.full((64, 64), 40000, np.uint16)
    Image.fromarray(bright).save(tmp_path / "in" / "c.png")  # 16 bits are used: the others are dark, and right
    assert names(predict(run, [tmp_path / "in"], tmp_path / "out", 0.0, "cpu"), tmp_path / "out") == [
        "a.png",
        "b.png",
        "c.png",
    ]


def test_boxes_have_the_colours_of_their_classes():
    for ground in (0, 255):
        pixels = np.full((100, 100, 3), ground, np.uint8)
        drawn = np.asarray(draw_boxes(pixels, [("cat", 0, (10, 30, 40, 60)), ("car", 1, (50, 30, 80, 60))]))
        for label, x in ((0, 10), (1, 50)):
            assert "#{:02X}{:02X}{:02X}".format(*drawn[45, x]) == COLOURS[label]


def test_a_drawing_that_is_to_be_predicted_itself_is_not_overwritten(run, picture, tmp_path):
    cat, out = picture("cat.png"), tmp_path / "out"
    predict(run, [cat], out, 0.0, "cpu")
    drawing = (out / "cat.png").read_bytes()
    with pytest.raises(UsageError, match=r"cat\.png is the picture itself, and would be overwritten"):
        predict(run, [out / "cat.png"], out, 0.0, "cpu")
    dog = picture("x/dog.png")
    (tmp_path / "link.png").symlink_to(out / "cat.png")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "dog.png").symlink_to(out / "cat.png")
    with pytest.raises(UsageError, match=r"dog\.png is a picture to predict, and would be overwritten"):
        predict(run, [dog, tmp_path / "link.png"], tmp_path / "y", 0.0, "cpu")
    assert (out / "cat.png").read_bytes() == drawing


@pytest.mark.parametrize("name", ["cat.png", "cat.json"])
def test_a_pipe_in_the_place_of_its_files_is_refused_and_not_waited_for(run, picture, tmp_path, name):
    cat = picture("cat.jpg")
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / name)
    with pytest.raises(UsageError, match=rf"{name} was not written by predict"):
        predict(run, [cat], tmp_path / "out", 0.0, "cpu")
