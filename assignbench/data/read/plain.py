"""Text that people and programs write into annotation files, read without surprises."""

from __future__ import annotations

from pathlib import Path

from assignbench.errors import DataError


def read_lines(file: Path, what: str) -> list[str]:
    """The lines of a text file in UTF-8, with or without a byte order mark.

    Args:
        file: to read.
        what: "image list", for the message when there is none.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        text = file.read_bytes().decode()  # not utf-8-sig: as a file's encoding, it takes half a mark for none
    except FileNotFoundError as error:
        raise DataError(f"no {what} {file}; put it there") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not a text in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    return text.removeprefix("\ufeff").split("\n")


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
