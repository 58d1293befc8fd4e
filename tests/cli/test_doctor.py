import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from assignbench.cli.commands.doctor import examining, selftest
from assignbench.cli.commands.doctor.examining import Line
from assignbench.run.training import surroundings


@pytest.fixture
def lines(monkeypatch):
    """What the doctor sees, in place of this machine."""

    def lines(*found: Line) -> None:
        monkeypatch.setattr(examining, "topics", lambda *_: {"topic": lambda: found})
        monkeypatch.setattr(selftest, "tests", lambda _: ())

    return lines


FINE, NOTE = Line("topic", "one", "fine", "found"), Line("topic", "two", "note", "odd", "do this")
PROBLEM = Line("topic", "three", "problem", "broken", "do that")


@pytest.mark.parametrize(
    ("found", "code", "last"),
    [
        ((FINE,), 0, "1 fine"),
        ((FINE, NOTE), 0, "1 fine, 1 note"),
        ((FINE, NOTE, PROBLEM), 4, "1 fine, 1 note, 1 problem"),
    ],
)
def test_a_problem_is_exit_4(call, lines, found, code, last):
    lines(*found)
    got, out, err = call("doctor")
    assert (got, err, out.splitlines()[-1]) == (code, "", last)
    got, out, err = call("doctor", "--json")
    assert got == code
    assert [line["state"] for line in json.loads(out)["lines"]] == [line.state for line in found]


def test_every_line_says_its_state_and_what_to_do(call, lines):
    lines(FINE, NOTE, PROBLEM)
    out = call("doctor")[1].splitlines()
    assert out[:6] == [
        "topic",
        "fine     one             found",
        "note     two             odd",
        "                         → do this",
        "problem  three           broken",
        "                         → do that",
    ]


def test_a_pipe_gets_80_columns_without_colours(call, lines):
    lines(Line("topic", "long", "note", "word " * 60, "advice " * 40), Line("topic", "path", "fine", "/" + "a" * 200))
    out = call("doctor")[1]
    assert "\033" not in out
    wide = [line for line in out.splitlines() if len(line) > 80]
    assert [line.split()[-1] for line in wide] == ["/" + "a" * 200]  # which somebody may want to copy


def test_this_machine_passes_the_self_test(tmp_path):
    found = list(selftest.tests(tmp_path / "runs"))
    assert [(line.name, line.state, line.advice) for line in found] == [
        (name, "fine", "") for name in ("assignment", "gradient", "compiled parts", "training step", "files")
    ]
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_wrong_are_seen(monkeypatch, tmp_path):
    real = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: [1.001 * one for one in real(*a, **k)])
    monkeypatch.setattr("torchvision.ops.nms", lambda *_: torch.tensor([0]))
    monkeypatch.setattr("assignbench.core.geometry.sides", None)
    broken = {line.name: line for line in selftest.tests(tmp_path / "no" / "runs")}
    assert {name for name, line in broken.items() if line.state == "problem"} >= {"gradient", "compiled parts"}
    assert "backward says" in broken["gradient"].found
    assert broken["compiled parts"].found == "torchvision's nms keeps boxes [0], not 0 and 2"


def test_a_wrong_assignment_is_seen(monkeypatch):
    monkeypatch.setattr(selftest, "_plain", lambda _: SimpleNamespace(pairs=[0] * 33))
    with pytest.raises(AssertionError, match="plain paired 33 locations with a box that holds 34"):
        selftest.assignment()


def test_a_folder_that_cannot_be_written_to(tmp_path):
    file = tmp_path / "file"
    file.touch()
    states = {line.name: line for line in examining.folders(file / "runs", tmp_path / "data")}
    assert states["runs"].state == "problem"
    assert "--output names another place" in states["runs"].advice
    assert states["data sets"].state == "fine"
    assert "will be made" in states["data sets"].found
    assert not (tmp_path / "data").exists()


def test_what_a_check_cannot_look_at_is_a_problem_and_the_others_go_on(monkeypatch, tmp_path):
    def broken():
        raise ImportError("libcudart.so: cannot open")

    monkeypatch.setattr(examining, "memory", broken)
    checks = examining.topics(tmp_path, None)
    found = [line for topic, check in checks.items() for line in examining.looked_at(topic, check)]
    (memory,) = [line for line in found if line.topic == "memory"]
    assert memory.state == "problem"
    assert "libcudart.so" in memory.found
    assert {"versions", "variables"} <= {line.topic for line in found}


def seen(monkeypatch, tmp_path: Path, **variables: str) -> dict[str, Line]:
    monkeypatch.setattr("psutil.Process.environ", lambda _: {"HF_HOME": str(tmp_path), **variables})
    return {line.name: line for line in examining.variables()}


def test_every_variable_that_decides_in_a_recipe_s_place_is_named(monkeypatch, tmp_path):
    refused = [one.name for one in (*surroundings.REFUSED, *surroundings.REFUSED_ON_GPU)]
    others = [one.name for one in (*surroundings.SET_ASIDE, *surroundings.REFUSED_WITH_COMPILE)]
    found = seen(monkeypatch, tmp_path, **dict.fromkeys((*refused, *others), "7"))
    assert {found[name].state for name in refused} == {"problem"}
    assert {found[name].state for name in others} == {"note"}
    assert all(found[name].advice for name in (*refused, *others))


def test_variables(monkeypatch, tmp_path):
    found = seen(monkeypatch, tmp_path, ASSIGNBENCH_DATE="x", ASSIGNBENCH_DATA="/data", WORLD_SIZE="2")
    assert found["ASSIGNBENCH_DATE"].advice == "did you mean ASSIGNBENCH_DATA?"
    assert found["ASSIGNBENCH_DATA"] == Line(
        "variables", "ASSIGNBENCH_DATA", "fine", "'/data': folder of the data sets"
    )
    assert found["launcher"].state == "problem"
    assert found["HF_HOME"].state == "fine"
    (tmp_path / "accelerate").mkdir()
    (tmp_path / "accelerate" / "default_config.yaml").touch()
    assert seen(monkeypatch, tmp_path)["accelerate"].state == "note"


def test_what_is_not_installed_is_said_with_how(monkeypatch):
    asked = ["typer>=99", "numpy>=1", "no-such-package>=1", "altair>=6; extra == 'report'", "nowhere; extra == 'ray'"]
    monkeypatch.setattr(examining.metadata, "requires", lambda _: asked)
    found = {line.name: line for line in (*examining.versions(), *examining.extras())}
    assert (found["typer"].state, found["typer"].advice) == ("problem", "pip install 'typer>=99'")
    assert (found["no-such-package"].state, found["numpy"].state) == ("problem", "fine")
    assert (found["ray"].state, found["ray"].advice) == ("note", "pip install 'assignbench[ray]'")
    assert found["report"].state == "fine"


def test_a_gpu_that_torch_cannot_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(examining.shutil, "which", lambda name: name)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = {line.name: line for line in examining.devices()}["gpu"]
    assert (found.state, found.found) == ("problem", "one is there, and this torch is built without CUDA")
