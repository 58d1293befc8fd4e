"""One XML file to its root: in any declared encoding, without a document type, refused in plain words."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from assignbench.errors import DataError
from assignbench.files import open_regular

LARGEST_XML = 1 << 24  # bytes of one annotation; more would only fill the memory

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_PAGE = re.compile(r"\s*(<\?xml[^>]{0,100}>\s*)?<(!doctype\s+)?html\b", re.IGNORECASE)
_BARE = re.compile(r"&(?!#?\w+;)")  # an ampersand that begins no entity
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WIDE = ("utf-16", "utf_16", "utf16", "utf-32", "utf_32", "utf32", "ucs-2", "iso-10646-ucs")

# What expat finds, by its codes, in words.
_WORDS = {
    expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]: "the file is empty; copy it again",
    expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN]: "the file ends in the middle of a tag; copy it again",
    expat.errors.codes[expat.errors.XML_ERROR_TAG_MISMATCH]: "a closing tag is not that of the tag before it",
    expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]: "something follows the end of the annotation",
    expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]: "a character that XML does not allow there",
    expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]: "an entity (&name;) that XML does not have",
}


def _words(error: ET.ParseError) -> str:
    found = _WORDS.get(error.code)
    return f"it is not valid XML: {found}" if found else "it is not valid XML there; correct it, or export it again"


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
        with open_regular(file) as stream:
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
    if isinstance(text, str) and _PAGE.match(text):
        raise DataError(f"{file} is a web page, as a server sends in place of a file that it lacks; fetch it again")
    try:
        return ET.fromstring(text, ET.XMLParser(target=_NoDoctype()))  # noqa: S314  # see _NoDoctype
    except ET.ParseError as error:
        if isinstance(text, str) and (bare := _BARE.search(text)):
            line = text.count("\n", 0, bare.start()) + 1
            raise DataError(f"{file}, line {line}: an & stands alone; in XML it must be written &amp;") from error
        line, column = error.position
        raise DataError(f"{file}, line {line}, character {column + 1}: {_words(error)}") from error
    except (ValueError, LookupError) as error:
        raise DataError(f"{file} cannot be read as XML in its encoding; save it again as UTF-8") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def _decoded(file: Path, content: bytes) -> str | bytes:
    """As text, so that expat need not know the encoding; what begins with a mark or is UTF-16 expat tells by itself."""
    if content.startswith(_MARKS[1:]) or b"\0" in content[:4]:
        return content
    declared = _DECLARED.match(content.removeprefix(codecs.BOM_UTF8))
    encoding = declared[1].decode() if declared and not content.startswith(codecs.BOM_UTF8) else "utf-8"
    if encoding.lower().startswith(_WIDE):  # whose declaration would not have been found in single bytes
        raise DataError(
            f"{file} declares the encoding {encoding!r}, and is not in it (some .NET programs write that); "
            'its first line must say encoding="utf-8", or which other it is in'
        )
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        advice = (
            "it declares this encoding, so one of them is wrong"
            if declared
            else 'name its encoding in its first line, as <?xml version="1.0" encoding="GBK"?>, or save it as UTF-8'
        )
        raise DataError(f"{file} is not a text in {encoding.upper()} (byte {error.start}); {advice}") from error
    except (LookupError, UnicodeError) as error:
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


def declares(file: Path) -> bool:
    """Whether a file says in which encoding it is."""
    with file.open("rb") as stream:
        head = stream.read(256)
    return head.startswith(_MARKS) or _DECLARED.match(head) is not None
