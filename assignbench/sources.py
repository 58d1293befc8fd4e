"""Python files as text: which of them a file imports, and a digest of what they mean."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def with_imports(start: Path, package: Path) -> set[Path]:
    """A file of a package and all files of it that it imports, directly or through others.

    Imports inside functions count, and so does every ``__init__.py`` that an import runs. A module that is imported by
    a name that is put together while the program runs is not found.

    Args:
        start: the file.
        package: the outermost folder of its package: ``…/assignbench``.

    Raises:
        OSError, SyntaxError: a file cannot be read.
    """
    found: set[Path] = set()
    waiting = {start}
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting.update(set(_imports(file, package)) - found)
    return found


def sources_digest(files: Iterable[Path]) -> str:
    """sha256 of what Python files mean: comments, layout and docstrings do not count, every number does.

    Raises:
        OSError, SyntaxError: a file cannot be read.
    """
    meanings = [_meaning(ast.parse(file.read_bytes())) for file in files]
    return hashlib.sha256(json.dumps(meanings).encode()).hexdigest()


def _imports(file: Path, package: Path) -> Iterator[Path]:
    """Files of the package that a file's own import statements run."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _run_by(alias.name.split("."), package)
        elif isinstance(node, ast.ImportFrom):
            where = [] if node.module is None else node.module.split(".")
            if node.level:
                where = [*file.parents[node.level - 1].relative_to(package.parent).parts, *where]
            for alias in node.names:  # each may be a module or a name in one
                yield from _run_by([*where, alias.name], package)


def _run_by(names: list[str], package: Path) -> Iterator[Path]:
    """Files of the package that importing ``names`` runs: those of the packages on the way, and its own."""
    if names[0] != package.name:
        return
    for count in range(1, len(names) + 1):
        place = package.joinpath(*names[1:count])
        yield from (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())


def _meaning(node: Any) -> Any:
    """A syntax tree as JSON, the same for every Python version as far as the language allows."""
    if isinstance(node, list):
        return [_meaning(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, []) and name != "kind"}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return [type(node).__name__, {name: _meaning(value) for name, value in fields.items()}]
