"""Importing other people's code: whatever goes wrong in it becomes a sentence that names its line."""

import builtins
import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

from assignbench.errors import AssignbenchError, UsageError
from assignbench.plain_text import one_line
from assignbench.sources import Home, home_of, with_imports

PREFIX = "assignbench_file_"  # of the packages that `import_file` makes; each is a folder, seen from one file
_HOMES: dict[str, Home] = {}  # by the name of such a package


def import_named(name: str, who: str) -> ModuleType:
    """Import an installed module.

    Args:
        name: dotted name.
        who: what it is imported for, named in errors.

    Raises:
        UsageError: there is no such module, or it raises while it is imported.
    """
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a stranger's module may do anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            message = f"{who}: there is no module {missing!r}; install it, or write path/file.py:Class"
            raise UsageError(message) from error
        raise _explained(who, error) from error


def import_file(path: Path, who: str) -> ModuleType:
    """Import a file, and what it imports of its own folder or package (`home_of`), under names of their own.

    So two files of one name are two modules, two folders do not mix, and what has changed is imported anew.

    Args:
        path: absolute.
        who: what it is imported for, named in errors.

    Raises:
        UsageError: a file cannot be read, or raises while it is imported.
    """
    files = (path,)
    try:
        files = (path, *sorted(with_imports(path) - {path}))
        return _import_file(path, files)
    except (Exception, SystemExit) as error:  # a stranger's file may do anything
        raise _explained(who, error, files) from error


def _import_file(path: Path, files: Collection[Path]) -> ModuleType:
    home = home_of(path)
    content = repr([(str(file), file.read_bytes()) for file in files])
    package = PREFIX + hashlib.sha256(content.encode()).hexdigest()[:16]
    if package not in sys.modules:
        sys.modules[package] = folder = ModuleType(package)
        folder.__path__ = [str(home.folder)]
        _HOMES[package] = home
    *packages, stem = path.relative_to(home.folder).with_suffix("").parts
    try:
        parent = importlib.import_module(".".join((package, *packages)))
        return parent if stem == "__init__" else _module(f"{parent.__name__}.{stem.replace('.', '_')}", path)
    except BaseException:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
            del sys.modules[name]
        raise


def _module(name: str, path: Path) -> ModuleType:
    """A file as the module of a name, whatever the file is called."""
    if name in sys.modules:
        return sys.modules[name]
    loader = _Loader(name, str(path))
    module = module_from_spec(cast(ModuleSpec, spec_from_file_location(name, path, loader=loader)))
    sys.modules[name] = module  # before it runs: dataclasses look their module up there
    loader.exec_module(module)
    return module


class _Loader(SourceFileLoader):
    """Runs what a file says now, and lets it import what is its own before what is installed."""

    def get_code(self, fullname: str) -> CodeType:
        """Not from a cache: that may be older than an edit within the same second."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": partial(_import, package)}
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules below the packages that `import_file` makes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith(PREFIX):
            return None
        return FileFinder(path[0], (_Loader, [".py"])).find_spec(fullname)


sys.meta_path.insert(0, _Finder())


def _import(
    package: str,
    name: str,
    scope: Mapping[str, Any] | None = None,
    local: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """The ``import`` statement of a file in one of these packages."""
    if level == 0 and _HOMES[package].own(name, fromlist or ()):
        scope, level = {"__package__": package}, 1
    return builtins.__import__(name, scope, local, fromlist or (), level)


def _explained(who: str, error: BaseException, files: Collection[Path] = ()) -> UsageError:
    text = re.sub(rf"{PREFIX}\w+\.", "", error.msg if isinstance(error, SyntaxError) else str(error))
    reason = text.strip().partition("\n")[0] or "no message"
    return UsageError(f"{who} cannot be imported\n{type(error).__name__}: {reason} ({place(error, files)})")


def in_words(error: BaseException) -> str:
    """What to say of an error: ours explain themselves, a stranger's is named with its place."""
    if isinstance(error, AssignbenchError):
        return str(error)
    try:
        text = str(error)
    except Exception as another:  # a stranger's error may be anything
        text = f"its text raises {type(another).__name__}"
    return one_line(f"{type(error).__name__}: {text} ({place(error)})")


def written_at(function: Callable[..., object]) -> tuple[str, int]:
    """The file and the line in which a function begins, whatever decorates it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


def _is_machinery(file: str) -> bool:
    """Whether a file is ours or torch's."""
    torch = sys.modules.get("torch")
    ours = [Path(__file__).parent, *([Path(torch.__file__).parent] if torch is not None and torch.__file__ else [])]
    return any(Path(file).is_relative_to(folder) for folder in ours)


def place(error: BaseException, files: Collection[Path] = ()) -> str:
    """``file:line`` where an error comes from.

    The last place in ``files``, if some are given; else the last one in a stranger's code, since an error that we or
    torch raise there is theirs to mend; else the last one.
    """
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    machinery = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename not in machinery
    ]
    if files:
        frames = [frame for frame in frames if Path(frame.filename) in files]
    else:
        frames = [frame for frame in frames if not _is_machinery(frame.filename)] or frames
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(next(iter(files), "no line"))
