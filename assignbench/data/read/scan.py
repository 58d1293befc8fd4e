"""A JSON object with long lists, piece by piece: an annotation file of 2 GB would take 12 GB as Python objects.

The text is cut where one entry of a list ends and the next begins, and every piece goes through the `json`
module, which alone decides what is JSON. A cut in the wrong place (inside a text, or between the entries of an
inner list) leaves a bracket or a quote open, so the piece is refused and its entries are read one by one.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from assignbench.errors import DataError

BLOCK = 1 << 23  # bytes read at once; a piece has about as many characters

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_LITERAL = 16  # characters: no name of a constant is as long, so an error further from the end has no other cause
_EXPONENT = 3  # characters: as many as of ``1.5e+6`` may follow a number that is cut off


class Repeated(dict[str, Any]):
    """An object that gives a key more than once; the `json` module alone would keep the last value."""

    keys_given_twice: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Piece:
    """Some consecutive entries of a list."""

    key: str  # of the list
    first: int  # position of the first entry
    entries: list[Any]
    text: str  # what they were read from

    def plain(self, keys: Sequence[str]) -> bool:
        """Whether it is certain, at little cost, that no entry repeats one of these keys."""
        entries, text = self.entries, self.text
        if "\\" in text and "\\u" in text:  # a key may be spelt with it; one character is found much faster
            return False
        if text.count(":") == sum(map(len, entries)):  # one colon a key, and none lost
            return True
        return all(text.count(f'"{key}"') == sum(key in entry for entry in entries) for key in keys)

    def careful(self) -> list[Any]:
        """The entries again, with `Repeated` for those that repeat a key."""
        return json.loads(f"[{self.text}]", object_pairs_hook=_marked)


@dataclass(frozen=True)
class Value:
    """A value that is not a list."""

    key: str
    value: Any


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes in."""


def scan(file: Path, digest: Digest) -> Iterator[Piece | Value]:
    """Read the members of the object that a file holds; an empty list is one empty piece.

    Args:
        file: JSON in UTF-8, 16 or 32, with or without a byte order mark.
        digest: gets every byte that was read.

    Raises:
        DataError: the file is missing, unreadable, not JSON, not an object, or repeats a key.
    """
    try:
        with file.open("rb") as stream:
            yield from _members(_Window(stream, digest))
    except FileNotFoundError as error:
        raise DataError(f"no annotation file {file}; put it there") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # malformed JSON, or not in the encoding
        raise DataError(f"{file} is not valid JSON: {error}; it may be truncated, copy it again") from error
    except _Unfit as error:
        raise DataError(f"{file}: {error}") from error


class _Unfit(Exception):  # noqa: N818  # it is JSON, but not what was asked for
    pass


class _Window:
    """A text and a place in it; what lies behind the place is forgotten, what lies ahead is read when needed."""

    def __init__(self, stream: BinaryIO, digest: Digest) -> None:
        self._stream, self._digest = stream, digest
        start = stream.read(4)
        digest.update(start)
        self._decoder = codecs.getincrementaldecoder(json.detect_encoding(start))()
        self.text = self._decoder.decode(start)
        self.at = 0
        self.ended = False
        self._behind = 0  # characters forgotten

    def more(self) -> bool:
        """Read about as much again as is there; whether there was something to read."""
        if self.ended:
            return False
        data = self._stream.read(max(BLOCK, len(self.text) - self.at))
        if not data:
            self.ended = True
            self._decoder.decode(data, final=True)  # complains of half a character
            return False
        self._digest.update(data)
        self._behind += self.at
        self.text, self.at = self.text[self.at :] + self._decoder.decode(data), 0
        return True

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
            raise ValueError(f"{what} expected at character {self._behind + self.at}")
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
                raise ValueError(f"{error.msg} at character {self._behind + error.pos}") from error
            if end + _EXPONENT < len(self.text) or not self.more():
                self.at = end
                return value


def _members(window: _Window) -> Iterator[Piece | Value]:
    if window.next() != "{":
        _whole(window)
        raise _Unfit("the top level must be an object with images, annotations and categories")
    window.at += 1
    seen: set[str] = set()
    more = window.next() != "}"
    window.at += not more
    while more:
        if window.next() != '"':
            window.expect('"', "a key in double quotes")
        key = window.value()
        if key in seen:
            raise _Unfit(f"the key {key!r:.40} is given twice")
        seen.add(key)
        window.expect(":", "':'")
        if window.next() == "[":
            window.at += 1
            yield from _list(window, key)
        else:
            yield Value(key, window.value())
        more = window.expect(",}", "',' or '}'") == ","
    if window.next():
        window.expect("", "the end of the file")


def _whole(window: _Window) -> None:
    """A document that is no object must at least be JSON."""
    window.value()
    if window.next():
        window.expect("", "the end of the file")


def _list(window: _Window, key: str) -> Iterator[Piece]:
    first = 0
    if window.next() == "]":
        window.at += 1
        yield Piece(key, 0, [], "")
        return
    more = True
    while more:
        if len(window.text) - window.at < BLOCK // 2:
            window.more()
        window.next()
        piece = _many(window, key, first) or _some(window, key, first)
        yield piece
        first += len(piece.entries)
        more = window.expect(",]", "',' or ']'") == ","


def _many(window: _Window, key: str, first: int) -> Piece | None:
    """All whole entries of the window at once, if they can be told apart."""
    cut = window.text.rfind("},", window.at) + 1
    if not cut:
        return None
    text = window.text[window.at : cut]
    try:
        entries = json.loads(f"[{text}]")
    except ValueError:  # the cut is in the wrong place, or the text is malformed: entry by entry will tell
        return None
    window.at = cut
    return Piece(key, first, entries, text)


def _some(window: _Window, key: str, first: int) -> Piece:
    """The entries up to the end of the list or of the window, one by one; at least one."""
    entries: list[Any] = []
    texts: list[str] = []
    while True:
        window.next()
        start, behind = window.at, window._behind
        entries.append(window.value())
        start -= window._behind - behind  # reading on forgets what lay before the entry
        texts.append(window.text[start : window.at])
        if window.next() != "," or (len(window.text) - window.at < BLOCK // 4 and not window.ended):
            return Piece(key, first, entries, ",".join(texts))
        window.at += 1


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
