"""Whose code runs: a strategy that a document names is imported only if this user knows it.

A run's record, and a file of imported weights, say which strategy they are of; a stranger's may say any file or
module. Known are the strategies of installed distributions, and files that this user has named on a command line:
digests of those are kept in ``$XDG_STATE_HOME/assignbench/trusted``, else ``~/.local/state/…``, one a line. A digest
is of every byte of the file and of all that it imports of its own folder or package, as they are now; nothing runs to
find it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path

from assignbench.errors import AssignbenchWarning, UsageError
from assignbench.importing import in_words
from assignbench.paths import state_folder
from assignbench.plugins import Strategy, known_strategies, resolve, strategies_in
from assignbench.sources import home_of, with_imports

FILE = "trusted"
_NAMED: set[str] = set()  # digests that this process's own command line named, also where no file can keep them


def require_known(text: str, where: str, *, trust: bool = False) -> Strategy:
    """The strategy that a document names, after it is known that its code may run.

    Args:
        text: as the document names it; the strategies among its options are looked at, too.
        where: the document, named in errors.
        trust: the user vouches for whatever it names.

    Raises:
        UsageError: the user does not know the code; or there is no such strategy. None of it was run.
    """

    def refuse_unknown(strategy: Strategy) -> None:
        if trust or _installed(strategy):
            return
        digest = _digest(strategy)
        if digest is None or digest not in _NAMED | _kept():
            raise UsageError(
                f"{where} names {strategy.target}, which is not run: you have not trained with this code, or it has "
                "changed since\nread it, then repeat the command with --trust"
            )

    return _each(text, refuse_unknown)


def remember(text: str) -> None:
    """Keep that the user has named a strategy on a command line: its code may run where a document names it later.

    Raises:
        UsageError: there is no such strategy.

    Warns:
        AssignbenchWarning: it cannot be kept.
    """
    _each(text, _remember)


def _each(text: str, act: Callable[[Strategy], None]) -> Strategy:
    """Do something about a strategy before it is imported, then about those among its options."""
    strategy = resolve(text)
    act(strategy)
    for inner in strategies_in(strategy.load(), strategy.options).values():
        _each(inner, act)
    return strategy


def _remember(strategy: Strategy) -> None:
    digest = None if _installed(strategy) else _digest(strategy)
    if digest is None or digest in _NAMED | _kept():
        return
    _NAMED.add(digest)
    file = state_folder() / FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o600)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{digest} {strategy.target!a}\n")  # one write: of several processes none cuts another's
    except OSError as error:
        said = (
            f"{file} cannot be written ({error.strerror or error}): commands on this run's folder will ask for "
            f"--trust, to run {strategy.name}; XDG_STATE_HOME names another place"
        )
        warnings.warn(said, AssignbenchWarning, stacklevel=2)


def _installed(strategy: Strategy) -> bool:
    """Whether a distribution that the user has installed says that this is a strategy of its."""
    return strategy.target in {known.target for known in known_strategies()}


def _kept() -> set[str]:
    try:
        lines = (state_folder() / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # nothing was kept
        return set()
    return {line.partition(" ")[0] for line in lines}


def _digest(strategy: Strategy) -> str | None:
    """sha256 of the files of a strategy, byte by byte; None: it has none that could be read.

    `plugins.source_digest` leaves out what changes no result, as docstrings, and imports the class: neither will do.
    """
    where = strategy.target.rpartition(":")[0]
    try:
        file = Path(where) if where.endswith(".py") else _file_of(where)
        if file is None:
            return None
        home = home_of(file).folder
        files = [(one.relative_to(home).as_posix(), one.read_bytes()) for one in sorted(with_imports(file))]
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{strategy.name}: {in_words(error)}") from error
    except OSError:
        return None
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _file_of(module: str) -> Path | None:
    """The source of a module, found without importing it or the packages around it; None: there is none."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    name = top
    for part in inner:
        name = f"{name}.{part}"
        spec = None if spec is None else PathFinder.find_spec(name, spec.submodule_search_locations or [])
    found = spec.origin if spec is not None else None
    return Path(found).resolve() if found and found.endswith(".py") else None
