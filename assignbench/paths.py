"""Where the files are that travel with the code, those that a user keeps, and the documentation."""

import os
from collections.abc import Sequence
from pathlib import Path

from assignbench.errors import SystemProblem, UsageError
from assignbench.suggest import did_you_mean

HOME = "https://github.com/assignbench/assignbench"  # the project's, as pyproject.toml has it


def documentation(page: str) -> str:
    """The address of a page of the documentation, which no installation holds.

    Args:
        page: its name in ``docs/``, without the ending.
    """
    return f"{HOME}/blob/main/docs/{page}.md"


def configs_folder() -> Path:
    """The folder with ``datasets/`` and ``recipes/``: beside the package in a checkout, inside it in a wheel.

    Raises:
        SystemProblem: when neither is there, which only a damaged installation shows.
    """
    return _beside_or_inside("configs", "configs", "datasets")


def config_file(what: str, folder: Path, known: Sequence[str], name_or_path: str) -> Path:
    """The YAML file that a user names: one that is shipped, by its name, or one of their own, by its path.

    Args:
        what: for messages: "recipe".
        folder: of the shipped ones.
        known: their names.
        name_or_path: as the user wrote it.

    Raises:
        UsageError: it is neither.
    """
    if name_or_path in known:
        return folder / f"{name_or_path}.yaml"
    path = Path(name_or_path).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        return path.resolve()
    raise UsageError(
        f"no {what} is called {name_or_path!r}{did_you_mean(name_or_path, known)}\n"
        f"known: {', '.join(known)}; or write a file that ends in .yaml"
    )


def names_a_path(text: str) -> bool:
    """Whether a file can have such a name: no system takes one with a zero in it, or halves of letters."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def published_results() -> Path:
    """The table of published numbers, which a wheel has inside the package.

    Raises:
        SystemProblem: as `configs_folder`.
    """
    return _beside_or_inside("reports", "reports", "published_results.csv") / "published_results.csv"


def golden_vectors() -> Path:
    """The folder with a small part of the golden vectors, which a wheel has inside the package.

    Raises:
        SystemProblem: as `configs_folder`.
    """
    return _beside_or_inside("tests/golden/vectors", "golden/part", "losses")


def _beside_or_inside(beside: str, inside: str, holds: str) -> Path:
    """A folder that lies beside the package in a checkout, and inside it in a wheel.

    Args:
        beside: its path in a checkout.
        inside: its path in the package.
        holds: a folder in it, or a file with an ending, which tells that it is the one.

    Raises:
        SystemProblem: neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / inside, package.parent / beside):
        there = folder / holds
        if there.is_file() if there.suffix else there.is_dir():
            return folder
    raise SystemProblem(f"no {inside} in {package}, nor {beside} beside it; install assignbench again")


def state_folder() -> Path:
    """Where it is kept what a user has decided: ``$XDG_STATE_HOME/assignbench``, else ``~/.local/state/…``."""
    own = os.path.expanduser("~/.local/state")  # noqa: PTH111  # never fails
    return Path(os.environ.get("XDG_STATE_HOME") or own) / "assignbench"
