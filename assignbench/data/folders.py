"""Which files of a folder are pictures, which are left aside, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assignbench.errors import DataError

# What Pillow opens without plugins; the content decides, so a suffix of another format does no harm.
# fmt: off
SUFFIXES = frozenset((
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
))
# Pictures all the same: of telephones, cameras, scanners and drawing programs.
UNREADABLE_SUFFIXES = frozenset((
    ".arw", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".hdr", ".heic", ".heif", ".hif", ".jxl", ".nef", ".orf", ".pef",
    ".raf", ".rw2", ".srw", ".svg",
))
# fmt: on

HIDDEN = "hidden picture"
SYSTEM = "file of an operating system"
UNREADABLE = "picture of a kind that cannot be read, convert it to JPEG"
SPECIAL = "device or pipe"
LINKED = "linked folder that holds this one or was read already"

_OF_TOOLS = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"))
_OF_SYSTEMS = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store"))


@dataclass(frozen=True)
class Found:
    """The files below a folder."""

    paths: tuple[Path, ...]  # pictures, sorted
    left_aside: Mapping[str, tuple[Path, ...]]  # why (`HIDDEN`, `SYSTEM`, …) → files, sorted; empty kinds are absent
    others: tuple[Path, ...]  # neither pictures nor left aside, sorted: labels, lists, …


def is_picture(name: str | os.PathLike[str]) -> bool:
    """Whether a file's name says that it is a picture that can be read."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122  # a million of them


def leaves(folder: Path, name: str) -> bool:
    """Whether a name that stands in an annotation file leads out of a folder: by ``..``, or to another place at all.

    Links that lie in the folder are its owner's doing, and are followed.
    """
    if os.name == "nt" and (":" in name or "\\" in name):
        return True
    own = f"{os.path.abspath(folder).rstrip('/')}/"  # noqa: PTH100  # links stay links
    return ".." in name.split("/") or (name.startswith("/") and not name.startswith(own))


def led_out(name: str, folder: Path) -> str:
    """What is said of such a name."""
    return f"the name {name!r:.200} leads out of {folder}; write a path below that folder"


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is a tool's own: ``._x.jpg``, ``.ipynb_checkpoints``, ``__MACOSX``."""
    return name.startswith(".") or name in _OF_TOOLS


def pictures_below(folder: Path) -> Found:
    """Look through a folder and all folders in it, linked ones, too, each once.

    Of a folder that can be reached in two ways, the way without links counts, then the first by name. A link to
    a folder that holds this one is not followed: it would bring the other splits.

    Raises:
        DataError: a folder cannot be read.
    """
    paths: list[Path] = []
    others: list[Path] = []
    aside: dict[str, list[Path]] = {}
    above = {_identity(place) for place in (folder.resolve(), *folder.resolve().parents)}
    seen: set[tuple[int, int]] = set()
    linked = [(folder, False)]
    while linked:
        place, hidden = linked.pop(0)
        identity = _identity(place)
        if place != folder and (identity in above or identity in seen):
            aside.setdefault(LINKED, []).append(place)
            continue
        waiting = [(place, hidden)]
        while waiting:
            place, hidden = waiting.pop()
            if (identity := _identity(place)) in seen:
                continue
            seen.add(identity)
            for entry in _entries(place):
                path, unseen = Path(entry.path), hidden or is_hidden(entry.name)
                if entry.is_dir():
                    (linked if entry.is_symlink() else waiting).append((path, unseen))
                elif (why := _why_aside(entry.name, unseen)) is not None:
                    aside.setdefault(why, []).append(path)
                elif is_picture(entry.name):
                    special = not entry.is_file() and os.path.exists(path)  # noqa: PTH110  # a broken link is missing
                    (aside.setdefault(SPECIAL, []) if special else paths).append(path)
                elif not unseen:
                    others.append(path)
    kinds = {why: tuple(sorted(files)) for why, files in sorted(aside.items())}
    return Found(tuple(sorted(paths)), kinds, tuple(sorted(others)))


def aside_in(found: Found) -> list[str]:
    """Pictures and folders that are left aside, with the reason; files of operating systems are none."""
    return [f"{path}: {why}" for why, paths in found.left_aside.items() if why != SYSTEM for path in paths]


def _why_aside(name: str, hidden: bool) -> str | None:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  # as above
    if name.lower() in _OF_SYSTEMS:
        return SYSTEM
    if hidden and suffix in SUFFIXES | UNREADABLE_SUFFIXES:
        return HIDDEN
    return UNREADABLE if suffix in UNREADABLE_SUFFIXES else None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError as error:
        raise DataError(f"there is no folder {folder}") from error
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from error


def _identity(folder: Path) -> tuple[int, int]:
    """The same for all ways to a folder."""
    try:
        status = folder.stat()
    except FileNotFoundError as error:
        raise DataError(f"there is no folder {folder}") from error
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from error
    return status.st_dev, status.st_ino
