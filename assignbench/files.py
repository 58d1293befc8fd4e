"""Files that are either the old one or the new one, never half of one.

A file is written beside its destination, flushed to the disk and renamed over it. What a process that is killed leaves
is one ``.NAME.tmp``, which the next that writes the same file takes away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from assignbench.disk import explained
from assignbench.errors import RunError, SystemProblem

ABANDONED = 600.0  # seconds: a temporary file that nobody has written to for so long is a killed process's


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """Where the block is to write a file, whoever writes it; after the block it is ``path``. Missing folders are made.

    Raises:
        SystemProblem: the disk is full, the folder is read-only, …; the old file is untouched.
    """
    with explained(path):
        path = path.resolve() if path.is_symlink() else path  # the file that is meant, not the link to it
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a device or a pipe"
            raise SystemProblem(f"{path} is {what}, not a file; name another one")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _claimed(path)
        try:
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):  # on a failed disk nothing can be removed
                temporary.unlink()
            raise
        _sync_folder(path.parent)


@contextlib.contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: ``path`` must not be there, or be empty, when the block ends.

    Raises:
        SystemProblem: as `written`.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with explained(path):
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        temporary.mkdir(parents=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _sync_folder(path.parent)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text so that ``path`` always holds one whole version; missing folders are made.

    Raises:
        SystemProblem: as `written`.
    """
    with written(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def make_folder(folder: Path) -> None:
    """Make a folder that files can be written into.

    Raises:
        SystemProblem: it cannot be made or written to.
    """
    with explained(folder, "write into"):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(4)}.tmp"
        probe.touch()
        probe.unlink()


def write_json_atomic(path: Path, content: Any) -> None:
    """Write one JSON document, atomically.

    Raises:
        RunError: a number is NaN or infinite; JSON has no such numbers. The message names its key.
        SystemProblem: as `written`.
    """
    try:
        text = json.dumps(content, allow_nan=False, ensure_ascii=False, indent=2)
    except ValueError as error:
        raise RunError(f"cannot write {path}: {_not_finite(content) or 'a value'} is not a finite number") from error
    write_text_atomic(path, text + "\n")


def read_json(path: Path, *, finite: bool = True) -> Any:
    """The content of a JSON file; NaN and infinity are refused as the writer refuses them.

    Args:
        path: the file.
        finite: False: NaN and infinity pass; the caller looks for them and says where they stand.

    Raises:
        RunError: the file is missing, unreadable or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant if finite else None)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
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


def _claimed(path: Path) -> Path:
    """A new file beside ``path``. Not the tempfile module's: those are private (mode 600), after the rename, too."""
    temporary = path.with_name(f".{path.name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        if time.time() - temporary.stat().st_mtime > ABANDONED:
            temporary.unlink()
    try:
        temporary.touch(exist_ok=False)
    except FileExistsError:  # another process writes the same file
        temporary = temporary.with_suffix(f".{secrets.token_hex(4)}.tmp")
        temporary.touch(exist_ok=False)
    return temporary


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
