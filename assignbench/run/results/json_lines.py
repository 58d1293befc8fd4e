"""JSON-lines logs that survive a kill: a line is whole or it is cut off on the next start."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assignbench.errors import RunError, SystemProblem
from assignbench.files import replaceable, write_text_atomic


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row, in the place of a last one that a kill cut off.

    Raises:
        SystemProblem: it cannot be written.
    """
    try:
        replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            if file.read() not in (b"", b"\n"):
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
            file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
    except OSError as error:
        raise SystemProblem(f"cannot write {path}: {error.strerror or error}") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole rows; a last one that was cut off by a kill is left out.

    Raises:
        RunError: a row is damaged.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}; move its folder away and run again") from error


def keep_lines(path: Path, iteration: int, digest: str | None = None) -> None:
    """Drop the rows after an iteration: what a resumed run is about to write again.

    From a row on that is no row nothing is kept: a power cut leaves such ends.

    Args:
        path: the log; it need not be there.
        iteration: of the last row to keep.
        digest: what `settled` said when these rows were all that there was; None: there were none.

    Raises:
        RunError: they are no longer those; the file stays as it is.
        SystemProblem: it cannot be written.
    """
    kept = b""
    with contextlib.suppress(ValueError, KeyError, TypeError, FileNotFoundError):
        for line in path.read_bytes().splitlines(keepends=True):
            if json.loads(line)["iteration"] <= iteration and line.endswith(b"\n"):
                kept += line
    if digest is not None and hashlib.sha256(kept).hexdigest() != digest:
        raise RunError(
            f"{path} was cut or altered after the checkpoint at iteration {iteration}\n"
            f"put it back, or remove {path.parent} to begin anew"
        )
    if path.is_file():
        write_text_atomic(path, kept.decode())


def settled(path: Path) -> str:
    """Bring what was appended to the disk, and give the digest of all of it; of no file, that of an empty one.

    Raises:
        SystemProblem: the disk does not take it.
    """
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return hashlib.sha256().hexdigest()
    except OSError as error:
        raise SystemProblem(f"cannot write {path}: {error.strerror or error}") from error
