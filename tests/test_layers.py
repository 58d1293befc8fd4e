"""Who may import whom: the layers of the architecture, enforced."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("assignbench", "assigners")
VOCABULARY = ("assignbench.core", "assignbench.core.parts")  # strategies import these modules, not what lies below them
PURE = ("assignbench.core", "assigners")  # beside ours only torch and the standard library

_BASE = tuple(
    f"assignbench.{name}"
    for name in (
        "errors",
        "suggest",
        "naming",
        "plain_text",
        "paths",
        "strict_yaml",
        "problems",
        "document",
        "disk",
        "files",
        "overwriting",
        "sealed",
        "lock",
        "machine",
    )
)
_CORE, _DATA, _RUN, _DETECTOR = (f"assignbench.{name}" for name in ("core", "data", "run", "detector"))
_SETTINGS = ("assignbench.config", "assignbench.recipe")
_STRANGERS = tuple(f"assignbench.{name}" for name in ("plugins", "options", "importing", "sources", "trust"))
_LAWS = ("assignbench.contract", "assignbench.synthetic")

# The longest prefix of a module's name decides; nothing but cli may import cli, and nothing assigners.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "assigners": (*VOCABULARY, "assigners.presets"),
    _CORE: (_CORE,),
    "assignbench.synthetic": (_CORE,),
    _DETECTOR: (*_BASE, _CORE, _DETECTOR),
    _DATA: (*_BASE, _CORE, _DATA),
    "assignbench.plugins": (*_BASE, *_STRANGERS, _CORE),
    "assignbench.options": (*_BASE, *_STRANGERS, _CORE),
    "assignbench.contract": (*_BASE, *_LAWS, *_STRANGERS, _CORE, _DETECTOR),
    _RUN: (*_BASE, *_SETTINGS, *_STRANGERS, *_LAWS, _CORE, _DETECTOR, _DATA, _RUN),
    "assignbench.golden": (*_BASE, *_SETTINGS, *_STRANGERS, _CORE, _DETECTOR, _RUN, "assignbench.golden"),
    "assignbench.bench": (*_BASE, *_SETTINGS, *_STRANGERS, _CORE, _DETECTOR, _DATA, _RUN, "assignbench.bench"),
    "assignbench.export": (*_BASE, *_SETTINGS, _CORE, _DETECTOR, _DATA, _RUN, "assignbench.export"),
    "assignbench.figures": (
        *(*_BASE, *_SETTINGS, "assignbench.plot", "assignbench.importing"),
        *(_CORE, _DATA, _RUN, "assignbench.figures"),
    ),
    "assignbench.comparison": (
        *(*_BASE, *_SETTINGS, "assignbench.tables", "assignbench.comparison"),
        *("assignbench.run.results", "assignbench.run.scoring.matches"),
    ),
    "assignbench.analysis": (
        *(*_BASE, "assignbench.comparison", "assignbench.analysis"),
        *(
            "assignbench.run.scoring.matches",
            "assignbench.data.stats.meeting",
        ),  # arrays alone: whoever calls opens the data
    ),
    "assignbench.engines": (*_BASE, *_SETTINGS, _RUN, "assignbench.engines"),
    "assignbench.reproduce": (
        *_BASE,
        *_SETTINGS,
        *_STRANGERS,
        *(
            _CORE,
            _DATA,
            _RUN,
            "assignbench.bench",
            "assignbench.tables",
            "assignbench.comparison",
            "assignbench.reproduce",
        ),
    ),
    "assignbench.report": (
        *(*_BASE, *_SETTINGS, *_STRANGERS, _CORE, _DATA, _RUN),
        *(f"assignbench.{name}" for name in ("analysis", "comparison", "figures", "judging", "plot", "report")),
    ),
    "assignbench.template": (*VOCABULARY, "assignbench.synthetic"),  # a stranger's strategy and its test
    "assignbench.cli": ("assignbench",),
    "assignbench.__main__": ("assignbench.cli",),
    "assignbench.kept_influences": (
        *(*_BASE, "assignbench.comparison", "assignbench.run.results"),
        *(f"assignbench.run.scoring{name}" for name in (".kept_matches", ".matches")),
    ),
    "assignbench.judging": (
        *(*_BASE, "assignbench.comparison", "assignbench.kept_influences", _DATA),
        *("assignbench.run.results", "assignbench.run.scoring.kept_matches"),
    ),
    "assignbench.api": (
        *(*_BASE, "assignbench.options", "assignbench.comparison", "assignbench.judging"),
        "assignbench.run.results",
    ),
    "assignbench": (
        *_BASE,
        *_SETTINGS,
        *_STRANGERS,
        "assignbench.api",
    ),  # config, options and whatever else stands alone
}


def modules(root: Path) -> dict[str, Path]:
    files = [file for name in OURS for file in sorted((root / name).rglob("*.py"))]
    dotted = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
    return {name.removesuffix(".__init__"): file for name, file in zip(dotted, files, strict=True)}


def imports(file: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and module of every import, at the top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in known else str(node.module)


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def violations(root: Path) -> list[str]:
    known, found = modules(root), []
    for module, file in known.items():
        rule = max((prefix for prefix in MAY_IMPORT if within(module, (prefix,))), key=len)
        for line, target in imports(file, known):
            if within(target, OURS):
                version = target == "assignbench" and rule not in PURE
                fine = version or within(target, MAY_IMPORT[rule])
                fine &= rule != "assigners" or target in VOCABULARY or within(target, ("assigners.presets",))
            else:
                top = target.partition(".")[0]
                fine = rule not in PURE or top == "torch" or top in sys.stdlib_module_names
            if not fine:
                found.append(f"{file.relative_to(root)}:{line}: {rule} must not import {target}")
    return found


def test_layers_hold():
    assert len(modules(ROOT)) > 30, "the packages were not found"
    assert violations(ROOT) == []


def test_no_circles():
    known = modules(ROOT)
    graph = {
        module: {target for _, target in imports(file, known) if target in known and target != "assignbench"}
        for module, file in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' → '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("assignbench/core/bad.py", "import numpy"),
        ("assignbench/core/bad.py", "from assignbench.errors import UsageError"),
        ("assignbench/data/bad.py", "from assignbench import run"),
        ("assignbench/run/bad.py", "from assigners.atss import ATSS"),
        ("assignbench/comparison/bad.py", "from assignbench.run.training.train import train"),
        ("assignbench/analysis/bad.py", "from assignbench.data.dataset import Dataset"),
        ("assignbench/detector/bad.py", "from assignbench.config import digest"),
        ("assigners/bad.py", "from assignbench.detector import head"),
        ("assigners/bad.py", "from assignbench.core.fast.rows import smallest_columns"),
        ("assigners/bad.py", "from assignbench.core import fast"),
        ("assigners/bad.py", "import assignbench.core.fast"),
        ("assigners/bad.py", "from assigners.atss import ATSS"),
        ("assigners/presets/bad.py", "from assignbench.core.priors import pyramid_priors"),
        ("assigners/presets/bad.py", "from assignbench.core import fast"),
        ("assigners/presets/bad.py", "from assigners.atss import ATSS"),
        ("assigners/presets/bad.py", "import numpy"),
    ],
)
def test_planted_violation_is_named_with_its_line(tmp_path, module, line):
    file = tmp_path / module
    file.parent.mkdir(parents=True)
    file.write_text(f"def late():\n    {line}\n")
    for package in ("run", "core/fast"):
        (tmp_path / "assignbench" / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / "assignbench" / package / "__init__.py").touch()
    assert [found.partition(": ")[0] for found in violations(tmp_path)] == [f"{module}:2"]


@pytest.mark.parametrize("module", ["assigners/good.py", "assigners/presets/good.py"])
def test_strategies_and_presets_import_the_vocabulary_and_presets(tmp_path, module):
    file = tmp_path / module
    file.parent.mkdir(parents=True)
    names = ("assignbench.core", "assignbench.core.parts", "assigners.presets.maskrcnn_benchmark", "torch", "math")
    file.write_text("\n".join(f"import {name}" for name in names))
    assert violations(tmp_path) == []
