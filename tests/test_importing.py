"""A plug-in of several files: what lies beside it is imported as its own, and of two folders nothing mixes."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from assignbench.errors import UsageError
from assignbench.importing import import_file
from assignbench.plugins import resolve

STRATEGY = """

class S(Assigner):
    head = Head()
    worth = WORTH

    def forward(self, priors, targets):
        raise NotImplementedError
"""
CORE = "from assignbench.core import Assigner, Head\n"


@pytest.fixture
def lay(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    def lay(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return lay


def worth(file: Path) -> object:
    return resolve(f"{file}:S").load().worth  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("imports", "beside"),
    [
        ("from helper import WORTH", {"helper.py": "WORTH = 3"}),
        ("from .helper import WORTH", {"helper.py": "WORTH = 3"}),
        ("import helper\nWORTH = helper.WORTH", {"helper.py": "WORTH = 3"}),
        ("import deep.helper\nWORTH = deep.helper.WORTH", {"deep/helper.py": "WORTH = 3"}),
        ("import deep.helper as h\nWORTH = h.WORTH", {"deep/__init__.py": "", "deep/helper.py": "WORTH = 3"}),
        ("from deep import helper\nWORTH = helper.WORTH", {"deep/helper.py": "WORTH = 3"}),
        ("from helper import WORTH", {"helper.py": "from other import WORTH", "other.py": "WORTH = 3"}),
        ("from json import WORTH", {"json.py": "WORTH = 3"}),  # as for any script
        ("def late():\n    from helper import WORTH\n    return WORTH\nWORTH = late()", {"helper.py": "WORTH = 3"}),
    ],
)
def test_a_file_imports_what_lies_beside_it(lay: Callable[..., Path], imports: str, beside: Mapping[str, str]) -> None:
    before, path = set(sys.modules), list(sys.path)
    folder = lay({"mine.py": f"{CORE}{imports}\n{STRATEGY}", **beside})
    assert worth(folder / "mine.py") == 3
    assert not {"helper", "deep", "other"} & (set(sys.modules) - before)
    assert sys.path == path


def test_import_within_a_function_that_is_called_later(lay: Callable[..., Path]) -> None:
    later = "\n    @staticmethod\n    def late():\n        import helper\n        return helper.K\n"
    folder = lay({"mine.py": f"{CORE}WORTH = 0{STRATEGY}{later}", "helper.py": "K = 5"})
    assert resolve(f"{folder / 'mine.py'}:S").load().late() == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "imports"),
    [
        ("pack/mine.py", "from .helper import WORTH"),
        ("pack/mine.py", "from . import WORTH"),
        ("pack/mine.py", "from pack.helper import WORTH"),
        ("pack/deep/mine.py", "from ..helper import WORTH"),
        ("pack/deep/mine.py", "from pack import WORTH"),
        ("pack/mine.py", "from common import WORTH"),
    ],
)
def test_a_file_of_a_package(lay: Callable[..., Path], name: str, imports: str) -> None:
    files = {
        "pack/__init__.py": "from .helper import WORTH",
        "pack/deep/__init__.py": "",
        "pack/helper.py": "WORTH = 4",
        "common.py": "WORTH = 4",
    }
    folder = lay({**files, name: f"{CORE}{imports}\n{STRATEGY}"})
    assert worth(folder / name) == 4
    assert "pack" not in sys.modules


def test_a_package_may_be_named_by_its_init_and_a_file_may_have_any_name(lay: Callable[..., Path]) -> None:
    text = f"{CORE}from .helper import WORTH\n{STRATEGY}"
    folder = lay({"pack/__init__.py": text, "pack/helper.py": "WORTH = 1", "v2.0/my-own.v2.py": text})
    lay({"v2.0/helper.py": "WORTH = 2", "v2.0/__init__.py": ""})
    assert worth(folder / "pack" / "__init__.py") == 1
    assert worth(folder / "v2.0" / "my-own.v2.py") == 2


def test_two_folders_do_not_mix(lay: Callable[..., Path]) -> None:
    text = f"{CORE}from helper import WORTH\n{STRATEGY}"
    folder = lay({"v1/mine.py": text, "v1/helper.py": "WORTH = 1", "v2/mine.py": text, "v2/helper.py": "WORTH = 2"})
    first, second = (resolve(f"{folder / name / 'mine.py'}:S").load() for name in ("v1", "v2"))
    assert (first.worth, second.worth) == (1, 2)  # type: ignore[attr-defined]
    assert first.__module__ != second.__module__
    assert {first.__module__, second.__module__} <= set(sys.modules)


def test_an_edited_helper_is_imported_anew(lay: Callable[..., Path]) -> None:
    folder = lay({"mine.py": f"{CORE}from helper import WORTH\n{STRATEGY}", "helper.py": "WORTH = 1"})
    assert worth(folder / "mine.py") == 1
    (folder / "helper.py").write_text("WORTH = 2")  # as long as before, within the same second
    assert worth(folder / "mine.py") == 2


def test_a_checkout_beside_the_file_is_not_taken_for_the_assignbench_that_runs(lay: Callable[..., Path]) -> None:
    copy = {"assignbench/__init__.py": "", "assignbench/core/__init__.py": "class Assigner: ...\nclass Head: ..."}
    folder = lay({"mine.py": f"{CORE}WORTH = 1\n{STRATEGY}", **copy})
    assert worth(folder / "mine.py") == 1


def test_an_installed_package_goes_before_a_folder_without_the_module(lay: Callable[..., Path]) -> None:
    folder = lay({"mine.py": f"{CORE}import torch.nn, yaml\nWORTH = 1\n{STRATEGY}", "torch/x.pt": "", "yaml/a": ""})
    assert worth(folder / "mine.py") == 1


@pytest.mark.parametrize(
    ("imports", "helper", "said"),
    [
        ("import helper", "x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero ({helper}:2)"),
        ("import helper", "import json\n\njson.loads('{{')\n", "({helper}:3)"),
        ("import helper", "\ndef f(:\n", "SyntaxError: invalid syntax ({helper}:2)"),
        ("import helper", "import sys\nsys.exit(3)\n", "SystemExit: 3 ({helper}:2)"),
        (
            "\nfrom helper import y",
            "x = 1\n",
            "ImportError: cannot import name 'y' from 'helper' ({helper}) ({mine}:2)",
        ),
        ("\nfrom .helpr import y", "", "ModuleNotFoundError: No module named 'helpr' ({mine}:2)"),
    ],
)
def test_what_goes_wrong_beside_is_said_with_its_line(
    lay: Callable[..., Path], imports: str, helper: str, said: str
) -> None:
    folder = lay({"mine.py": imports + "\n", "helper.py": helper.replace("{{", "{")})
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(UsageError) as error:
            import_file(folder / "mine.py", "mine.py:S")
        wanted = said.format(helper=folder / "helper.py", mine=folder / "mine.py")
        assert str(error.value).startswith("mine.py:S cannot be imported\n")
        assert wanted in str(error.value)
    assert not [name for name in set(sys.modules) - before if "helper" in name or "mine" in name]
