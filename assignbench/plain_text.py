r"""Text from outside, made harmless for what it is put into: one function for each format.

Names, labels, notes, paths and messages of plug-ins may hold anything. A terminal obeys control characters, a
spreadsheet formulas, a browser markup. Letters that nobody sees, or that turn others around, are written as Python
writes them, as ``\x1b``; what is left is escaped as the format wants it.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pylatexenc.latexencode import UnicodeToLatexEncoder

UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, formats (also from right to left, and without width), half letters
BLANK = "\u115f\u1160\u2800\u3164\uffa0\ufffe\uffff"  # letters that show nothing, and two that no page may hold
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # what a spreadsheet takes for the start of one; the last four are wide
_MARKDOWN = re.compile(r"[\\`*_<>|\[\]~#&]")


def one_line(text: str, keep: str = "") -> str:
    r"""Text as a terminal may show it, on one line.

    >>> one_line("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    if text.isprintable() and not any(letter in text for letter in BLANK):
        return text
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if (unicodedata.category(letter) in UNSEEN or letter in BLANK) and letter not in keep
        else letter
        for letter in text
    )


def lines(text: str) -> str:
    """Text as a terminal may show it; its lines and tabs are ours."""
    return one_line(text, "\n\t")


def csv_field(value: Any) -> Any:
    """A field of a table for programs: numbers as they are, text never as a formula.

    >>> csv_field("=1+1"), csv_field(-1)
    ("'=1+1", -1)
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.lstrip(" '").startswith(FORMULA) else text


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(" ".join(text.split())))


def latex(text: str) -> str:
    """Text that LaTeX sets as it is; a letter that it has no name for becomes a bold question mark."""
    return _encoder().unicode_to_latex(one_line(" ".join(text.split())))


def markup(text: str) -> str:
    """Text in HTML or SVG, in an attribute or out of one."""
    return html.escape(one_line(text), quote=True)


def json_text(content: Any, indent: int = 2) -> str:
    """A JSON document for the screen: letters stay letters, but for those that a terminal would obey."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    if text.isascii() and "\x7f" not in text:
        return text + "\n"
    unseen = {letter for letter in set(text) - {"\n"} if one_line(letter) != letter}
    spelt = {ord(letter): "\\u007f" if letter == "\x7f" else json.dumps(letter)[1:-1] for letter in unseen}
    return text.translate(spelt) + "\n"


@cache
def _encoder() -> UnicodeToLatexEncoder:
    from pylatexenc.latexencode import UnicodeToLatexEncoder

    return UnicodeToLatexEncoder(unknown_char_policy="replace", unknown_char_warning=False)
