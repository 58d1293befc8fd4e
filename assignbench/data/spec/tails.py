"""Paths that were true on another machine: which part of them exists here."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def existing_tail(base: Path, stated: str) -> Path | None:
    """The longest tail of a path that exists below a folder: ``/home/me/set/images/train`` → ``BASE/images/train``."""
    parts = _parts(stated)
    for first in range(len(parts)):
        path = base.joinpath(*parts[first:])
        if _exists(path):
            return path
    return None


def _parts(stated: str) -> list[str]:
    parts = PurePosixPath(stated.replace("\\", "/")).parts
    return [part for part in parts if part not in ("/", "//", ".", "..") and not part.endswith(":")]


def _exists(path: Path) -> bool:
    try:
        return os.path.exists(path)  # noqa: PTH110  # never fails on what is no path
    except ValueError:
        return False
