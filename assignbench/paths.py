"""Where the files are that travel with the code."""

from pathlib import Path

from assignbench.errors import SystemProblem


def configs_folder() -> Path:
    """The folder with ``datasets/`` and ``recipes/``: beside the package in a checkout, inside it in a wheel.

    Raises:
        SystemProblem: when neither is there, which only a damaged installation shows.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "datasets").is_dir():
            return folder
    raise SystemProblem(f"no configs folder in {package} or beside it; install assignbench again")
