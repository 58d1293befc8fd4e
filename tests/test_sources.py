"""What a file imports of its package, and what a strategy's digest therefore covers."""

from pathlib import Path

import pytest

from assignbench.plugins import resolve, source_digest
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
        ("alone.py", ["__init__.py"]),
        ("deep/near.py", ["__init__.py", "deep/__init__.py", "dotted.py"]),
        ("near.py", ["__init__.py", "deep/__init__.py", "deep/far.py", "deep/near.py", "dotted.py"]),
        ("late.py", ["__init__.py", "deep/__init__.py", "deep/far.py", "deep/near.py", "dotted.py", "near.py"]),
        ("named.py", ["__init__.py", "dotted.py"]),
        ("circle.py", ["__init__.py", "round.py"]),
    ],
)
def test_what_a_file_imports_of_its_package(package: Path, start: str, imported: list[str]) -> None:
    found = with_imports(package / start)
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
    for text in ("presets_apart.mine:Mine", f"{tmp_path}/presets_apart/mine.py:Mine"):
        first = source_digest(resolve(text))
        unused.write_text("K = 8\n")
        assert source_digest(resolve(text)) == first
        presets.write_text("K = 8\n")
        assert source_digest(resolve(text)) != first
        presets.write_text("K = 9\n")


LONE = STRATEGY.replace("presets_apart.presets", "helper")


@pytest.mark.parametrize(
    ("changed", "text", "same"),
    [
        ("helper.py", "from deep.further import K\nX = 1\n", False),
        ("deep/further.py", "K = 8\n", False),
        ("unrelated.py", "K = 8\n", True),
        ("helper.py", "from deep.further import K  # a comment\n", True),
        ("mine.py", LONE + "\nX = 1\n", False),
    ],
)
def test_a_lone_file_s_digest_covers_what_it_imports_of_its_folder(
    tmp_path: Path, changed: str, text: str, same: bool
) -> None:
    files = {"mine.py": LONE, "helper.py": "from deep.further import K\n", "deep/further.py": "K = 9\n"}
    for name, content in {**files, "unrelated.py": "K = 9\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    before = source_digest(resolve(f"{tmp_path}/mine.py:Mine"))
    (tmp_path / changed).write_text(text)
    assert (source_digest(resolve(f"{tmp_path}/mine.py:Mine")) == before) is same


def test_a_class_that_is_made_or_based_elsewhere_is_known_by_all_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, mine = tmp_path / "elsewhere" / "base_elsewhere.py", tmp_path / "here" / "mine.py"
    for file, text in ((base, STRATEGY.replace("from presets_apart.presets import K\n", "")), (mine, "")):
        file.parent.mkdir()
        file.write_text(text)
    monkeypatch.syspath_prepend(str(base.parent))
    digests = []
    for text in ("", "class Mine(Base): ...\n", "class Mine(Base): ...\n\nMine.k = 3\n", "Mine = Base\n"):
        mine.write_text(f"from base_elsewhere import Mine as Base\n{text or 'Mine = Base; X = 1'}\n")
        digests.append(source_digest(resolve(f"{mine}:Mine")))
    base.write_text(base.read_text() + "\nX = 1\n")
    digests.append(source_digest(resolve(f"{mine}:Mine")))
    assert len(set(digests)) == len(digests)


def test_what_is_installed_beside_a_module_is_not_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("import large\nfrom small import x\n")
    for name in ("large.py", "small.py"):
        (tmp_path / name).write_text("x = 1\n")
    assert len(with_imports(tmp_path / "mine.py")) == 3
    monkeypatch.setattr("assignbench.sources.LIBRARIES", {tmp_path})
    assert with_imports(tmp_path / "mine.py") == {tmp_path / "mine.py"}
