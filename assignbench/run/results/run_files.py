"""The files beside a record: how large they are and what their digests are, as the record lists them.

Both are looked at when it is asked whether a run is done, and digests again when a file is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assignbench.errors import RunError
from assignbench.files import sha256_of
from assignbench.run.results.record import FileFacts, RunRecord


def facts_of(folder: Path, names: Sequence[str]) -> Mapping[str, FileFacts]:
    """What a record lists of the files of its folder.

    Raises:
        RunError: one is missing or cannot be read.
    """
    digests = {name: sha256_of(folder / name) for name in names}
    return {name: FileFacts(bytes=(folder / name).stat().st_size, sha256=digests[name]) for name in names}


def lost(folder: Path, record: RunRecord, names: Sequence[str]) -> dict[str, str]:
    """Name → what is wrong with it, of every file that is gone or not as the record says.

    Args:
        folder: of the run.
        record: of the run.
        names: the files that any run has; those that the record lists are looked at, too.
    """
    found = {}
    for name in dict.fromkeys((*names, *record.files)):
        facts, file = record.files.get(name), folder / name
        if not file.is_file():
            found[name] = "is gone"
        elif facts is not None and facts.bytes != file.stat().st_size:
            found[name] = f"has {file.stat().st_size} bytes in place of {facts.bytes}"
        elif facts is not None and facts.sha256 != sha256_of(file):
            found[name] = "was altered: its sha256 is not the record's"
    return found


def as_recorded(folder: Path, record: RunRecord, name: str) -> Path:
    """A file that is about to be read, as it was when the record was written.

    Raises:
        RunError: it was changed, or is gone though the record lists it.
    """
    facts, file = record.files.get(name), folder / name
    if facts is not None and sha256_of(file) != facts.sha256:
        raise RunError(f"{file} was altered: its sha256 is not the record's; put it back, or repeat the run elsewhere")
    return file
