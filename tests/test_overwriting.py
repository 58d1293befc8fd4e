"""What may be written over: not what is read, and under names nobody typed only our own work."""

from pathlib import Path

import pytest
from PIL import Image

from assignbench.errors import UsageError
from assignbench.overwriting import head_of, is_png_of, png_mark, refuse_among, refuse_inputs, refuse_strangers


def test_what_a_command_reads_is_not_written_over_whatever_the_way_to_it(tmp_path):
    (tmp_path / "a.json").write_text("kept")
    (tmp_path / "link.json").symlink_to("a.json")
    (tmp_path / "hard.json").hardlink_to(tmp_path / "a.json")
    for name in ("a.json", "link.json", "hard.json", "../" + tmp_path.name + "/a.json"):
        with pytest.raises(UsageError, match=r"--output .* is read by this command, and would be overwritten"):
            refuse_inputs(tmp_path / name, [tmp_path / "none.json", tmp_path / "a.json"])
    refuse_inputs(tmp_path / "new.json", [tmp_path / "a.json"])
    refuse_inputs(Path("/dev/null"), [Path("/dev/null")])


@pytest.mark.parametrize(
    ("output", "refused"),
    [
        ("set", True),
        ("set/new", True),
        ("set/new/er", True),
        ("link/new", True),
        ("set2", False),
        ("x/../set/a", True),
        (".", False),
    ],
)
def test_nothing_is_written_among_what_is_read(tmp_path, output, refused):
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to("set")
    for read in ("set", "link"):
        if refused:
            with pytest.raises(UsageError, match=r"--fix .* lies in .*(set|link), which this command reads"):
                refuse_among(tmp_path / output, [tmp_path / "other", tmp_path / read], "--fix")
        else:
            refuse_among(tmp_path / output, [tmp_path / "other", tmp_path / read], "--fix")


def test_a_png_says_which_command_has_drawn_it(tmp_path):
    picture = Image.new("RGB", (2, 2))
    picture.save(tmp_path / "ours.png", pnginfo=png_mark("figure"))
    picture.save(tmp_path / "theirs.png")
    assert [is_png_of(tmp_path / name, "figure") for name in ("ours.png", "theirs.png", "none.png")] == [
        True,
        False,
        False,
    ]
    assert not is_png_of(tmp_path / "ours.png", "predict")


def test_a_stranger_s_file_is_refused_and_a_free_name_is_not(tmp_path):
    refuse_strangers(tmp_path / "free", lambda _: False, "report")
    (tmp_path / "broken").symlink_to("nowhere")  # writing would make its target
    (tmp_path / "file").touch()
    for name in ("broken", "file"):
        with pytest.raises(
            UsageError, match=f"{name} was not written by report, and would be overwritten; name another"
        ):
            refuse_strangers(tmp_path / name, lambda _: False, "report")
        refuse_strangers(tmp_path / name, lambda _: True, "report")


def test_the_beginning_of_what_is_no_file(tmp_path):
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "file").write_bytes(b"abc")
    assert [head_of(tmp_path / name, 2) for name in ("zero", "none", ".", "file")] == [b"", b"", b"", b"ab"]
