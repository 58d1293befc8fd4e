"""What a command writes: where it may lie, what its name says of its form; the same for every command."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from assignbench.cli.commands.compare import ENDS, Format, format_of
from assignbench.cli.main import app
from assignbench.data.spec.locate import locate
from assignbench.data.spec.written import as_yaml
from assignbench.errors import UsageError

# option → of which command, what else has to be said, and a good name
WRITTEN = {
    ("compare", "--output"): ((), "x.md"),
    ("report", "--output"): ((), "x.html"),
    ("run", "--output"): ((), "x"),
    ("reproduce", "--output"): (("table3",), "x"),
    ("eval", "--output"): (("--weights", "w.safetensors", "--dataset", "shapes"), "x.json"),
    ("predict", "--output"): (("run", "a.jpg"), "x"),
    ("export", "--output"): (("run",), "x.pt2"),
    ("import", "--output"): (("a.pth", "--from", "mmdet", "--assigner", "atss"), "x.safetensors"),
    ("data open", "--output"): (("folder",), "x.yaml"),
    ("data check", "--fix"): (("shapes",), "x"),
    ("data show", "--output"): (("shapes",), "x"),
    ("bench growth", "--plot"): ((), "x.svg"),
    ("bench step", "--trace"): ((), "x.json"),
    **{(f"figure {number}", "--output"): (("run",), "x.png") for number in (1, 3, 4, 5, 6)},
    ("figure assigned", "--output"): (("--assigner", "atss"), "x.png"),
}
ASKED = {("doctor", "--output")}  # looked at, and not written
READ = {"--data-root", "--weights", "--detections", "--needs"}  # files and folders that no command makes


def options(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every option that names a file or a folder, with its command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from options(command, (*before, name))
            continue
        for one in command.params:
            if one.param_type_name == "option" and {"FILE", "DIR"} & set(
                (one.metavar or "").replace(".", "|").split("|")
            ):
                yield " ".join((*before, name)), one.opts[0]


def test_every_option_that_names_a_file_is_among_those_that_are_tried():
    found = set(options(typer.main.get_command(app)))
    assert {one for one in found if one[1] not in READ} - ASKED == set(WRITTEN)


@pytest.mark.parametrize(("command", "option"), WRITTEN, ids=" ".join)
def test_no_folder_is_made_above_what_is_to_be_written(call, tmp_path, monkeypatch, command, option):
    monkeypatch.chdir(tmp_path)
    more, name = WRITTEN[command, option]
    (tmp_path / "file").touch()
    for above, problem in (("nope", "there is no folder nope; make it, or name"), ("file", "file is no folder")):
        code, out, err = call(*command.split(), *more, option, f"{above}/{name}")
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {option} {above}/{name}: {problem}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("command", "option", "ends"),
    [
        ("report", "--output", ".html or .htm"),
        ("eval", "--output", ".json"),
        ("export", "--output", ".pt2 or .onnx"),
        ("import", "--output", ".safetensors"),
        ("data open", "--output", ".yaml or .yml"),
        ("bench step", "--trace", ".json"),
        ("bench growth", "--plot", ".svg, .pdf, .png"),
        ("figure 3", "--output", ".svg, .pdf, .png"),
        ("compare", "--output", ".txt, .md, .tex, .html, .csv, .json, or --format say"),
    ],
)
def test_a_name_that_ends_otherwise_than_what_is_written_is_refused(call, tmp_path, monkeypatch, command, option, ends):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*command.split(), *WRITTEN[command, option][0], option, "x.foo")
    assert (code, out) == (2, "")
    assert f"{option} x.foo: the name must end in {ends}" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spec", ["{}", "coco:{}", "{}/mine.yaml"])
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("data", "show", "{spec}"), "--output"),
        (("data", "check", "{spec}"), "--fix"),
        (("figure", "assigned", "--assigner", "fcos", "--dataset", "{spec}"), "--output"),
    ],
    ids=lambda words: " ".join(words[:2]) if isinstance(words, tuple) else words,
)
def test_nothing_is_written_among_the_pictures_of_a_data_set(call, few_pictures, tmp_path, spec, words, option):
    folder = tmp_path / "set"
    shutil.copytree(locate(str(few_pictures), few_pictures.parent).base, folder)
    found = locate(f"coco:{folder}", tmp_path)
    (folder / "mine.yaml").write_text(as_yaml(found.spec))
    before = sorted(folder.rglob("*"))
    images = folder / found.spec.evaluation.images
    name = "new.png" if "figure" in words else "new"
    for place in (images / name, *([] if "figure" in words or "yaml" in spec else [folder / name])):
        code, out, err = call(*(word.format(spec=spec.format(folder)) for word in words), option, str(place))
        assert (code, out) == (2, "")
        assert f"{option} {place} lies in " in err
        assert "name a place outside" in err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("root", "origin"), [("--data-root", "--data-root"), ("", "ASSIGNBENCH_DATA")])
def test_neither_is_one_above_the_data_root(call, tmp_path, monkeypatch, root, origin):
    nowhere = str(tmp_path / "nope" / "data")
    monkeypatch.setenv("ASSIGNBENCH_DATA", nowhere)
    code, _, err = call("data", "prepare", "shapes", *((root, nowhere) if root else ()))
    assert code == 2
    assert f"{origin} {nowhere}: there is no folder {tmp_path / 'nope'}; make it" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ending", "form"), ENDS.items())
def test_the_form_of_a_table_goes_by_the_name_unless_it_is_said(ending, form):
    assert format_of(None, Path(f"x{ending}")) == format_of(None, Path(f"x{ending.upper()}")) == form
    assert format_of(Format.CSV, Path(f"x{ending}")) == Format.CSV
    assert set(ENDS.values()) == set(Format)


def test_on_the_screen_and_in_a_pipe_a_table_is_for_the_eye():
    assert format_of(None, None) == format_of(None, Path("/dev/stdout")) == Format.TERMINAL
    with pytest.raises(UsageError, match="the name must end in"):
        format_of(None, Path("table"))
