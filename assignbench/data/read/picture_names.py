"""Pictures whose stated names are spelt in another way than the files in the folder.

Tools write backslashes, URL escapes, the path of the machine where they ran, or accents as two characters instead of
one. A picture that is not there under its stated name is looked for in the whole folder. It is found only if one file
alone can be meant: the name without some of its first folders is that of the file, or the other way round; of several
such files the one that shares the most of the name; and no other name means the same file. Nothing is looked for where
several names stand as one: their last alone would be found.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from assignbench.data.folders import SUFFIXES, leaves, led_out
from assignbench.data.images import Images
from assignbench.data.read.findings import ENTRY_MALFORMED, PICTURE_RESPELT
from assignbench.data.read.raw import RawSplit, said

_JUNK = ("__MACOSX",)  # folders that a system makes, besides hidden ones

_SUFFIX = "|".join(map(re.escape, sorted(SUFFIXES, key=len, reverse=True)))
# A folder whose name holds that of a picture; not ``scans.tif_small`` and ``a.jpg.d``, which tools make.
_PICTURE_BEFORE_A_FOLDER = re.compile(rf"(?>{_SUFFIX})(?![_-]|\.\w)[^/\\]*[/\\]", re.IGNORECASE)


@dataclass(frozen=True)
class Respelt:
    """Names as the files have them."""

    names: Sequence[str]  # [picture]; what was not found stands as it was stated
    places: tuple[int, ...] = ()  # of the pictures whose name is another one now
    ways: tuple[str, ...] = ()  # [place] what was different: "folders", "accents"
    missing: tuple[int, ...] = ()  # places of the pictures that were not found


def respell(folder: Path, names: Sequence[str]) -> Respelt:
    """Find the file of each name.

    As long as every picture is there, each folder is listed once and nothing else is read. A name never leaves the
    folder: ``../x.jpg`` and ``/x.jpg`` are looked for as ``x.jpg``, even where such a file exists.

    Args:
        folder: where the pictures are.
        names: ``[picture]`` paths relative to it, with slashes, as they are stated.
    """
    gone = absent(folder, names)
    if not gone or folder.parent == folder:  # nobody wants a whole disk to be searched
        return Respelt(names, missing=tuple(gone))
    wanted = {names[place] for place in gone}
    found = _matches({name for name in wanted if not several(name)}, _files(folder))
    claims = Counter(found.values()) + Counter(set(names) - wanted)
    found = {name: file for name, file in found.items() if claims[file] == 1}
    places = tuple(place for place in gone if names[place] in found)
    respelt = list(names)
    for place in places:
        respelt[place] = found[names[place]]
    return Respelt(
        names=respelt,
        places=places,
        ways=tuple(_difference(names[place], found[names[place]]) for place in places),
        missing=tuple(place for place in gone if names[place] not in found),
    )


def several(name: str) -> bool:
    """Whether a name is those of several pictures: ``a/1.jpg,a/2.jpg``, or lines whose ends were lost.

    Folders can be called so. A name under which there is a picture means that picture, whatever this says.
    """
    return _PICTURE_BEFORE_A_FOLDER.search(name) is not None


def on_one_line(line: str) -> str:
    """What to say of such a line of a list."""
    return f"several pictures stand on one line, {line!r:.60}; write each on a line of its own"


def respelt(raw: RawSplit) -> RawSplit:
    """The same split with the names that its files have; what was changed is a finding, and what is missing is noted.

    A name that leads out of the folder is refused, and so that nobody reads what it leads to, its picture is dropped.
    Absolute names, which no folder goes before, stay.
    """
    names = list(raw.images.names())
    if raw.images.folder == Path():
        return replace(raw, missing=tuple(absent(Path(), names)))
    folder = raw.images.folder
    found = respell(folder, names)
    out = np.array([place for place in found.missing if _reaches(folder, names[place])], dtype=np.int64)
    if len(out):
        texts = [f"image {raw.images.ids[place]}: {led_out(names[place], folder)}" for place in out.tolist()]
        kept = np.ones(len(names), dtype=np.bool_)
        kept[out] = False
        raw = raw.only(kept)
        return respelt(replace(raw, findings=[*raw.findings, said(ENTRY_MALFORMED, raw.part, texts)]))
    raw = replace(raw, missing=found.missing)
    if not found.places:
        return raw
    old = raw.images
    images = Images.named(old.folder, old.ids, old.sizes, found.names, old.stored)
    details = [f"{names[place]} ({way})" for place, way in zip(found.places, found.ways, strict=True)]
    finding = raw.finding(PICTURE_RESPELT, "images", np.array(found.places, dtype=np.int64), details)
    return replace(raw, images=images, findings=[*raw.findings, finding])


def absent(folder: Path, names: Sequence[str]) -> list[int]:
    """Places of the names without a file, by one listing per folder; a name that leaves the folder has none.

    Without a folder (``Path()``), names are what they are.
    """
    there: set[str] = set()
    for start in {name[: name.rfind("/") + 1] for name in names}:
        if folder == Path() or not leaves(folder, start):
            there.update(f"{start}{entry}" for entry in _listing(folder / start))
    if there.issuperset(names):  # as nearly always: a million names are looked up without a loop in Python
        return []
    return [place for place, name in enumerate(names) if name not in there]


def of_that_name(folder: Path, name: str) -> list[str]:
    """The files below a folder that a name may mean by its last part, relative to it, sorted."""
    if folder in (Path(), Path(folder.anchor)):  # nobody wants a whole disk to be searched
        return []
    wanted = _folded(name).rpartition("/")[2]
    return sorted(file for file in _files(folder) if _folded(file).rpartition("/")[2] == wanted)


def _reaches(folder: Path, name: str) -> bool:
    """Whether a name leads out of a folder; a path of another machine, which leads nowhere here, does not."""
    return leaves(folder, name) and (not name.startswith("/") or os.path.lexists(name))


def _listing(folder: Path) -> Sequence[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  # a million of them
    except (OSError, ValueError):  # no such folder, or a name that no folder can have
        return ()


def _files(folder: Path) -> Iterator[str]:
    """Every file below a folder, relative to it, with slashes; linked folders are followed once."""
    seen: set[str] = set()
    for place, inner, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = [name for name in inner if not name.startswith(".") and name not in _JUNK]
        start = Path(place).relative_to(folder).as_posix()
        yield from (name if start == "." else f"{start}/{name}" for name in files if not name.startswith("."))


def _parts(name: str) -> str:
    """With slashes, without what means nothing, from where it last leaves a folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    while ".." in parts:
        parts = parts[parts.index("..") + 1 :]
    return "/".join(parts)


def _unescaped(name: str) -> str:
    return _parts(unquote(name, errors="surrogateescape"))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", _unescaped(name))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", _composed(name).casefold())


# What may be different, from the smallest difference to the largest; each includes the ones before.
_WAYS = (("", _parts), ("URL escapes", _unescaped), ("accents", _composed), ("case", _folded))


def _matches(wanted: Set[str], files: Iterable[str]) -> dict[str, str]:
    """Name → the one file that it can mean."""
    names = {name: _folded(name) for name in wanted}
    spelt = set(names.values())
    whole: defaultdict[str, list[str]] = defaultdict(list)  # spelling → files
    ending: defaultdict[str, list[str]] = defaultdict(list)  # wanted spelling → files that end like this
    for file in files:
        tails = list(_tails(_folded(file)))
        whole[tails[0]].append(file)
        for tail in tails:
            if tail in spelt:
                ending[tail].append(file)
    matches = {}
    for name, text in names.items():
        longest = ending.get(text) or next((whole[tail] for tail in _tails(text) if tail in whole), [])
        one = longest[0] if len(longest) == 1 else _closest(name, longest)
        if one is not None:
            matches[name] = one
    return matches


def _tails(path: str) -> Iterator[str]:
    """A path, then without its first folder, and so on."""
    while path:
        yield path
        path = path.partition("/")[2]


def _closest(name: str, files: Sequence[str]) -> str | None:
    """Of files whose paths are the same but for their spelling, the one that is spelt most like the name."""
    if len(set(map(_folded, files))) == 1:
        for _, plain in _WAYS:
            like = [file for file in files if _alike(plain(name), plain(file))]
            if like:
                return like[0] if len(like) == 1 else None
    return None


def _alike(one: str, other: str) -> bool:
    """Whether one path is the other without its first folders."""
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def _difference(name: str, file: str) -> str:
    way = next(way for way, plain in _WAYS if _alike(plain(name), plain(file)))
    ways = [way] if way else []
    if "\\" in name:
        ways.append("backslashes")
    if not ways or _folded(name) != _folded(file):
        ways.append("folders")
    return ", ".join(ways)
