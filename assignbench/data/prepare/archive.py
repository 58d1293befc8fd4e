"""What is in an archive: zip, tar or gzipped tar behind one face; damage is named, never a traceback."""

from __future__ import annotations

import contextlib
import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from assignbench.disk import explained
from assignbench.errors import DataError

BLOCK = 1 << 20  # bytes

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,  # names that are not text, negative offsets
    NotImplementedError,  # a compression that zipfile does not know
)


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    size: int  # bytes
    folder: bool
    odd: str  # what it is, if neither file nor folder: "" for those
    open: Callable[[], IO[bytes] | None]


@contextlib.contextmanager
def members(archive: Path) -> Iterator[tuple[int | None, Iterator[Member]]]:
    """Open a .zip, .tar, .tar.gz or .tgz.

    Yields:
        Bytes of all contents, where the archive says it beforehand, and the entries in their order; each must be
        read before the next is asked for.

    Raises:
        DataError: the file is damaged or not such an archive.
    """
    name = archive.name.lower()
    with intact(archive):
        if name.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                yield sum(info.file_size for info in opened.infolist()), _of_zip(opened)
        elif name.endswith(".tar"):
            with tarfile.open(archive, "r:") as opened:
                yield archive.stat().st_size, _of_tar(opened)
        else:
            with tarfile.open(archive, "r:gz") as opened:
                yield None, _of_tar(opened)


def blocks(archive: Path, member: Member) -> Iterator[bytes]:
    """The content of a file in an archive.

    Raises:
        DataError: it is damaged, or not as long as the archive says.
    """
    done = 0
    with intact(archive):
        source = member.open()
        if source is None:
            raise EOFError(f"{member.name!r} has no content")
        with source:
            while block := source.read(BLOCK):
                done += len(block)
                yield block
        if done != member.size:
            raise EOFError(f"{member.name!r} has {done:,} of {member.size:,} bytes")


@contextlib.contextmanager
def intact(archive: Path) -> Iterator[None]:
    """Turn every sign of damage into an error that names the archive.

    Raises:
        DataError: damaged.
        SystemProblem: it cannot be read.
    """
    with explained(archive, "read"):
        try:
            yield
        except _DAMAGED as error:
            reason = str(error) or type(error).__name__
            raise DataError(f"{archive} is damaged: {reason}; remove it to have it fetched again") from error


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16  # as Unix writes it; 0 where another system made the archive
        odd = "a link" if stat.S_ISLNK(mode) else "an encrypted file" if info.flag_bits & 1 else ""
        yield Member(info.filename, info.file_size, info.is_dir(), odd, lambda info=info: archive.open(info))


def _of_tar(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        odd = ""
        if info.issym() or info.islnk():
            odd = "a link"
        elif info.issparse() or not (info.isreg() or info.isdir()):
            odd = "something that is neither file nor folder"
        size = 0 if info.isdir() else info.size
        yield Member(info.name, size, info.isdir(), odd, lambda info=info: archive.extractfile(info))
    # The library ends at the first header that it cannot read, as if it were the end; and only at the end of a
    # gzip stream its checksum is compared.
    rest = archive.fileobj
    while rest is not None and (block := rest.read(BLOCK)):
        if block.strip(b"\0"):
            raise tarfile.ReadError("what follows the last readable entry is not the end of an archive")
