"""The documentation's promises: its example is a strategy, its commands and files exist."""

import re
from pathlib import Path

import pytest
import typer

from assignbench.cli.main import app
from assignbench.cli.new import STRATEGY, read, renamed
from assignbench.contract.laws import check
from assignbench.options import check_options
from assignbench.plugins import load_class, resolve

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_there_are_pages() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "strategies.md", "data.md"} <= {page.name for page in PAGES}


def test_the_example_strategy_keeps_the_contract(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert code == renamed(read(STRATEGY), "nearest", "Nearest")  # what `assignbench new nearest` writes
    assert len(code.splitlines()) <= 60
    (tmp_path / "nearest.py").write_text(code, encoding="utf-8")
    strategy = resolve(f"{tmp_path / 'nearest.py'}:Nearest[k=5]")
    cls = load_class(strategy)
    assert [result for result in check(cls, check_options(cls, strategy.options)) if not result.passed] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = set(typer.main.get_group(app).commands)  # type: ignore[attr-defined]
    commands = set(re.findall(r"(?:^|`|&& )\s*assignbench ([a-z]+)", text, flags=re.MULTILINE))
    assert commands <= known
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    for file, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text(encoding="utf-8")):
        assert f"\ndef {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"
