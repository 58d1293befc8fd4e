"""A JSON object with long lists, piece by piece: an annotation file of 2 GB would take 12 GB as Python objects.

The text is cut where one entry of a list seems to end and the next to begin. msgspec makes the typed objects of the
piece that its reader asks for; where it refuses them, it walks through the piece and counts its entries. A cut in the
wrong place (inside a text, or between the entries of an inner list) leaves a bracket or a quote open, which msgspec
refuses both times. What it refuses both times goes through the `json` module, entry by entry: either it is JSON all the
same (NaN, half a character), or the error gets its place.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import msgspec

from assignbench.errors import DataError
from assignbench.files import open_regular

BLOCK = 1 << 20  # bytes read at once; a piece has about as many characters, and its objects stay near the processor

Entries: TypeAlias = "msgspec.json.Decoder[list[Any]]"

_SPACE = re.compile(r"[ \t\n\r]*")
_END_OF_LIST = re.compile(r"\}[ \t\n\r]*\]")
_BETWEEN = re.compile(r"\}[ \t\n\r]*,[ \t\n\r]*\{")
_CUTS = 4  # places tried, from the last one: entries that hold lists of objects look like several entries
_DECODER = json.JSONDecoder()
_WALK: Entries = msgspec.json.Decoder(list[msgspec.Raw])
_LITERAL = 16  # characters: no name of a constant is as long, so an error further from the end has no other cause
_EXPONENT = 3  # characters: as many as of ``1.5e+6`` may follow a number that is cut off
_SHOWN = 24  # characters before and after the place of an error

_OPEN = "a quote expected that ends the text"

# How the `json` module's words begin → ours.
_MEANING = {
    "Expecting value": "a value expected",
    "Expecting property name enclosed in double quotes": "a key in double quotes expected",
    "Expecting ':' delimiter": "':' expected",
    "Expecting ',' delimiter": "',' or a closing bracket expected",
    "Illegal trailing comma before end of array": "no comma expected before ']'",
    "Illegal trailing comma before end of object": "no comma expected before '}'",
    "Invalid control character at": "a line break or control character inside a text",
    "Invalid \\escape": "a backslash that is followed by none of \"\\/bfnrtu (write '\\\\')",
    "Invalid \\uXXXX escape": "'\\u' without four hexadecimal digits",
    "Unterminated string starting at": _OPEN,
}

# How files begin that are something else; lower case.
_IMPOSTORS = {
    b"<!doctype html": "an HTML page, perhaps the error page of a download; fetch the file itself",
    b"<html": "an HTML page, perhaps the error page of a download; fetch the file itself",
    b"<": "XML or HTML, not JSON; name an annotation file in COCO's format",
    b"version https://git-lfs": "the pointer of Git LFS, not the file itself; run `git lfs pull` in its repository",
    b"\x1f\x8b": "compressed (gzip); unpack it",
    b"pk\x03\x04": "compressed (ZIP); unpack it",
    b"\x89hdf": "an HDF5 file, not JSON",
}


class Repeated(dict[str, Any]):
    """An object that gives a key more than once; the `json` module alone would keep the last value."""

    keys_given_twice: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Piece:
    """Some consecutive entries of a list."""

    key: str  # of the list
    first: int  # position of the first entry
    count: int  # of entries
    text: str  # a list with these entries alone; certain to be JSON
    usual: Sequence[Any] | None = (
        None  # the entries as the decoder of this list makes them; None: it refuses some, or there is none
    )

    def entries(self) -> list[Any]:
        """By the `json` module, with `Repeated` for the objects that give a key twice."""
        try:
            return json.loads(self.text, object_pairs_hook=_marked)
        except ValueError as error:  # Python's limit on the digits of a number
            place = f"{self.key}[{self.first}] or one of the next {self.count - 1}"
            raise DataError(f"{place} holds a number with thousands of digits; correct it") from error


@dataclass(frozen=True)
class Value:
    """A value that is not a list."""

    key: str
    value: Any


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes in."""


def pieces(file: Path, digest: Digest, usual: Mapping[str, Entries] | None = None) -> Iterator[Piece | Value]:
    """Read the members of the object that a file holds; an empty list is one empty piece.

    Args:
        file: JSON in UTF-8, 16 or 32, with or without a byte order mark.
        digest: gets every byte that was read.
        usual: key of a list → what makes its usual entries, see `Piece.usual`.

    Raises:
        DataError: the file is missing, unreadable, not JSON, not an object, or gives a key twice.
    """
    try:
        # hashing leaves Python's lock free: beside the parsing, it costs no time of its own
        with open_regular(file) as stream, ThreadPoolExecutor(1) as hashing:
            yield from _members(_Window(stream, partial(hashing.submit, digest.update)), usual or {})
    except FileNotFoundError as error:
        raise DataError(f"no annotation file {file}; put it there") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise DataError(f"{file} is not valid JSON: its brackets are nested too deeply") from error
    except _Odd as error:
        raise DataError(f"{file}{error}") from error


class _Odd(Exception):  # noqa: N818  # the end of a sentence that begins with the file
    pass


class _Window:
    """A text and a place in it; what lies behind the place is forgotten, what lies ahead is read when needed."""

    def __init__(self, stream: BinaryIO, hashed: Callable[[bytes], object]) -> None:
        self._stream, self._hashed = stream, hashed
        start = stream.read(32)
        hashed(start)
        for sign, meaning in _IMPOSTORS.items():
            if start.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(sign):
                raise _Odd(f" is {meaning}")
        self._encoding = json.detect_encoding(start)
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        self._bytes = 0  # decoded
        self._behind = 0  # characters forgotten
        self.ended = False
        self.at = 0
        self.text = self._decoded(start)
        if not self.next():
            raise _Odd(" is empty; copy it again")

    def more(self) -> bool:
        """Read about as much again as is there; whether there was something to read."""
        if self.ended:
            return False
        data = self._stream.read(max(BLOCK, len(self.text) - self.at))
        if not data:
            self.ended = True
            self._decoded(data, final=True)  # complains of half a character
            return False
        self._hashed(data)
        self._behind += self.at
        self.text, self.at = self.text[self.at :] + self._decoded(data), 0
        return True

    def _decoded(self, data: bytes, final: bool = False) -> str:
        kept = len(self._decoder.getstate()[0])  # bytes of half a character
        try:
            text = self._decoder.decode(data, final=final)
        except UnicodeError as error:  # ValueError's child, and not always UnicodeDecodeError
            place = f"byte {self._bytes - kept + error.start}" if isinstance(error, UnicodeDecodeError) else "its end"
            name = self._encoding.removesuffix("-sig").upper()
            raise _Odd(
                f" is not valid JSON: it is no text in {name} (at {place}); save it in UTF-8, or copy it again"
            ) from error
        self._bytes += len(data)
        return text

    def next(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            self.at = _end_of_space(self.text, self.at)
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def expect(self, characters: str, what: str) -> str:
        """Step over one of these characters, white space before it included."""
        found = self.next()
        if not found or found not in characters:
            raise self.malformed(f"{what} expected", self.at)
        self.at += 1
        return found

    def value(self) -> Any:
        """Step over one value of any kind."""
        self.next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                # Where the text is cut off, a text is left open, or the trouble is at the very end.
                if (error.msg.startswith("Unterminated") or error.pos + _LITERAL > len(self.text)) and self.more():
                    continue
                raise self.malformed(_meaning(error.msg), error.pos) from error
            except ValueError as error:  # Python's limit on the digits of a number
                raise self.malformed("a number with thousands of digits", self.at) from error
            if end + _EXPONENT < len(self.text) or not self.more():
                self.at = end
                return value

    def malformed(self, what: str, at: int) -> _Odd:
        """What is wrong at a place of the text."""
        place = f"at character {self._behind + at}"
        if self.ended and (what == _OPEN or not self.text[at:].strip()):
            return _Odd(f" is not valid JSON: {what} {place}, but the file ends: it was cut off; copy it again")
        near = self.text[max(0, at - _SHOWN) : at + _SHOWN]
        return _Odd(f" is not valid JSON: {what} {place}, in {near!r}; correct it, or export it again")


def _members(window: _Window, usual: Mapping[str, Entries]) -> Iterator[Piece | Value]:
    if window.next() != "{":
        a_list = window.next() == "["
        window.value()  # a document that is no object must at least be JSON
        if window.next():
            window.expect("", "the end of the file")
        hint = ", not a list (a file of detections is one)" if a_list else ""
        raise _Odd(f": the top level must be an object with images, annotations and categories{hint}")
    window.at += 1
    seen: set[str] = set()
    more = window.next() != "}"
    window.at += not more
    while more:
        if window.next() != '"':
            window.expect('"', "a key in double quotes")
        key = window.value()
        if key in seen:
            raise _Odd(f": the key {key!r:.40} is given twice")
        seen.add(key)
        window.expect(":", "':'")
        if window.next() == "[":
            window.at += 1
            yield from _list(window, key, usual.get(key))
        else:
            yield Value(key, window.value())
        more = window.expect(",}", "',' or '}'") == ","
    if window.next():
        window.expect("", "the end of the file")


def _list(window: _Window, key: str, usual: Entries | None) -> Iterator[Piece]:
    first = 0
    if window.next() == "]":
        window.at += 1
        yield Piece(key, 0, 0, "[]", [])
        return
    more = True
    while more:
        if len(window.text) - window.at < BLOCK // 2:
            window.more()
        window.next()
        piece = _many(window, key, first, usual) or _some(window, key, first, usual)
        yield piece
        first += piece.count
        more = window.expect(",]", "',' or ']'") == ","


def _many(window: _Window, key: str, first: int, usual: Entries | None) -> Piece | None:
    """All whole entries of the window at once, if they can be told apart."""
    for cut in _cuts(window.text, window.at):
        text = f"[{window.text[window.at : cut]}]"
        made = _made(usual, text)
        entries = _made(_WALK, text) if made is None else made
        if entries is not None:
            window.at = cut
            return Piece(key, first, len(entries), text, made)
    return None


def _cuts(text: str, start: int) -> Iterator[int]:
    """Where the last entry of a list may end, what holds for most windows first: before the window's last entry.

    Then at the end of the list, which is looked for through the whole window; then before the entries further ahead.
    """
    betweens = _betweens(text, start)
    yield from islice(betweens, 1)
    end = _END_OF_LIST.search(text, start)
    if end:
        yield end.start() + 1
    yield from islice(betweens, _CUTS - 1)


def _betweens(text: str, start: int) -> Iterator[int]:
    """Where one entry seems to end and the next to begin, from the last one on."""
    at = len(text)
    while (at := text.rfind("}", start, at)) >= 0:
        if _BETWEEN.match(text, at):
            yield at + 1


def _made(entries: Entries | None, text: str) -> list[Any] | None:
    """The entries of a list; None when msgspec refuses them, or nobody asks for any."""
    try:
        return None if entries is None else entries.decode(text)
    except msgspec.DecodeError:
        return None


def _some(window: _Window, key: str, first: int, usual: Entries | None) -> Piece:
    """The entries up to the end of the list or of the window, one by one; at least one."""
    texts: list[str] = []
    while True:
        window.next()
        start, behind = window.at, window._behind
        window.value()
        start -= window._behind - behind  # reading on forgets what lay before the entry
        texts.append(window.text[start : window.at])
        if window.next() != "," or (len(window.text) - window.at < BLOCK // 4 and not window.ended):
            text = f"[{','.join(texts)}]"
            return Piece(key, first, len(texts), text, _made(usual, text))
        window.at += 1


def _meaning(words: str) -> str:
    return next((meaning for start, meaning in _MEANING.items() if words.startswith(start)), "something else expected")


def _end_of_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) == len(pairs):
        return entry
    keys = [key for key, _ in pairs]
    repeated = Repeated(entry)
    repeated.keys_given_twice = frozenset(key for key in keys if keys.count(key) > 1)
    return repeated
