"""What commands print: text as it is, tables by rich; how it goes out never decides what becomes of a run."""

import codecs
import contextlib
import errno
import io
import locale
import os
import select
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from assignbench.files import is_stream
from assignbench.plain_text import json_text, lines, one_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import Console, RenderableType

WIDE = 1_000_000  # columns where there is no terminal: in a pipe or a file a row of a table is one line


_ESCAPED = "assignbench.escaped"
_documents: ContextVar[TextIO | None] = ContextVar("_documents", default=None)  # where `show_json` prints


@contextlib.contextmanager
def lasting_streams(*, raises: bool) -> Iterator[None]:
    r"""A block in which printing works whatever standard output and standard error are: closed, full, left by a reader.

    What an encoding lacks goes out as ``\uXXXX``. What cannot go out at all is lost; in the end standard error says so.

    Args:
        raises: whether the first loss of standard output is raised, for a command that does nothing but print; it ends
            there.

    Raises:
        OSError: of "standard output", where that is asked for, when it is written to or flushed in the block.
    """
    codecs.register_error(_ESCAPED, _as_json)
    for descriptor in range(3):  # a closed one would be that of the next file, into which libraries would print
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1, raises), _lasting(sys.stderr, 2, raises=False)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        lost = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
        if isinstance(lost, _Lasting) and lost.lost is not None and not raises:
            sys.stderr.write(f"standard output could not be written: {lost.lost.strerror}\n")
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Lasting(io.FileIO):
    """An open descriptor that is written to as long as that is possible; afterwards what is written is lost."""

    def __init__(self, descriptor: int, lost: OSError | None, raises: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lost, self.raises = lost, raises

    def write(self, data: "ReadableBuffer", /) -> int:
        """As a file's; raises once at most."""
        if self.lost is None:
            try:
                while (count := super().write(data)) is None:  # a pipe that does not block, and is full
                    select.select((), (self,), ())
            except OSError as error:
                self.lost = error
            else:
                return count
        if self.raises:
            self.raises = False
            raise OSError(self.lost.errno, self.lost.strerror, "standard output")
        return memoryview(data).nbytes


def _lasting(stream: TextIO | None, descriptor: int, raises: bool) -> TextIO:
    """A standard stream; one that is none of the system's, as in a notebook, stays what it is."""
    if stream is None:
        raw = _Lasting(descriptor, OSError(errno.EBADF, "it is closed"), raises)
        return io.TextIOWrapper(io.BufferedWriter(raw), locale.getpreferredencoding(False), _ESCAPED)
    try:
        raw = _Lasting(stream.fileno(), None, raises)
    except (AttributeError, OSError, ValueError):
        return stream
    lines, direct = getattr(stream, "line_buffering", True), getattr(stream, "write_through", False)
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, stream.encoding, _ESCAPED, line_buffering=lines, write_through=direct)


def _as_json(error: UnicodeError) -> tuple[str, int]:
    r"""As JSON escapes a character: ``\u03bc``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


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


@contextlib.contextmanager
def document_alone() -> Iterator[None]:
    """A block in which standard output gets what `show_json` prints, and standard error whatever else is printed."""
    kept = _documents.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _documents.reset(kept)


def show_json(content: Mapping[str, Any]) -> None:
    """Print the one document of a command with ``--json``.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have.
    """
    stream = _documents.get() or sys.stdout
    stream.write(json_text(content))
    stream.flush()


def exactly(text: str) -> None:
    """Print text for another program: every byte as it is, whatever the terminal and the encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(text))
    sys.stdout.buffer.flush()


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


def wrote(output: Path, more: str = "") -> None:
    """Say that a file is written: beside the results, unless the results went where this would go."""
    (note if is_stream(output) else say)(f"wrote {output}{more}")


def note(line: str) -> None:
    """One line on stderr, which stays; on a terminal it takes the place of what `progress` wrote."""
    line = one_line(line)
    sys.stderr.write(f"\r{line:<100}\n" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()
