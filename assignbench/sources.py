"""Python files as text: which files of their own they import, and a digest of what they mean."""

from __future__ import annotations

import ast
import hashlib
import site
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HOST = __name__.partition(".")[0]
LIBRARIES = {
    Path(folder).resolve()
    for folder in (*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib"))
}
Import = ast.Import | ast.ImportFrom
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
IMPLIED = {"ctx", "kind"}  # whether a name is read or written follows from its place; u"" is ""


@dataclass(frozen=True)
class Home:
    """The folder that a file lies in, or that its outermost package lies in: modules of the folder are its own."""

    folder: Path
    only: str | None = None  # the one package whose modules are; None: all but assignbench itself

    def run_by(self, names: Sequence[str]) -> Iterator[Path]:
        """Files of the folder that importing ``names`` runs: those of the packages on the way, and its own."""
        if names[0] == HOST if self.only is None else names[0] != self.only:
            return
        for count in range(1, len(names) + 1):
            place = self.folder.joinpath(*names[:count])
            files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
            yield from [file for file in files if file.is_file()][:1]

    def own(self, name: str, entries: Iterable[str] = ()) -> bool:
        """Whether ``import name``, or ``from name import entries``, runs a file of the folder."""
        names = name.split(".")
        return any(any(self.run_by(each)) for each in (names, *([*names, entry] for entry in entries)))


def home_of(file: Path) -> Home:
    """Where a file's own modules lie. Of what is installed, or assignbench itself, that is its package alone."""
    top = file
    for package in file.parents:
        if not (package.name.isidentifier() and (package / "__init__.py").is_file()):
            break
        top = package
    alone = top.parent in LIBRARIES or top.name == HOST
    return Home(top.parent, top.stem if alone else None)


def with_imports(start: Path, but: Collection[Path] = ()) -> set[Path]:
    """A file and all files of its own (`home_of`) that it imports, directly or through others.

    Imports inside functions count, and so does every ``__init__.py`` that an import runs. A module that is imported by
    a name that is put together while the program runs is not found.

    Args:
        start: the file, absolute.
        but: files that are left out, with what only they import.

    Raises:
        OSError, SyntaxError, ValueError: a file cannot be read.
    """
    home = home_of(start)
    found: set[Path] = set()
    left_out = set(but)
    waiting = {start, *home.run_by(start.relative_to(home.folder).parent.parts or (start.stem,))}
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting.update(set(_imports(file, home)) - found - left_out)
    return found


def sources_digest(files: Iterable[Path]) -> str:
    """sha256 of what Python files mean: comments, layout and docstrings do not count, every number does.

    Raises:
        OSError, SyntaxError, ValueError: a file cannot be read.
    """
    meanings = (_read(file.read_bytes(), str(file))[1] for file in files)
    return hashlib.sha256(f"[{', '.join(meanings)}]".encode()).hexdigest()


@cache
def _read(source: bytes, name: str) -> tuple[tuple[Import, ...], str]:
    """A file's import statements, and what it means as text. Files are read again and again, and parsed once."""
    imports: list[Import] = []
    meaning = _meaning(ast.parse(source, name), imports)
    return tuple(imports), meaning


def _imports(file: Path, home: Home) -> Iterator[Path]:
    """Files of the home that a file's own import statements run."""
    for node in _read(file.read_bytes(), str(file))[0]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from home.run_by(alias.name.split("."))
        else:
            where = [] if node.module is None else node.module.split(".")
            if node.level:
                folder = file.parents[min(node.level, len(file.parents)) - 1]
                if not folder.is_relative_to(home.folder):
                    continue  # beyond the outermost package: it cannot be imported
                where = [*folder.relative_to(home.folder).parts, *where]
            for alias in node.names:  # each may be a module or a name in one
                yield from home.run_by([*where, alias.name])


def _meaning(node: Any, imports: list[Import]) -> str:
    """A syntax tree as text, the same for every Python version as far as the language allows.

    One pass, since every command that names a run waits for it: it also appends the import statements to ``imports``.
    """
    if isinstance(node, list):
        return f"[{','.join([_meaning(part, imports) for part in node])}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, Import):
        imports.append(node)
    fields = {name: getattr(node, name, None) for name in node._fields if name not in IMPLIED}
    if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    parts = [f"{name}={_meaning(value, imports)}" for name, value in fields.items() if value not in (None, [])]
    return f"{type(node).__name__}({','.join(parts)})"
