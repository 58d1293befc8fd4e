"""Files that are either the old one or the new one, never half of one.

A file is written beside its destination, flushed to the disk and renamed over it; a process that is killed at
any instant leaves at most a ``.tmp`` file behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from assignbench.errors import RunError, SystemProblem


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text so that ``path`` always holds one whole version; missing folders are made.

    Raises:
        SystemProblem: the disk is full, the folder is read-only, …; the old file is untouched.
    """
    # Not the tempfile module: its files are private (mode 600) and would stay so after the rename.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise SystemProblem(
            f"cannot write {path}: {reason}; check space and permissions, or choose another --output"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # gone after the rename; on a failed disk nothing can be removed
            temporary.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder that files can be written into.

    Raises:
        SystemProblem: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(4)}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SystemProblem(
            f"cannot write into {folder}: {error.strerror or error}; choose another --output"
        ) from error


def write_json_atomic(path: Path, content: Any) -> None:
    """Write one JSON document, atomically.

    Raises:
        RunError: a number is NaN or infinite; JSON has no such numbers. The message names its key.
        SystemProblem: as `write_text_atomic`.
    """
    try:
        text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=2)
    except ValueError as error:
        raise RunError(f"cannot write {path}: {_not_finite(content) or 'a value'} is not a finite number") from error
    write_text_atomic(path, text + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file; NaN and infinity are refused as the writer refuses them.

    Raises:
        RunError: the file is missing, unreadable or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both of this kind
        raise RunError(f"{path} is damaged, not valid JSON: {error}") from error


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file's bytes.

    Raises:
        RunError: the file is missing or unreadable.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")


def _not_finite(content: object, where: str = "") -> str | None:
    """Dotted key of the first number that is not finite."""
    if isinstance(content, float):
        return None if math.isfinite(content) else where
    if isinstance(content, Mapping):
        items = content.items()
    elif isinstance(content, Sequence) and not isinstance(content, str):
        items = enumerate(content)
    else:
        return None
    return next((found for key, value in items if (found := _not_finite(value, f"{where}.{key}".lstrip(".")))), None)
