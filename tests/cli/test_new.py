import subprocess
import sys
from pathlib import Path

import pytest

from assignbench.cli.commands.new import FILES, TEMPLATE
from assignbench.contract import asked

MAIN = [sys.executable, "-m", "assignbench"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ruff(*arguments: str, cwd: Path) -> None:
    for command in (["check", "--no-cache", *arguments], ["format", "--check", "--no-cache", *arguments[:1]]):
        done = subprocess.run(["ruff", *command, "."], cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_file_that_keeps_the_laws_and_pleases_ruff(call, here, few_pictures):
    code, out, err = call("new", "my_rule")
    assert (code, err) == (0, "")
    assert [file.name for file in here.iterdir()] == ["my_rule.py"]
    text = (here / "my_rule.py").read_text()
    assert "class MyRule(Assigner):" in text
    assert "strategy" not in text.lower()
    ruff("--isolated", cwd=here)
    for command in ("check my_rule.py", "run --assigner my_rule.py:MyRule,atss"):
        assert f"  assignbench {command} " in out
    assert "  pytest --assignbench my_rule.py " in out
    code, out, _ = call("check", "my_rule.py")
    assert (code, "my_rule.py:MyRule: keeps the contract" in out) == (0, True)
    data = ("--dataset", str(few_pictures), "--data-root", str(few_pictures.parent))
    assert (
        call("run", "--assigner", "my_rule.py:MyRule,atss", *data, "--dry-run", "--set", "train.precision=no")[0] == 0
    )


def test_a_package(call, pytester, here, monkeypatch):
    assert asked  # `pytester` forgets what is imported within, and torch cannot be imported twice
    assert call("new", "my_rule", "--package")[0] == 0
    found = {file.relative_to(here / "my_rule").as_posix() for file in here.rglob("*") if file.is_file()}
    assert found == {"my_rule.py", "tests/test_my_rule.py", "pyproject.toml", ".github/workflows/tests.yml"}
    assert not [file for file in here.rglob("*") if file.is_file() and "strategy" in file.read_text().split("\n")[0]]
    ruff(cwd=here / "my_rule")
    metadata = here / "my_rule" / "my_rule-0.1.0.dist-info"  # as pip writes it
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_rule\nVersion: 0.1.0\n")
    points = (here / "my_rule" / "pyproject.toml").read_text().partition('"assignbench.assigners"]\n')[2]
    (metadata / "entry_points.txt").write_text("[assignbench.assigners]\n" + points.partition("\n")[0].replace('"', ""))
    monkeypatch.syspath_prepend(here / "my_rule")
    monkeypatch.chdir(here / "my_rule")
    done = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "--rootdir=.", "--assignbench", "my_rule")
    assert done.ret == 0, done.stdout.str() + done.stderr.str()
    assert "16 passed" in done.stdout.str()  # its own test, and the laws


def test_the_template_is_what_is_written():
    kept = {file.relative_to(TEMPLATE).as_posix() for file in TEMPLATE.rglob("*") if file.is_file()}
    assert {file for file in kept if "cache" not in file} == set(FILES)


@pytest.mark.parametrize("package", [(), ("--package",)])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-rule", "cannot be the name: write a–z, 0–9 and _"),
        ("3d", "cannot be the name"),
        ("MyRule", "cannot be the name"),
        ("../rule", "cannot be the name"),
        ("class", "cannot be the name"),
        ("none", "cannot be the name"),
        ("atss", "atss is a strategy of assignbench"),
        ("torch", "torch is something else in Python already"),
        ("list", "list is something else in Python already"),
        ("head", "Head is a word of assignbench"),
    ],
)
def test_names_that_are_refused(call, here, package, name, message):
    code, out, err = call("new", name, *package)
    assert (code, out) == (2, "")
    assert message in err
    assert list(here.iterdir()) == []


def test_what_is_there_stays(call, here):
    (here / "mine.py").write_text("mine")
    (here / "ours").mkdir()
    for arguments in (["mine"], ["ours", "--package"]):
        code, _, err = call("new", *arguments)
        assert (code, "is there already" in err) == (2, True)
    assert (here / "mine.py").read_text() == "mine"
    assert list((here / "ours").iterdir()) == []
