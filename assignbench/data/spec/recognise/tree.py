"""What lies in a folder, read when it is asked for: one listing of each folder, and the beginnings of files.

Nothing here raises: what cannot be read is not there. A folder with a million files costs one listing.
"""

from __future__ import annotations

import codecs
import filecmp
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path

from assignbench.data.folders import SUFFIXES

KEPT = 200  # names of folders, and of files of each suffix, that are remembered; the others are counted
HEAD = 1 << 18  # bytes that are looked at, at either end of a file
_JUNK = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Names:
    """Files of one suffix in a folder."""

    count: int = 0
    first: tuple[str, ...] = ()  # in order


@dataclass(frozen=True)
class Listing:
    """One folder; hidden entries and what systems leave behind are not in it."""

    folders: tuple[str, ...] = ()  # the first of them in order
    files: Mapping[str, Names] = field(default_factory=dict)  # by suffix, in small letters
    readable: bool = True

    def of(self, *suffixes: str) -> tuple[str, ...]:
        """The first files with these suffixes."""
        return tuple(name for suffix in suffixes for name in self.files.get(suffix, Names()).first)

    def count(self, *suffixes: str) -> int:
        """How many files have these suffixes."""
        return sum(self.files.get(suffix, Names()).count for suffix in suffixes)

    @property
    def pictures(self) -> int:
        """How many files are pictures, by their suffix."""
        return self.count(*SUFFIXES)


@dataclass(frozen=True)
class Tree:
    """A folder and what lies below it; places are relative to it, with slashes, and ``.`` is the folder itself."""

    root: Path
    _seen: dict[str, Listing] = field(default_factory=dict, repr=False, compare=False)

    def at(self, place: str) -> Listing:
        """What lies in a folder; nothing where there is none."""
        if place not in self._seen:
            self._seen[place] = _listed(self.root / place)
        return self._seen[place]

    def inside(self, place: str, *wanted: str) -> Iterator[str]:
        """The folders of a folder that are called so, in the order of the names; capitals do not matter."""
        folders = self.at(place).folders
        for name in wanted:
            yield from (join(place, one) for one in folders if one.casefold() == name.casefold())

    def folders(self, place: str = ".") -> tuple[str, ...]:
        """Places of the folders of a folder."""
        return tuple(join(place, name) for name in self.at(place).folders)

    def is_file(self, place: str) -> bool:
        """Whether there is such a file."""
        return _kind(self.root / place, stat.S_ISREG)

    def same_file(self, place: str, other: str) -> bool:
        """Whether two files hold the same bytes."""
        try:
            return filecmp.cmp(self.root / place, self.root / other, shallow=False)
        except (OSError, ValueError):
            return False

    def head(self, place: str, most: int = HEAD) -> str:
        """How a text file begins; characters that are no UTF-8 are replaced."""
        return _text(read_bytes(self.root / place, most, from_end=False))

    def tail(self, place: str) -> str:
        """How a text file ends."""
        return read_bytes(self.root / place, HEAD, from_end=True).decode("utf-8", "replace")


def join(place: str, name: str) -> str:
    """A place below a place."""
    return name if place == "." else f"{place}/{name}"


def parent(place: str) -> str:
    """The folder of a place."""
    return place.rpartition("/")[0] or "."


def name_of(place: str) -> str:
    """The last part of a place."""
    return place.rpartition("/")[2]


def _listed(folder: Path) -> Listing:
    folders: list[str] = []
    files: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _JUNK:
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                else:
                    files.setdefault(os.path.splitext(entry.name)[1].lower(), []).append(entry.name)  # noqa: PTH122
    except (OSError, ValueError):
        return Listing(readable=False)
    return Listing(
        tuple(nsmallest(KEPT, filter(_is_text, folders))),
        {suffix: Names(len(names), tuple(nsmallest(KEPT, filter(_is_text, names)))) for suffix, names in files.items()},
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def _is_text(name: str) -> bool:
    """Whether a name can be written into a specification; Python spells odd bytes with halves of characters."""
    return name.isprintable()


def _kind(path: Path, wanted: Callable[[int], bool]) -> bool:
    try:
        return wanted(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read_bytes(path: Path, most: int, *, from_end: bool = False) -> bytes:
    """The first or the last bytes of a regular file; nothing of what cannot be read."""
    try:
        size = path.stat()
        if not stat.S_ISREG(size.st_mode):  # a pipe would wait for ever
            return b""
        with path.open("rb") as stream:
            stream.seek(max(0, size.st_size - most) if from_end else 0)
            return stream.read(most)
    except (OSError, ValueError):
        return b""


def _text(content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding, "replace")
