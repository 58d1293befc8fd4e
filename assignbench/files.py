"""Files that are either the old one or the new one, never half of one.

A file is written in a folder beside its destination, flushed to the disk and renamed over it. What a process that is
killed leaves is one folder ``.NAME.tmp``, which the next that writes the same file takes away. Only regular files are
replaced, and only regular files are read: a device or a pipe is written through, and never waited for.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from assignbench.disk import explained
from assignbench.errors import RunError, SystemProblem

if TYPE_CHECKING:
    from filelock import BaseFileLock

_LOCK = "lock"  # in a folder of what is being written: held as long as its process lives


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """Where the block is to write a file, whoever writes it; after the block it is ``path``. Missing folders are made.

    The new file has the mode that the umask gives, whichever mode the writer has chosen. A link keeps standing for its
    file. A device, a pipe or an open descriptor (``/dev/null``, ``/dev/stdout``, ``>(…)``) gets the bytes in the end
    and stays what it is.

    Raises:
        SystemProblem: the disk is full, the folder is read-only, nobody reads the pipe, …; the old file is untouched.
    """
    with explained(path):
        if is_stream(path):
            with TemporaryDirectory() as folder:
                temporary = Path(folder) / "content"
                temporary.touch()
                yield temporary
                with temporary.open("rb") as file, _stream(path) as stream:
                    shutil.copyfileobj(file, stream)
            return
        path = replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _workplace(path) as folder:
            temporary = folder / path.name
            temporary.touch(exist_ok=False)
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            if stat.S_IMODE(temporary.stat().st_mode) != mode:  # safetensors replaces the file by a private one
                temporary.chmod(mode)
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        _sync_folder(path.parent)


def is_stream(path: Path) -> bool:
    """Whether what is written to a path passes through: a pipe, a character device, or an open descriptor's name."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def replaceable(path: Path) -> Path:
    """The file that may be renamed over: ``path``, or what it is a link to; it need not be there.

    Raises:
        SystemProblem: it is a folder, a device or a pipe.
    """
    path = path.resolve() if path.is_symlink() else path  # the file that is meant, not the link to it
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a device or a pipe"
        raise SystemProblem(f"{path} is {what}, not a file; name another one")
    return path


def require_regular(path: Path) -> None:
    """Before a file is opened whose name is fixed: a pipe could be waited for, and a device read, for ever.

    Raises:
        OSError: it is not there, or neither a file nor a link to one.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))


def open_regular(path: Path) -> BufferedReader:
    """A file to be read as bytes.

    Raises:
        OSError: as `require_regular`, or it cannot be read.
    """
    require_regular(path)
    return path.open("rb")


def read_regular(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        OSError: as `open_regular`.
        UnicodeDecodeError: it is no UTF-8.
    """
    with open_regular(path) as file:
        return file.read().decode()


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
        with TemporaryFile(dir=folder):  # without a name where the system can: a kill leaves nothing
            pass


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
        return json.loads(read_regular(path), parse_constant=_refuse_constant if finite else None)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{path} is damaged, not valid JSON in line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise RunError(f"{path} is damaged, not valid JSON: {error}") from error


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file's bytes.

    Raises:
        RunError: the file is missing or unreadable.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """A new folder beside ``path``, of this process alone, which goes with whatever is left in it.

    Not a mere file: what a writer leaves beside its own file when it is killed is in there, too.
    """
    folder = path.with_name(f".{path.name}.tmp")
    if folder.is_dir():
        remove_deserted(folder)
    lock = _made(folder)
    if lock is None:  # another process writes the same file
        folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # on a failed disk nothing can be removed
        if lock is not None:
            lock.release()


def _made(folder: Path) -> BaseFileLock | None:
    """Make a folder and hold its lock; None: another process has it, or files cannot be locked here."""
    try:
        folder.mkdir()
    except FileExistsError:
        return None
    lock = _tried(folder)
    if lock is None:
        with contextlib.suppress(OSError):
            folder.rmdir()
    return lock


def half_written(folder: Path) -> bool:
    """Whether a folder ``.NAME.tmp`` is one in which `written` writes, and nobody is at it; nothing is changed.

    A folder of a second process, which writes the same file at the same time, has no lock and is none.
    """
    name = folder.name.removeprefix(".").removesuffix(".tmp")
    if folder.name != f".{name}.tmp" or not (folder / _LOCK).is_file():
        return False
    if not all(one.name == _LOCK or name in one.name for one in folder.iterdir()):
        return False
    lock = _tried(folder)
    if lock is not None:
        lock.release()
    return lock is not None


def remove_deserted(folder: Path) -> bool:
    """Take away what a killed process left: its lock is free, which no clock could tell; False: it is not."""
    lock = _tried(folder)
    if lock is None:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    return not folder.exists()


def _tried(folder: Path) -> BaseFileLock | None:
    """The lock of a folder, if it can be had at once."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        return None
    return lock


def _descriptor(path: Path) -> int | None:
    """The open descriptor that a path leads to, as /dev/stdout and /dev/fd/3 do."""
    for _ in range(40):  # links, at most, as systems count them
        folder = os.path.realpath(path.parent)
        if path.name.isdecimal() and folder in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(path.name)
        if not path.is_symlink():
            break
        path = Path(folder, path.readlink())
    return None


def _stream(path: Path) -> BinaryIO:
    """What is written through, opened: an open descriptor goes on where it is, a pipe must have a reader."""
    descriptor = _descriptor(path)
    if descriptor is not None:
        for own in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError, OSError):  # there is none, or it is closed
                own.flush()
        return os.fdopen(os.dup(descriptor), "wb")
    try:
        opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise SystemProblem(f"{path} is a pipe that nobody reads; start its reader first, or name a file") from error
    os.set_blocking(opened, True)
    return os.fdopen(opened, "wb")


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
