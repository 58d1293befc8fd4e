"""Whether a file is the one that its publisher means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from assignbench.data.prepare.report import Report
from assignbench.data.spec.sources import Source
from assignbench.disk import explained

BLOCK = 1 << 20  # bytes


class WrongBytesError(Exception):
    """A file is whole, but not the published one."""


def known_digest(source: Source) -> tuple[str, str] | None:
    """Kind and value of the strongest checksum that is known."""
    for kind, value in (("sha256", source.sha256), ("md5", source.md5)):
        if value is not None:
            return kind, value
    return None


def identity(source: Source) -> str:
    """Size and checksum in words."""
    digest = known_digest(source)
    size = "size not known" if source.size is None else f"{source.size:,} bytes"
    return f"{size}, {' '.join(digest) if digest else 'no checksum published'}"


def check_file(file: Path, source: Source, report: Report) -> None:
    """Compare size and checksum with what is published.

    Raises:
        WrongBytesError: naming what was expected and what was found.
        SystemProblem: the file cannot be read.
    """
    with explained(file, "read"):
        size = file.stat().st_size
        if source.size is not None and size != source.size:
            raise WrongBytesError(f"{size:,} bytes, expected {source.size:,}")
        digest = known_digest(source)
        if digest is None:
            return
        kind, expected = digest
        with report.track(f"checking {source.file}", size) as advance:
            found = digest_of(file, kind, advance)
    if found != expected:
        raise WrongBytesError(f"{kind} {found}, expected {expected}")


def digest_of(file: Path, kind: str, advance: Callable[[int], None]) -> str:
    """Hexadecimal digest of a file's bytes."""
    digest = hashlib.new(kind, usedforsecurity=kind != "md5")
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
            advance(opened.tell())
    return digest.hexdigest()
