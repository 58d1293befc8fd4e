"""One XML file to its root: in any declared encoding, without a document type, refused in plain words."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from assignbench.errors import DataError

LARGEST_XML = 1 << 24  # bytes of one annotation; more would only fill the memory

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BARE = re.compile(r"&(?!#?\w+;)")  # an ampersand that begins no entity
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _NoDoctype(ET.TreeBuilder):
    """Refuses a document type, and with it entities: none is needed, and they can fill the memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called by the parser before any entity is declared."""
        raise DataError(f"it declares the document type {name!r}, which is refused; remove it")


def parse_xml(file: Path) -> ET.Element:
    """The root of an annotation.

    The encoding is the one that the file declares, whichever Python knows; without a declaration or a mark it is UTF-8.

    Raises:
        DataError: the file is missing, too large, malformed, not in its encoding, or declares a document type, and
            with it entities of its own.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_XML + 1)
    except FileNotFoundError as error:
        raise DataError(f"no annotation file {file}; every listed picture needs one") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_XML:
        raise DataError(
            f"{file}: it has more than {LARGEST_XML >> 20} MB; the annotation of a picture has some kilobytes"
        )
    text = _decoded(file, content)
    try:
        return ET.fromstring(text, ET.XMLParser(target=_NoDoctype()))  # noqa: S314  # see _NoDoctype
    except ET.ParseError as error:
        if isinstance(text, str) and (bare := _BARE.search(text)):
            line = text.count("\n", 0, bare.start()) + 1
            raise DataError(f"{file}, line {line}: an & stands alone; in XML it must be written &amp;") from error
        raise DataError(f"{file} is not valid XML: {error}; it may be truncated, copy it again") from error
    except (ValueError, LookupError) as error:
        raise DataError(f"{file} is not valid XML: {error}; save it again as UTF-8") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def _decoded(file: Path, content: bytes) -> str | bytes:
    """As text, so that expat need not know the encoding; what begins with a mark or is UTF-16 expat tells by itself."""
    if content.startswith(_MARKS[1:]) or b"\0" in content[:4]:
        return content
    declared = _DECLARED.match(content.removeprefix(codecs.BOM_UTF8))
    encoding = declared[1].decode() if declared and not content.startswith(codecs.BOM_UTF8) else "utf-8"
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        advice = (
            "it declares this encoding, so one of them is wrong"
            if declared
            else 'name its encoding in its first line, as <?xml version="1.0" encoding="GBK"?>, or save it as UTF-8'
        )
        raise DataError(f"{file} is not a text in {encoding.upper()} (byte {error.start}); {advice}") from error
    except LookupError as error:
        raise DataError(f"{file} declares the encoding {encoding!r}, which is not known; save it as UTF-8") from error


def text_of(place: str, element: ET.Element, path: str) -> str:
    """What stands in the one element at ``path``; empty when there is none.

    Raises:
        DataError: there are several; ``place`` is where, for the message.
    """
    found: list[ET.Element] = [element]
    for tag in path.split("/"):
        found = found[0].findall(tag)
        if len(found) > 1:
            raise DataError(f"{place}: <{tag}> is given {len(found)} times; keep one")
        if not found:
            return ""
    return (found[0].text or "").strip()


def doubtful(name: str) -> bool:
    """Whether a name looks like another encoding read as UTF-8: letters beyond ASCII of Latin scripts, and no others.

    The two bytes of 猫 in GBK are those of è in UTF-8. No word of a Latin script has several letters and none of a … z.
    """
    letters = [sign for sign in name if sign.isalpha()]
    return bool(letters) and all("\u0080" <= sign < "\u0370" for sign in letters)
