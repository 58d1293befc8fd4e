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


def published_results() -> Path:
    """The table of published numbers, which a wheel has inside the package.

    Raises:
        SystemProblem: as `configs_folder`.
    """
    package = Path(__file__).resolve().parent
    for folder in (package, package.parent):
        if (file := folder / "reports" / "published_results.csv").is_file():
            return file
    raise SystemProblem(f"no reports/published_results.csv in {package} or beside it; install assignbench again")
