"""``pytest --assignbench STRATEGY``: every law of ``assignbench check`` as a test of its own.

Pytest imports this file whenever assignbench is installed, so it imports all else only where the option is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from assignbench.contract.laws import Trial


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.getgroup("assignbench").addoption(
        "--assignbench",
        action="append",
        default=[],
        metavar="STRATEGY",
        help="Test that a strategy keeps the laws of `assignbench check`: a name, module:Class, file.py:Class, or "
        "file.py for all in it; may be repeated.",
    )


@pytest.hookimpl(tryfirst=True)  # before -k and the like choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add one test for each law and strategy."""
    if not config.option.assignbench:
        return
    from assignbench.contract.asked import trials_of
    from assignbench.errors import UsageError

    try:
        found = [one for text in config.option.assignbench for one in trials_of(text).items()]
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    for label, trials in found:
        items += session.genitems(Laws.from_parent(session, label=label, trials=trials))


class Laws(pytest.Collector):
    """The laws of one strategy: ``mine.py::Mine``."""

    def __init__(self, *, label: str, trials: Sequence[Trial], **others: Any) -> None:
        name, given = re.findall(r"^([^\[+]*)(.*)", label)[0]
        where, _, cls = name.partition(":")
        super().__init__(cls or where, nodeid=f"{where}::{cls}" if cls else where, **others)
        self.trials, self.given = trials, re.sub(r"[\[\]]", "", given)  # options and extra outputs: "k=5+iou"

    def collect(self) -> list[pytest.Item]:
        """A test for each."""
        return [LawTest.from_parent(self, trial=trial) for trial in self.trials]


class LawTest(pytest.Item):
    """One law of one strategy."""

    def __init__(self, *, trial: Trial, parent: Laws, **others: Any) -> None:
        super().__init__(f"{trial.name}[{parent.given}]" if parent.given else trial.name, parent, **others)
        self.trial, self.title = trial, f"{parent.name}::{self.name}"

    def runtest(self) -> None:
        """Try it."""
        result = self.trial()
        if not result.passed:
            raise LawBroken(result.message)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is said of a broken law is a sentence, not a traceback."""
        return str(excinfo.value) if excinfo.errisinstance(LawBroken) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the rule begins, and what was tried."""
        from assignbench.importing import written_at

        file, line = written_at(self.trial.cls.forward)
        return Path(file), line - 1, self.title


class LawBroken(Exception):  # noqa: N818 - what happened, not an error of ours
    """A law does not hold; the message says how."""
