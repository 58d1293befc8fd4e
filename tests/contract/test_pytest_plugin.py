"""``pytest --assignbench``: the laws as tests."""

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from assignbench.contract import asked

Run = Callable[..., tuple[int, str, str]]

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
def run(pytester: pytest.Pytester) -> Callable[..., tuple[int, str, str]]:
    """Pytest in this process, which has torch, beside ``mine.py`` and a test: its exit code, output and errors."""
    assert asked  # `pytester` forgets what is imported within, and torch cannot be imported twice
    pytester.makepyfile(mine=STRATEGY, test_own="def test_own():\n    pass\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        done = pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)
        return int(done.ret), done.stdout.str(), done.stderr.str()

    return run


def test_a_test_for_each_law_beside_ones_own(run: Run, pytester: pytest.Pytester) -> None:
    code, out, err = run("-q", "--assignbench", "mine.py")
    assert code == 1, out + err
    assert "1 failed, 15 passed" in out  # of equal priority: the object listed later
    assert "FAILED mine.py::Fine::order does not matter - " in out
    assert "of image 0 differ: object " in out
    assert f"({pytester.path / 'mine.py'}:15)" in out
    assert "Traceback" not in out


def test_options_and_choice(run: Run) -> None:
    code, out, err = run(
        "-v", "--assignbench", "mine.py:Fine[margin=0.5]", "--assignbench=plain", "-k", "deterministic"
    )
    assert code == 0, out + err
    assert "mine.py::Fine::deterministic[margin=0.5] PASSED" in out
    assert "plain::deterministic PASSED" in out
    assert "collected 31 items / 29 deselected / 2 selected" in out
    assert "2 passed, 29 deselected" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [("mine.py:Fin", "did you mean Fine?"), ("nobody", "no strategy is called"), ("no.py", "there is no such file")],
)
def test_what_there_is_not_is_told_in_a_sentence(run: Run, text: str, message: str) -> None:
    code, _, err = run("--assignbench", text)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert message in err
    assert "Traceback" not in err


def test_it_costs_nothing_where_the_option_is_absent(tmp_path: Path) -> None:
    (point,) = metadata.entry_points(group="pytest11", name="assignbench")
    assert point.value == "assignbench.contract.pytest_plugin"
    (tmp_path / "test_own.py").write_text(
        "import sys\n\n\ndef test_own():\n"
        "    ours = {name for name in sys.modules if name.startswith('assignbench')}\n"
        "    own = {'assignbench.contract', 'assignbench.contract.pytest_plugin'}\n"
        "    assert ours == {'assignbench', 'assignbench.api', *own}\n"
        "    assert not {'torch', 'numpy', 'pandas'} & {*sys.modules}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    done = subprocess.run([*command, "-p", "no:anyio"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
