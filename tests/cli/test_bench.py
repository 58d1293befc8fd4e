import json

import pytest

from assignbench.cli.commands.bench.cases import image_size
from assignbench.cli.output import note, progress
from assignbench.errors import UsageError

TINY = ("--image", "64x64", "--batch", "1", "--classes", "3", "--repeat", "1")


def test_help_lists_all(call):
    code, out, _ = call("bench", "--help")
    assert code == 0
    for name in ("loss", "step", "data", "eval"):
        assert f" {name} " in out


@pytest.mark.parametrize(("text", "size"), [("800x1216", (800, 1216)), ("32×64", (32, 64))])
def test_image_sizes(text, size):
    assert image_size(text) == size


@pytest.mark.parametrize("text", ["800", "800x", "axb", "-8x64", "31x64", "64x9000", "64x64x3", ""])
def test_odd_image_sizes(text):
    with pytest.raises(UsageError, match="--image"):
        image_size(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("loss", "--image", "wide"), "--image wide: write height x width in pixels, as --image 800x1216"),
        (("loss", "--objects", "many"), "--objects many: write whole numbers"),
        (("loss", "--batch", "0"), "--batch 0: at least 1"),
        (("loss", "--assigner", "atls"), "did you mean atss?"),
        (("loss", "--assigner", "atss[q=1]"), "no option 'q'"),
        (("loss", "--preset", "mmdet"), "preset 'mmdet' is for --protocol published"),
        (("step", "--trace", "x.json"), "--trace shows one step"),
        (("step", "--recipe", "tinny"), "did you mean tiny?"),
        (("step", "--assigner", "atss", "--against", "torchvision", *TINY), "torchvision trains no atss"),
        (("data", "--workers", "-1"), "--workers -1: write whole numbers"),
        (("data", "--pictures", "0"), "--pictures 0: at least 1"),
        (("eval", "--repeat", "0", "--image", "64x64"), "--repeat 0: at least 1"),
    ],
)
def test_wrong_usage_is_explained(call, arguments, message):
    code, out, err = call("bench", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_loss_as_json(call, monkeypatch):
    monkeypatch.setattr("assignbench.bench.loss.in_fresh_process", lambda *_: 1_000_000)
    code, out, err = call("bench", "loss", *TINY, "--assigner", "fcos,plain", "--objects", "0,2", "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert [line.split(":")[0] for line in err.splitlines()] == ["fcos", "fcos", "plain", "plain"]
    assert [(row["strategy"], row["objects"]) for row in rows] == [("fcos", 0), ("fcos", 2), ("plain", 0), ("plain", 2)]
    kinds = {
        "strategy": str,
        "objects": int,
        "image": str,
        "batch": int,
        "ms": float,
        "floor_ms": float,
        "ratio": float,
        "peak_extra_mb": float,
    }
    for row in rows:
        assert {name: type(value) for name, value in row.items()} == kinds


def test_loss_as_table(call, monkeypatch):
    monkeypatch.setattr("assignbench.bench.loss.in_fresh_process", lambda *_: 1_000_000)
    code, out, _ = call("bench", "loss", *TINY, "--assigner", "fcos", "--objects", "2")
    assert code == 0
    assert "controlled protocol, 3 classes" in out
    assert "torch " in out
    line = next(line for line in out.splitlines() if line.split()[:1] == ["fcos"])
    assert line.split()[1:4] == ["2", "64x64", "1"]


def test_step_takes_image_and_batch_from_the_recipe(call, monkeypatch):
    seen = []

    def bench_step(candidates, recipe, cases, **_):
        seen.extend(cases)
        return [], {}

    monkeypatch.setattr("assignbench.bench.step.bench_step", bench_step)
    assert call("bench", "step", "--recipe", "1x", "--device", "cpu", "--assigner", "atss", "--json")[0] == 0
    assert [(case.image, case.batch) for case in seen] == [("800x1333", 16)]


def test_a_table_leaves_out_what_nobody_has(call, monkeypatch):
    def bench_step(candidates, recipe, cases, **_):
        from assignbench.bench.step import StepRow

        return [StepRow("atss", 7, "64x64", 1, "resnet18", "no", False, 1.0, 1.0, 1.0, 2, None)], {
            "atss": ("a.py:3", "b.py:4")
        }

    monkeypatch.setattr("assignbench.bench.step.bench_step", bench_step)
    code, out, _ = call("bench", "step", *TINY, "--assigner", "atss", "--device", "cpu")
    assert code == 0
    assert "host syncs" in out
    assert "rival" not in out
    assert "atss makes the host wait for a GPU in a.py:3, b.py:4" in out


def test_progress_goes_to_a_terminal_only(capsys, monkeypatch):
    progress("atss")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress("atss")
    assert capsys.readouterr().err.startswith("\ratss")


def test_a_note_stays_and_goes_to_stderr(capsys, monkeypatch):
    note("atss: done")
    assert capsys.readouterr() == ("", "atss: done\n")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress("atss: a longer line that is overwritten")
    note("atss: done")
    written = capsys.readouterr().err
    assert written.split("\r")[-1].rstrip(" \n") == "atss: done"
    assert len(written.split("\r")[-1]) > len("atss: a longer line that is overwritten")
