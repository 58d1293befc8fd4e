"""Importing other people's code: whatever goes wrong in it becomes a sentence that names its line."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from assignbench.errors import AssignbenchError, UsageError


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
    """Import a file under a name of its own: two files of one name are two modules, as is a changed one.

    Args:
        path: absolute.
        who: what it is imported for, named in errors.

    Raises:
        UsageError: the file cannot be read, or raises while it is imported.
    """
    try:
        return _import_file(path)
    except (Exception, SystemExit) as error:  # a stranger's file may do anything
        raise _explained(who, error, str(path)) from error


def _import_file(path: Path) -> ModuleType:
    unique = hashlib.sha256(str(path).encode() + b"\0" + path.read_bytes()).hexdigest()[:16]
    name = f"assignbench_file_{unique}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _explained(who: str, error: BaseException, file: str | None = None) -> UsageError:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    reason = text.strip().partition("\n")[0] or "no message"
    return UsageError(f"{who} cannot be imported\n{type(error).__name__}: {reason} ({place(error, file)})")


def in_words(error: BaseException) -> str:
    """What to say of an error: ours explain themselves, a stranger's is named with its place."""
    if isinstance(error, AssignbenchError):
        return str(error)
    return f"{type(error).__name__}: {error} ({place(error)})"


def written_at(function: Callable[..., object]) -> tuple[str, int]:
    """The file and the line in which a function begins, whatever decorates it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


def place(error: BaseException, file: str | None = None) -> str:
    """``file:line``: the error's own, else the last one in ``file``, else the last one outside of here."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    machinery = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename not in machinery
    ]
    frames = [frame for frame in frames if frame.filename == file] or frames
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else file or "no line"
