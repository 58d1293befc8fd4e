"""Text that people and programs write into annotation files, read without surprises."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from assignbench.errors import DataError
from assignbench.files import read_regular

_LINE_END = re.compile(r"\r*\n|\r")
# Some programs end a line with one of these, and `str.split` takes them for blanks: two lines would become one.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")


def lines_of(text: str) -> list[str]:
    """The lines of a text, whichever of CR LF, LF and CR ends them, without their ends."""
    return _LINE_END.split(text) if "\r" in text else text.split("\n")


def control_in(text: str) -> str | None:
    """Where the first control character stands that is no tab and ends no line, and what to do; None: there is none."""
    found = _CONTROL.search(text)
    if found is None:
        return None
    at = len(lines_of(text[: found.start()]))
    return f"line {at}: {found[0]!a} is a control character; remove it, or end the line there"


def read_lines(file: Path, what: str) -> list[str]:
    """The lines of a text file in UTF-8, with or without a byte order mark; see `lines_of`.

    Args:
        file: to read.
        what: "image list", for the message when there is none.

    Raises:
        DataError: it is missing, cannot be read, or holds a control character other than tabs and ends of lines.
    """
    try:
        text = read_regular(file)  # not utf-8-sig: as a file's encoding, it takes half a mark for none
    except FileNotFoundError as error:
        raise DataError(f"no {what} {file}; put it there") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not a text in UTF-8 (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise DataError(f"{file} holds zero bytes: it is damaged, or UTF-16 without a mark; save it as UTF-8")
    if control := control_in(text):
        raise DataError(f"{file}, {control}")
    return lines_of(text.removeprefix("\ufeff"))


def doubtful(name: str) -> bool:
    """Whether a name looks like another encoding that was read as UTF-8.

    猫 in GBK is è in UTF-8. So all letters are of two bytes, and none is of a … z though
    some are Latin, or they are of several scripts.
    """
    letters = [sign for sign in name if sign.isalpha()]
    scripts = {unicodedata.name(sign, "?").partition(" ")[0] for sign in letters}
    two_bytes = all("\u0080" <= sign < "\u0800" for sign in letters)
    return bool(letters) and two_bytes and ("LATIN" in scripts or len(scripts) > 1)


def number(text: str) -> float:
    """A number in decimal digits; Python alone would also take ``1_0`` for 10, and digits of every script.

    Raises:
        ValueError: it is none. NaN and infinity pass.
    """
    try:
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise ValueError(f"{text!r:.40} is not a number") from None


def whole_number(text: str) -> int:
    """As `number`, without a fraction.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise ValueError(f"{text!r:.40} is not a whole number") from None
