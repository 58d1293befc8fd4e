import json
import sys
import warnings

import pytest

from assignbench.config import settings
from assignbench.core.parts import EXTRAS
from assignbench.data.read.findings import KINDS
from assignbench.options import option_schema
from assignbench.plugins import KnownStrategy, known_strategies, resolve
from assignbench.run.results.record import write_record


@pytest.fixture
def known(monkeypatch):
    entries = (
        KnownStrategy("atss", "assigners.atss:ATSS", "assignbench", "0.1.0"),
        KnownStrategy("six", "nowhere.six:Six", "one", "1.0"),
        KnownStrategy("six", "nowhere.seven:Seven", "two", "2.0"),
    )
    monkeypatch.setattr("assignbench.plugins.known_strategies", lambda: entries)


def test_assigners(call, known):
    code, out, _ = call("list", "assigners")
    assert code == 0
    line = next(line for line in out.splitlines() if "atss" in line)
    assert line.split() == ["atss", "assigners.atss:ATSS", "assignbench", "0.1.0"]
    assert out.count("six (claimed twice)") == 2


def test_assigners_with_options_survives_broken_ones(call, known):
    code, out, _ = call("list", "assigners", "--options")
    assert code == 0
    assert "k: int = 9" in out
    assert "arXiv 1912.02424" in out
    assert out.count("broken: ") == 2
    lines = out.splitlines()
    assert lines[lines.index("    k: int = 9") + 1] == " " * 8 + "candidates per level and object, per prior of a cell."
    assert "  published as: mmdet, official, gfl, vfnet" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("options", [[], ["--options"]])
def test_what_is_wrong_with_a_stranger_s_strategy_is_one_line(call, monkeypatch, tmp_path, options):
    (tmp_path / "careless_points.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "odd_points.py").write_text(
        "from assigners.plain import Plain\n\n\nclass Odd(Plain):\n    presets = 3\n    source = 4\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = (
        KnownStrategy("atss", "assigners.atss:ATSS", "assignbench", "0.1.0"),
        KnownStrategy("atss", "nowhere.six:Six", "bold", "1.0"),
        KnownStrategy("careless", "careless_points:Six", "one", "1.0"),
        KnownStrategy("no_class", "json:dumps", "one", "1.0"),
        KnownStrategy("odd", "odd_points:Odd", "two", "2.0"),
    )
    monkeypatch.setattr("assignbench.plugins.known_strategies", lambda: entries)
    code, out, _ = call("list", "assigners", *options)
    assert code == 0
    said = [line.strip() for line in out.splitlines() if "broken: " in line]
    assert said[:3] == [
        "broken: atss (from bold 1.0): there is no module 'nowhere'; install it, or write path/file.py:Class",
        f"broken: careless (from one 1.0) cannot be imported; SystemExit: 3 ({tmp_path / 'careless_points.py'}:2)",
        "broken: no_class (from json): no class 'dumps' in json; strategies in it: none".replace(" (from json)", ""),
    ]
    assert len(said) == 3 + len(options)  # the options of the last one cannot be shown
    assert "atss (the name is ours)" in out
    assert out.count("the name is ours") == 1
    assert "k: int = 9" in out or not options


def test_a_warning_is_one_plain_line(call, monkeypatch, capsys):
    entries = (
        KnownStrategy("atss", "assigners.atss:ATSS", "assignbench", "0.1.0"),
        KnownStrategy("atss", "bold:Six", "bold", "1.0"),
    )
    monkeypatch.setattr("assignbench.plugins.known_strategies", lambda: entries)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *about: sys.stderr.write(warnings.formatwarning(*about[:4]))
        code, out, err = call("list", "assigners", "atss")
    assert code == 0
    assert "k: int = 9" in out
    assert err == "warning: bold 1.0 claims the name 'atss', which is assignbench's own; for theirs write bold:Six\n"


def test_the_options_of_one_strategy(call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from assigners.plain import Plain\n\n\nclass Mine(Plain):\n"
        '    """Mine.\n\n    Args:\n        k: how many.\n    """\n\n'
        "    def __init__(self, setting, *, k: int = 3) -> None:\n        super().__init__(setting)\n"
    )
    for text, option in (("atss", "k: int = 9"), (f"{file}:Mine", "k: int = 3")):
        code, out, _ = call("list", "assigners", text)
        assert code == 0
        assert option in out
        assert "autoassign" not in out


def test_what_can_be_added_to_any_strategy_is_listed(call, known):
    lines = call("list", "assigners", "--options")[1].splitlines()
    names = [line.strip() for line in lines if line.startswith("    +")]
    assert names == [f"+{name}" for name in EXTRAS]
    assert "scales the score" in lines[lines.index("    +centerness") + 2]


def test_every_option_of_the_built_in_strategies_says_what_it_means():
    for strategy in known_strategies():
        if strategy.distribution == "assignbench":
            for option in option_schema(resolve(strategy.name).load()):
                assert option.meaning, (strategy.name, option.name)


def test_datasets(call):
    code, out, _ = call("list", "datasets")
    assert code == 0
    for name in ("shapes", "coco", "voc", "objects365", "objects365v1", "widerface"):
        assert any(line.split()[:1] == [name] for line in out.splitlines())


def test_recipes(call):
    code, out, _ = call("list", "recipes")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if "resnet" in line] == [
        "1x",
        "2x",
        "objects365",
        "own-cpu",
        "own-gpu",
        "scratch",
        "shapes",
        "small",
        "smoke",
        "tiny",
        "voc",
        "widerface",
    ]


def test_every_setting_of_a_recipe(call):
    code, out, _ = call("list", "recipes", "1x")
    assert code == 0
    for key in settings():
        assert f" {key} " in out
    assert "[60000, 80000]" in out


def test_unknown_recipe(call):
    assert "did you mean scratch?" in call("list", "recipes", "scrach")[2]


def test_runs(call, tmp_path, make_record):
    for record in (make_record("fcos[k=1]", ap=0.3), make_record("atss", ap=None)):
        write_record(tmp_path / record.run_id, record)
    code, out, _ = call("list", "runs", str(tmp_path))
    assert code == 0
    lines = [line.split() for line in out.splitlines() if "tiny" in line]
    assert [line[:6] for line in lines] == [
        ["shapes", "tiny", "atss", "0", "–", "–"],
        ["shapes", "tiny", "fcos[k=1]", "0", "30.0", "30.0"],
    ]
    assert lines[1][-1] == "fcos[k=1]-shapes-tiny-0"


def test_no_runs(call, tmp_path):
    assert call("list", "runs", str(tmp_path))[0] == 2


def test_in_a_pipe_a_row_is_one_line_however_long(call, tmp_path, make_record):
    """What is printed into a pipe is read by programs, line by line."""
    for seed in range(2):
        record = make_record(f"autoassign[{','.join(f'option_{n}={n}' for n in range(30))}]", seed, 0.4)
        record = record.model_copy(update={"run_id": f"{'long_' * 60}{seed}"})
        write_record(tmp_path / str(seed), record)
    for command in (("list", "runs"), ("compare",)):
        lines = call(*command, str(tmp_path))[1].splitlines()
        assert sum("option_29=29" in line for line in lines) == (2 if command == ("list", "runs") else 1)
        assert [line for line in lines if "option_29=29" in line and "option_0=0" not in line] == []
    assert sum("long_" * 60 in line for line in call("list", "runs", str(tmp_path))[1].splitlines()) == 2


def test_findings_are_listed_with_what_a_run_does_about_them(call):
    code, out, _ = call("list", "findings", "--json")
    listed = {one["finding"]: one for one in json.loads(out)["findings"]}
    assert (code, list(listed)) == (0, [kind.name for kind in KINDS])
    assert listed["pictures-dim"] == {
        "finding": "pictures-dim",
        "severity": "error",
        "meaning": "pictures of 16 bits that use fewer and do not say so: nearly black",
        "reading": "refused",
        "repair": None,
    }
    assert listed["box-clipped"]["reading"] == "repaired: box clipped to the image"
    assert listed["overlap-file"]["reading"] == "not seen by a run, only by data check"
    assert listed["crowd"]["reading"] == "nothing"
    code, out, _ = call("list", "findings")
    assert code == 0
    assert all(kind.name in out for kind in KINDS)
