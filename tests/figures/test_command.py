"""``assignbench figure`` as users call it, rightly and wrongly."""

import re
import shutil
import sys

import pytest

from assignbench.figures.runs import evaluation_split, expanded
from assignbench.run.results.record import FILE, read_record, write_record
from assignbench.run.training.snapshots import snapshot_file

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("number", "names", "more"),
    [
        ("1", ("autoassign", "retinanet"), ()),
        ("3", ("autoassign",), ("--object", "1")),
        ("4", ("autoassign",), ("--categories", "2")),
        ("5", ("autoassign", "without"), ("--threshold", "0.01")),
        ("6", ("autoassign",), ()),
    ],
)
def test_every_figure_says_what_it_is_of(call, runs, tmp_path, number, names, more):
    file = tmp_path / "figure.svg"
    code, out, err = call(number, *(runs[name] for name in names), *more, "--output", file)
    assert (code, err) == (0, "")
    assert out == f"wrote {file}\n"
    text = re.sub(r"\s+", " ", " ".join(re.findall(r"<text[^>]*>(.*?)</text>", file.read_text(), flags=re.DOTALL)))
    words = re.sub(r"<[^>]*>", " ", text)
    for name in names:
        assert runs[name].name.rpartition("-")[2] in words
    for word in ("mini3.yaml", "evaluation (val)", "iteration 3", "recipe tiny", "picture"):
        assert word in re.sub(r"\s+", " ", words)
    assert [path.name for path in file.parent.iterdir()] == ["figure.svg"]


@pytest.mark.parametrize("figure", ["assigned", "3"])
def test_no_picture_that_is_shown_is_drawn_over(call, runs, tmp_path, figure):
    """It stays what it was, under its name and behind a link."""
    shown = evaluation_split(read_record(runs["autoassign"] / FILE), runs["autoassign"].parents[1]).images[0].path
    words = {"assigned": (shown, "--boxes", "1 1 20 20", "--assigner", "fcos"), "3": (runs["autoassign"],)}[figure]
    before, link = shown.read_bytes(), (tmp_path / shown.name).with_suffix(".png")
    link.symlink_to(shown)
    code, _, err = call(figure, *words, "--output", link)
    assert (code, shown.read_bytes()) == (2, before)
    assert "is read by this command, and would be overwritten" in err


@pytest.mark.parametrize("name", ["f.png", "f.PDF"])
def test_formats(call, runs, tmp_path, name):
    assert call("3", runs["autoassign"], "--output", tmp_path / name)[0] == 0
    assert (tmp_path / name).read_bytes()[:4] in (b"\x89PNG", b"%PDF")


def test_a_comparison_as_a_whole(call, runs, root, tmp_path):
    folders, notes = expanded([root / "runs"])
    assert set(folders) == {runs[name] for name in ("autoassign", "without", "retinanet")}
    assert notes == ()
    assert call("1", root / "runs", "--output", tmp_path / "a.png")[0] == 0


def test_of_each_strategy_the_lowest_seed(tmp_path, make_record):
    for label, seed in (("atss", 1), ("atss", 0), ("fcos", 2)):
        record = make_record(label, seed)
        write_record(tmp_path / record.run_id, record)
    folders, notes = expanded([tmp_path])
    assert [folder.name for folder in folders] == ["atss-shapes-tiny-0", "fcos-shapes-tiny-2"]
    assert notes == (f"{tmp_path}: of each strategy the run of its lowest seed; left out: 1",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1", "autoassign"), "figure 1 compares strategies: name at least two runs"),
        (("1", "autoassign", "autoassign"), "is named twice"),
        (("1", "autoassign", "elsewhere"), "a figure needs runs on one data set: mini3.yaml-autoassign"),
        (("3", "autoassign", "without"), "figure 3 needs one run of autoassign; 2 are named"),
        (("3", "retinanet"), "the weights of retinanet are not made of a centre and a confidence weighting"),
        (("3", "nowhere"), "there is no run nowhere: no folder, and no run in runs whose id begins so"),
        (("3", "autoassign", "--picture", "0"), "has no such picture"),
        (("3", "autoassign", "--object", "99"), "--object 99: picture"),
        (("3", "autoassign", "--output", "a.gif"), "--output a.gif: the name must end in .svg, .pdf, .png"),
        (("4", "retinanet"), "retinanet learned no centre prior"),
        (("5", "autoassign"), "figure 5 needs two runs, one with implicit objectness and one without; 1 are named"),
        (("5", "without", "retinanet"), "of autoassign[objectness=none] and retinanet neither has it"),
        (("6", "without"), "kept no snapshots; repeat it into another --output with --set train.snapshots=[1]"),
        (("6", "retinanet"), "the weights of retinanet are not made of"),
        (("2", "autoassign"), "figure 2 of the paper is a sketch of the method"),
    ],
)
def test_wrong_usage_is_explained(call, runs, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*(runs.get(word, word) for word in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_what_else_differs_is_said(call, runs, tmp_path):
    assert call("5", runs["autoassign"], runs["retinanet"], "--output", tmp_path / "a.svg")[0] == 0
    assert "differ in more than objectness: strategy" in (tmp_path / "a.svg").read_text()
    assert call("5", runs["autoassign"], runs["without"], "--output", tmp_path / "b.svg")[0] == 0
    assert "differ in more" not in (tmp_path / "b.svg").read_text()


def test_an_unfinished_run(call, runs, tmp_path):
    shutil.copytree(runs["autoassign"], tmp_path / "run")
    (tmp_path / "run" / FILE).unlink()
    code, _, err = call("3", tmp_path / "run", "--output", tmp_path / "a.png")
    assert (code, "holds no finished run" in err) == (2, True)


def test_a_snapshot_of_another_run(call, runs, tmp_path):
    shutil.copytree(runs["autoassign"], tmp_path / "run")
    shutil.copy(snapshot_file(tmp_path / "run", 0), snapshot_file(tmp_path / "run", 1))
    code, _, err = call("6", tmp_path / "run", "--output", tmp_path / "a.png")
    assert (code, "is not of iteration 1 of" in err) == (1, True)
    snapshot_file(tmp_path / "run", 1).write_bytes(b"")
    code, _, err = call("6", tmp_path / "run", "--output", tmp_path / "a.png")
    assert (code, "missing or damaged" in err) == (1, True)


def test_without_matplotlib(call, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = call("3", runs["autoassign"])
    assert code == 4
    assert "pip install 'assignbench[plots]'" in err


def test_the_same_figure_is_the_same_file(call, runs, tmp_path):
    for name in ("a.svg", "b.svg"):
        assert call("6", runs["autoassign"], "--output", tmp_path / name)[0] == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
