"""``pytest --assignbench``: the laws as tests."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

STRATEGY = """
import torch

from assignbench.core import Assigner, Head, hard_assignment, inside_pairs, winners


class Fine(Assigner):
    '''Every location in the box.'''

    head = Head()

    def __init__(self, setting, *, margin: float = 0.0):
        super().__init__(setting)
        self.margin = margin

    def forward(self, targets, priors):
        objects, locations = inside_pairs(targets, priors, self.margin)
        won = winners(-objects, objects, locations, targets, priors)
        return hard_assignment(objects[won], locations[won], targets)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_test_for_each_law_beside_ones_own(folder: Path) -> None:
    done = run(folder, "-q", "--assignbench", "mine.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 14 passed" in done.stdout  # of equal priority: the object listed later
    assert "FAILED mine.py::Fine::order does not matter - " in done.stdout
    assert "of image 0 differ: object " in done.stdout
    assert f"({folder / 'mine.py'}:16)" in done.stdout
    assert "Traceback" not in done.stdout


def test_options_and_choice(folder: Path) -> None:
    done = run(folder, "-v", "--assignbench", "mine.py:Fine[margin=0.5]", "--assignbench=plain", "-k", "deterministic")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine.py::Fine::deterministic[margin=0.5] PASSED" in done.stdout
    assert "plain::deterministic PASSED" in done.stdout
    assert "collected 29 items / 27 deselected / 2 selected" in done.stdout
    assert "2 passed, 27 deselected" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [("mine.py:Fin", "did you mean Fine?"), ("nobody", "no strategy is called"), ("no.py", "there is no such file")],
)
def test_what_there_is_not_is_told_in_a_sentence(folder: Path, text: str, message: str) -> None:
    done = run(folder, "--assignbench", text)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_it_costs_nothing_where_the_option_is_absent(folder: Path) -> None:
    (point,) = metadata.entry_points(group="pytest11", name="assignbench")
    assert point.value == "assignbench.contract.pytest_plugin"
    (folder / "test_own.py").write_text(
        "import sys\n\n\ndef test_own():\n"
        "    ours = {name for name in sys.modules if name.startswith('assignbench')}\n"
        "    assert ours == {'assignbench', 'assignbench.contract', 'assignbench.contract.pytest_plugin'}\n"
        "    assert 'torch' not in sys.modules\n"
    )
    done = run(folder, "-q", "-p", "no:hypothesispytest", "-p", "no:anyio")
    assert done.returncode == 0, done.stdout
