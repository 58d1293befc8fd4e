"""What commands print: text as it is, tables by rich."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDE = 160  # columns where there is no terminal to measure: a pipe or a file


def console(file: TextIO | None = None) -> "Console":
    """A file, or standard output as wide as the terminal; text is text, also where it looks like rich's markup."""
    from rich.console import Console

    width = None if file is None and sys.stdout.isatty() else WIDE
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def show(content: "RenderableType") -> None:
    """Print on stdout; text goes out unchanged, neither wrapped nor read as markup."""
    if isinstance(content, str):
        sys.stdout.write(content)
    else:
        console().print(content)


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
        grid.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def progress(what: str) -> None:
    """What is being done, on a terminal; the line is overwritten by the next."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{what:<100}")
        sys.stderr.flush()


def note(line: str) -> None:
    """One line on stderr, which stays; on a terminal it takes the place of what `progress` wrote."""
    sys.stderr.write(f"\r{line:<100}\n" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()
