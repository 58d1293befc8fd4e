"""The disk: how much is free, and what the system's errors mean to a person."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from assignbench.errors import SystemProblem


def human(count: int | None) -> str:
    """Bytes as people write them: ``19.3 GB``; powers of 1000."""
    if count is None:
        return "unknown size"
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            break
    return f"{value:.1f} {unit}"


def existing(path: Path) -> Path:
    """The path, or its nearest parent that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def free_bytes(path: Path) -> int:
    """Free bytes of the disk on which a path is, or would be."""
    return shutil.disk_usage(existing(path)).free


def require_room(path: Path, count: int, what: str) -> None:
    """Refuse to start what cannot end.

    Raises:
        SystemProblem: fewer bytes are free where ``path`` is.
    """
    with explained(path, "reach"):
        free = free_bytes(path)
    if free < count:
        raise SystemProblem(
            f"{what} needs {human(count)}, but only {human(free)} are free on the disk of {existing(path)}; "
            "free space or choose another --output or --data-root"
        )


@contextlib.contextmanager
def explained(path: Path, what: str = "write") -> Iterator[None]:
    """Turn what the system says of a file into an error that names it.

    Raises:
        SystemProblem: for every OSError of the block: disk full, no permission, …
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise SystemProblem(
            f"cannot {what} {path}: a file lies where a folder is needed; name another folder"
        ) from error
    except OSError as error:
        raise SystemProblem(
            f"cannot {what} {path}: {error.strerror or error}; check space and permissions, or choose another folder"
        ) from error
