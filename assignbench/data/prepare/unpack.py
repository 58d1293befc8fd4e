"""An archive into a folder; whatever could write elsewhere, or fill the disk, is refused."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assignbench.data.prepare.archive import Member, blocks, members
from assignbench.data.prepare.report import Report
from assignbench.data.spec.sources import ARCHIVES, is_below
from assignbench.disk import explained, human, require_room
from assignbench.errors import DataError

RATIO = 100  # content to archive, at most; annotations in JSON reach 10 to 20
FLOOR = 16_000_000  # bytes that any archive may hold
HEADER = 512  # bytes that an entry counts besides its content: a million empty ones are too many, too


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive."""

    files: int
    bytes: int
    left_out: int  # files that macOS puts into archives: __MACOSX, .DS_Store, ._*


def unpack(archive: Path, folder: Path, report: Report) -> Unpacked:
    """Write the content of an archive into a new folder.

    Args:
        archive: .zip, .tar, .tar.gz or .tgz; any other file is copied.
        folder: is made.
        report: is told the bytes written so far.

    Raises:
        DataError: the archive is damaged or holds a link, a device, a path that leaves the folder, or far
            more than its own size.
        SystemProblem: there is not enough room, the folder is not writable, …
    """
    with explained(archive, "read"):
        size = archive.stat().st_size
    with explained(folder):
        folder.mkdir(parents=True)
    if not archive.name.lower().endswith(ARCHIVES):
        require_room(folder, size, f"a copy of {archive.name}")
        with explained(folder):
            shutil.copyfile(archive, folder / archive.name)
        return Unpacked(1, size, 0)
    files = written = left_out = taken = 0
    with members(archive) as (total, entries):
        _refuse_excess(archive, total or 0, size)
        require_room(folder, size if total is None else total, f"unpacking {archive.name}")
        with report.track(f"unpacking {archive.name}", total) as advance:
            for member in entries:
                path = _checked(archive, member)
                taken += HEADER + member.size
                _refuse_excess(archive, taken, size)
                if _of_macos(path):
                    left_out += not member.folder
                elif member.folder:
                    with explained(folder / path):
                        (folder / path).mkdir(parents=True, exist_ok=True)
                else:
                    written += _write(archive, member, folder / path)
                    files += 1
                    advance(written)
    return Unpacked(files, written, left_out)


def _checked(archive: Path, member: Member) -> PurePosixPath:
    """The path of an entry below the folder."""
    if member.odd:
        raise DataError(f"{archive} holds {member.odd}, {member.name!r}; nothing of it was kept")
    if not is_below(member.name):
        raise DataError(f"{archive} holds {member.name!r}, which leaves its folder; nothing of it was kept")
    return PurePosixPath(member.name)


def _refuse_excess(archive: Path, content: int, size: int) -> None:
    if content > RATIO * size + FLOOR:
        raise DataError(
            f"{archive} ({human(size)}) holds {human(content)} or more, over {RATIO} times its size; "
            "nothing of it was kept"
        )


def _of_macos(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")


def _write(archive: Path, member: Member, target: Path) -> int:
    """One file; returns its bytes."""
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for block in blocks(archive, member):
                file.write(block)
            return file.tell()
