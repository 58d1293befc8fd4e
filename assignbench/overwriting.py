"""What a command may write over: never what it reads, and under a name that it chose itself only its own work.

Nor does it put files among the pictures that it reads: whoever reads the folder again would take them for its own.

A file that the user named is replaced, as with every tool. A name like ``report.html`` or ``cat.png`` nobody has typed:
there a file of somebody else's is refused. Our pictures say in their metadata who drew them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from assignbench.errors import UsageError
from assignbench.files import is_stream, open_regular, require_regular

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

_SOFTWARE = "Software"  # the key in a PNG


def refuse_inputs(output: Path, inputs: Iterable[Path], option: str = "--output") -> None:
    """Before anything is read.

    Args:
        output: file to be written.
        inputs: files that the command reads.
        option: that named ``output``.

    Raises:
        UsageError: it is one of them.
    """
    for one in inputs:
        with contextlib.suppress(OSError):  # one of the two is not there
            if output.samefile(one) and not is_stream(output):
                raise UsageError(
                    f"{option} {output} is read by this command, and would be overwritten; name another file"
                )


def refuse_among(output: Path, folders: Iterable[Path], option: str = "--output") -> None:
    """Before any work.

    Args:
        output: file or folder to be written.
        folders: those that the command reads with all that lies below.
        option: that named ``output``.

    Raises:
        UsageError: it is one of them, or lies in one.
    """
    place = Path(os.path.realpath(output))  # unlike Path.resolve, it follows no circle for ever
    for folder in folders:
        if place.is_relative_to(os.path.realpath(folder)) and not is_stream(output):
            raise UsageError(
                f"{option} {output} lies in {folder}, which this command reads: what it writes would be taken for a "
                "part of that; name a place outside"
            )


def require_place(output: Path, option: str = "--output") -> None:
    """Before any work: a command makes what it was asked to write, file or folder, and no folder above it.

    Args:
        output: file or folder to be written.
        option: that named it.

    Raises:
        UsageError: the folder that it is to lie in is not there.
    """
    above = output.parent
    if not is_stream(output) and not above.is_dir():
        what = f"{above} is no folder" if os.path.lexists(above) else f"there is no folder {above}"
        raise UsageError(f"{option} {output}: {what}; make it, or name another place")


def refuse_strangers(file: Path, ours: Callable[[Path], bool], command: str, instead: str = "file") -> None:
    """Of a file whose name the user has not typed.

    Args:
        file: to be written.
        ours: whether a file was written by the command.
        command: which.
        instead: what to name by ``--output``.

    Raises:
        UsageError: another file is there.
    """
    if os.path.lexists(file) and not ours(file):
        raise UsageError(
            f"{file} was not written by {command}, and would be overwritten; name another {instead} by --output"
        )


def mark_of(command: str) -> dict[str, str]:
    """What a PNG says of who drew it."""
    return {_SOFTWARE: f"assignbench {command}"}


def png_mark(command: str) -> PngInfo:
    """`mark_of` as Pillow writes it."""
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    for key, value in mark_of(command).items():
        mark.add_text(key, value)
    return mark


def is_png_of(file: Path, command: str) -> bool:
    """Whether a file is a PNG with the mark of a command."""
    from PIL import Image

    try:
        require_regular(file)
        with Image.open(file) as picture:  # its pixels are not read
            return picture.format == "PNG" and picture.info.get(_SOFTWARE) == mark_of(command)[_SOFTWARE]
    except Exception:  # Pillow raises half a dozen unrelated types; whoever reads the picture says what it is
        return False


def head_of(file: Path, size: int) -> bytes:
    """The first bytes of a file; of what is none, no bytes."""
    try:
        with open_regular(file) as opened:
            return opened.read(size)
    except OSError:
        return b""
