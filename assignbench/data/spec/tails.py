"""Paths that were true on another machine: which part of them exists here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

LOOKED_UP = 20  # paths of a list that show what stands before the part that exists here


def existing_tail(base: Path, stated: str) -> Path | None:
    """The longest tail of a path that exists below a folder: ``/home/me/set/images/train`` → ``BASE/images/train``."""
    parts = _parts(stated)
    for first in range(len(parts)):
        path = base.joinpath(*parts[first:])
        if _exists(path):
            return path
    return None


def prefix_length(bases: Sequence[Path], stated: Sequence[str]) -> tuple[Path, int] | None:
    """What the paths of a list are relative to here, when they are not what they say.

    Args:
        bases: folders to try: that of the list, that of the data set.
        stated: paths as a list states them, all from one machine.

    Returns:
        The folder, and how many leading parts of each path to drop (as `parts_of` counts them), so that most of the
        first and last paths exist; None when none does.
    """
    shown = [_parts(path) for path in (*stated[: LOOKED_UP // 2], *stated[-LOOKED_UP // 2 :])]
    best, most = None, 0
    for base in bases:
        for drop in range(max(map(len, shown), default=0)):
            hits = sum(len(parts) > drop and _exists(base.joinpath(*parts[drop:])) for parts in shown)
            if hits > most:
                best, most = (base, drop), hits
    return best


def parts_of(stated: str) -> tuple[str, ...]:
    """The parts of a path, however its system writes it, without ``.``, ``..`` and a drive."""
    return tuple(_parts(stated))


def _parts(stated: str) -> list[str]:
    parts = PurePosixPath(stated.replace("\\", "/")).parts
    return [part for part in parts if part not in ("/", "//", ".", "..") and not part.endswith(":")]


def _exists(path: Path) -> bool:
    try:
        return os.path.exists(path)  # noqa: PTH110  # never fails on what is no path
    except ValueError:
        return False
