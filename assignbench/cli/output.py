"""What commands print: text as it is, tables by rich."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from assignbench.plain_text import lines, one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDE = 160  # columns where there is no terminal to measure: a pipe or a file


def console(file: TextIO | None = None) -> "Console":
    """A file, or standard output as wide as the terminal; text is text, also where it looks like rich's markup."""
    from assignbench.cli.screen import Screen

    width = None if file is None and sys.stdout.isatty() else WIDE
    return Screen(file=file, width=width)


def show(content: "RenderableType") -> None:
    """Print on stdout; text goes out neither wrapped nor read as markup, and no terminal obeys it."""
    if isinstance(content, str):
        sys.stdout.write(lines(content))
    else:
        console().print(content)


def say(*each: str) -> None:
    """Print lines on stdout, each of which stays one line whatever it holds."""
    show("".join(f"{one_line(line)}\n" for line in each))


def as_text(content: "RenderableType") -> str:
    """What `show` would print into a pipe."""
    from io import StringIO

    text = StringIO()
    console(text).print(content)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = ()) -> "RenderableType":
    """A table whose cells are plain text; the columns named in ``numbers`` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    numbers = set(numbers)
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        grid.add_column(one_line(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(one_line(cell)) for cell in row))
    return grid


def progress(what: str) -> None:
    """What is being done, on a terminal; the line is overwritten by the next."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{one_line(what):<100}")
        sys.stderr.flush()


def note(line: str) -> None:
    """One line on stderr, which stays; on a terminal it takes the place of what `progress` wrote."""
    line = one_line(line)
    sys.stderr.write(f"\r{line:<100}\n" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()
