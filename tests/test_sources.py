"""What a file imports of its package, and what a strategy's digest therefore covers."""

from pathlib import Path

import pytest

from assignbench.plugins import load_class, resolve, source_digest
from assignbench.sources import with_imports

FILES = {
    "__init__.py": "",
    "alone.py": "import os\nimport pack_of_others.far\nfrom torch import nn\n",
    "near.py": "from pack.deep import far\n",
    "deep/__init__.py": "from . import near\n",
    "deep/near.py": "from .. import dotted\n",
    "deep/far.py": "",
    "dotted.py": "",
    "late.py": "def function():\n    import pack.near as somebody\n",
    "named.py": "from pack.dotted import function\n",
    "circle.py": "from pack.round import one\n",
    "round.py": "from pack import circle\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "pack" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "pack"


@pytest.mark.parametrize(
    ("start", "imported"),
    [
        ("alone.py", []),
        ("deep/near.py", ["__init__.py", "dotted.py"]),
        ("near.py", ["__init__.py", "deep/__init__.py", "deep/far.py", "deep/near.py", "dotted.py"]),
        ("late.py", ["__init__.py", "deep/__init__.py", "deep/far.py", "deep/near.py", "dotted.py", "near.py"]),
        ("named.py", ["__init__.py", "dotted.py"]),
        ("circle.py", ["__init__.py", "round.py"]),
    ],
)
def test_what_a_file_imports_of_its_package(package: Path, start: str, imported: list[str]) -> None:
    found = with_imports(package / start, package)
    assert sorted(file.relative_to(package).as_posix() for file in found) == sorted([start, *imported])


STRATEGY = """from assignbench.core import Assigner
from presets_apart.presets import K


class Mine(Assigner):
    def forward(self, predictions, priors, targets):
        raise NotImplementedError
"""


def test_a_strategy_s_digest_covers_what_it_imports_of_its_own_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets, unused = (tmp_path / "presets_apart" / name for name in ("presets.py", "unused.py"))
    presets.parent.mkdir()
    (presets.parent / "__init__.py").touch()
    (presets.parent / "mine.py").write_text(STRATEGY)
    presets.write_text("K = 9\n")
    unused.write_text("K = 9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    cls = load_class(resolve("presets_apart.mine:Mine"))
    first = source_digest(cls)
    unused.write_text("K = 8\n")
    assert source_digest(cls) == first
    presets.write_text("K = 8\n")
    assert source_digest(cls) != first
