import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from assignbench.cli.main import main


@pytest.fixture
def call(capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(autouse=True)
def _no_precision_before() -> None:
    """A command is a process of its own: what another test's training has settled for this one is forgotten."""
    state = getattr(sys.modules.get("accelerate.state"), "AcceleratorState", None)
    if state is not None:
        state._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch) -> None:
    """No test fetches ImageNet weights."""
    monkeypatch.setattr("assignbench.cli.recipes.has_weights", lambda _: False)


@pytest.fixture
def stand_in(monkeypatch) -> Callable[..., None]:
    """Replace a module by one with the given names: commands are tested without training anything."""

    def stand_in(module: str, **names: Any) -> None:
        double = ModuleType(module)
        double.__dict__.update(names)
        monkeypatch.setitem(sys.modules, module, double)

    return stand_in
