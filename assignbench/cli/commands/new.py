"""``assignbench new``: a strategy that works, to be changed into one's own."""

import builtins
import importlib.util
import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

import assignbench
from assignbench.errors import UsageError
from assignbench.paths import documentation

EXAMPLES = (
    r"""[bold]Examples[/bold]

assignbench new my_rule   [dim]# my_rule.py[/dim]

assignbench new my_rule --package   [dim]# my_rule/, for pip[/dim]
"""
    f"\n\nWhat there is to write a rule with:\n\n{documentation('extend/index')}"
)

TEMPLATE = Path(assignbench.__file__).resolve().parent / "template"  # a package like those that this command writes
STRATEGY = "my_strategy.py"
FILES = (STRATEGY, "tests/test_my_strategy.py", "pyproject.toml", ".github/workflows/tests.yml")
NAMES = ("my_strategy", "MyStrategy")  # of its strategy and of the class


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the strategy and its file: my_rule.")],
    package: Annotated[
        bool, typer.Option("--package", help="Write a folder for pip: entry point, a test, a CI workflow.")
    ] = False,
) -> None:
    """Write a strategy of your own to start from, NAME.py.

    It is a small true strategy, which keeps the laws as it is.
    """
    from assignbench.cli.output import show
    from assignbench.files import write_text_atomic, written_folder

    target = Path(name if package else f"{name}.py")
    cls = class_name(name)
    refuse_taken(name, cls, target)
    if package:
        with written_folder(target) as folder:
            for file in FILES:
                write_text_atomic(folder / renamed(file, name, cls), renamed(read(file), name, cls))
    else:
        write_text_atomic(target, renamed(read(STRATEGY), name, cls))
    show(next_steps(name, cls, package=package))


def next_steps(name: str, cls: str, *, package: bool) -> str:
    """What was written, and what to do with it."""
    strategy, named = (name, name) if package else (f"{name}.py", f"{name}.py:{cls}")
    steps = {
        f"assignbench check {strategy}": "try the laws that every strategy must keep",
        f"pytest --assignbench {strategy}": "the same: a test for each law",
        f"assignbench run --assigner {named},atss": "train it beside another one",
    }
    if package:
        steps = {f"cd {name} && pip install -e '.[dev]'": "make its name known to assignbench", **steps}
    width = max(map(len, steps)) + 3
    lines = [f"  {command:<{width}}{meaning}" for command, meaning in steps.items()]
    what = f"{name}/, with a strategy that works in {name}.py" if package else f"{name}.py, a strategy that works"
    place = "Put your rule in the place of its own" + (f", and its example into {name}/tests" if package else "")
    text = f"wrote {what}. {place}; then"
    return "\n".join((text, "", *lines, ""))


def class_name(name: str) -> str:
    """``my_rule`` → ``MyRule``.

    Raises:
        UsageError: a Python file or class cannot have such a name.
    """
    cls = "".join(part.capitalize() for part in name.split("_"))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or keyword.iskeyword(cls):
        raise UsageError(
            f"{name!r} cannot be the name: write a–z, 0–9 and _, not a digit first, and no keyword of Python, "
            "as in my_rule"
        )
    return cls


def refuse_taken(name: str, cls: str, target: Path) -> None:
    """Refuse what is there already: a file, a strategy, or anything that would be hidden by one of this name.

    Raises:
        UsageError: says which.
    """
    from assignbench.plugins import known_strategies

    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} is there already; take another name")
    if taken := [known for known in known_strategies() if known.name == name]:
        raise UsageError(f"{name} is a strategy of {taken[0].origin} already; take another name")
    if hasattr(builtins, name) or importlib.util.find_spec(name) is not None:
        raise UsageError(f"{name} is something else in Python already, which a file of that name would hide")
    if re.search(rf"\b{cls}\b", read(STRATEGY)):
        raise UsageError(f"{cls} is a word of assignbench, which a class of that name would hide; take another name")


def read(file: str) -> str:
    """A file of the template."""
    return (TEMPLATE / file).read_text(encoding="utf-8")


def renamed(text: str, name: str, cls: str) -> str:
    """The template's text with other names."""
    for old, new in zip(NAMES, (name, cls), strict=True):
        text = text.replace(old, new)
    return text
