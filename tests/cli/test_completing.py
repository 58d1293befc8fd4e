from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from assignbench.cli import completing
from assignbench.cli.main import app
from assignbench.options import option_schema
from assignbench.plugins import known_strategies

Complete = Callable[..., list[str]]
BUILT_IN = [known for known in known_strategies() if known.ours]


@pytest.fixture
def complete(call, monkeypatch) -> Complete:
    """What bash is offered for the last word of a line."""

    def complete(*words: str) -> list[str]:
        monkeypatch.setenv("_ASSIGNBENCH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(("assignbench", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        code, out, err = call()
        assert (code, err) == (0, "")
        return out.split()

    return complete


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("run", "--assigner", "atss,fc"), ["atss,fcos"]),
        (("run", "--assigner", "atss[k=5,refine=true],fc"), ["atss[k=5,refine=true],fcos"]),
        (("run", "--assigner", "fcos,atss[k=9,re"), ["fcos,atss[k=9,reference=", "fcos,atss[k=9,refine="]),
        (("run", "--assigner", "atss[refine=true,re"), ["atss[refine=true,reference="]),
        (("run", "--assigner", "no_such[k"), []),
        (("run", "--dataset", "sh"), ["shapes"]),
        (("run", "--dataset", "shapes,sh"), []),
        (("run", "--recipe", "ti"), ["tiny"]),
        (("run", "--assigner", "dw", "--preset", ""), ["official", "unrefined"]),
        (("check", "dw", "--preset", "u"), ["unrefined"]),
        (("run", "--on", ""), ["local", "slurm", "ray"]),
        (("run", "--device", "c"), ["cpu", "cuda"]),
        (("reproduce", "table3,table1"), ["table3,table1", "table3,table10"]),
        (("reproduce", "all", "--scale", "sm"), ["smoke", "small"]),
        (("data", "prepare", "coco", "--split", ""), ["evaluation", "train", "test"]),
        (("data", "stats", "co"), ["coco"]),
        (("eval", "--tta", "fl"), ["flip"]),
        (("list", "da"), ["datasets"]),
        (("compare", "some/folder"), []),  # the shell offers files
    ],
)
def test_names_are_completed(complete, words, offered):
    assert complete(*words) == offered


def test_runs_are_completed_where_they_lie(complete, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("runs/one", "other/two", "reproduced/runs/three", "runs/no_run"):
        Path(place).mkdir(parents=True)
        if place != "runs/no_run":
            Path(place, "config.json").touch()
    assert complete("predict", "") == ["runs/one"]
    assert complete("figure", "1", "other/") == ["other/two"]
    assert complete("eval", str(tmp_path / "other" / "t")) == [str(tmp_path / "other" / "two")]
    assert complete("run", "--only", "") == ["one"]
    assert complete("run", "--output", "other", "--only", "") == ["two"]
    assert complete("reproduce", "all", "--only", "") == ["three"]


@pytest.mark.parametrize("known", BUILT_IN, ids=lambda known: known.name)
def test_the_source_says_what_the_class_says(known):
    cls = known.load()
    assert completing.presets_of(known.name) == list(cls.presets)
    assert completing.options_of(known.name) == [option.name for option in option_schema(cls)]


def test_a_file_is_read_and_not_run(tmp_path, complete):
    file = tmp_path / "mine.py"
    file.write_text(
        "raise SystemExit('run')\n"
        "class Mine(Assigner):\n"
        "    presets = {'own': 1}\n"
        "    def __init__(self, setting, *, tau: float = 1.0): ...\n"
    )
    assert complete("run", "--assigner", f"{file}:Mine[t") == [f"{file}:Mine[tau="]
    assert complete("run", "--assigner", f"{file}:Mine", "--preset", "") == ["own"]
    file.write_text("class Mine(:\n")
    assert complete("run", "--assigner", f"{file}:Mine[t") == []


def commands() -> Iterator[Any]:
    """All commands, groups included."""
    waiting = [typer.main.get_command(app)]
    for command in waiting:
        yield command
        waiting += getattr(command, "commands", {}).values()


@pytest.mark.parametrize("name", ["assigner", "dataset", "spec", "recipe", "preset", "baseline", "tta", "on"])
def test_every_command_that_takes_a_name_completes_it(name):
    context = typer.Context(typer.main.get_command(app))
    asked = [(command, one) for command in commands() for one in command.params if one.name == name]
    assert asked
    assert [command.name for command, one in asked if not one.shell_complete(context, "")] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_shown(call, monkeypatch, shell):
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    code, out, _ = call("--show-completion")
    assert code == 0
    assert f"_ASSIGNBENCH_COMPLETE=complete_{shell}" in out
