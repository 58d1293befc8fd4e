"""A published file onto the disk: resumed, retried, checked, and in its place only when it is whole."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from assignbench.data.prepare.digest import WrongBytesError, check_file, known_digest
from assignbench.data.prepare.report import Report
from assignbench.data.prepare.web import FinalError, PassingError, Version, ask
from assignbench.data.spec.sources import Source
from assignbench.disk import explained, human, require_room
from assignbench.errors import DataError, RunError
from assignbench.files import read_json, replaceable, write_json_atomic


class UnavailableError(Exception):
    """No address gives the file.

    Attributes:
        network: it may be the network's fault, not the publisher's.
    """

    def __init__(self, reason: str, network: bool) -> None:
        super().__init__(reason)
        self.network = network


@dataclass(frozen=True)
class Patience:
    """When to try again, and when to give up."""

    timeout: float = 30.0  # seconds without a byte
    tries: int = 6  # in a row without progress, at one address
    hopeless: int = 2  # the same, when there is no way to the server at all
    pause: float = 1.0  # seconds before the second try; doubled with every further one
    longest: float = 30.0  # seconds
    progress: int = 1 << 20  # bytes further than ever before: the count of tries starts again


@dataclass(frozen=True)
class Part:
    """The beginning of a file, and beside it a note of which version it is the beginning of."""

    file: Path
    note: Path

    @staticmethod
    def of(target: Path) -> Part:
        """Where the beginning of a file is kept."""
        return Part(target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json"))

    def length(self) -> int:
        """Bytes that are there."""
        return self.file.stat().st_size if self.file.is_file() else 0

    def begin(self, url: str, version: Version, total: int | None) -> None:
        """Empty, for another version; in this order, so that a kill in between leaves no bytes of the old one."""
        self.file.write_bytes(b"")
        write_json_atomic(self.note, {"url": url, "etag": version.etag, "modified": version.modified, "total": total})

    def begun(self, url: str, *, checked: bool) -> tuple[Version, int | None] | None:
        """Version and size of what was begun; None: its bytes must not be continued from this address.

        Args:
            url: where the rest would come from.
            checked: a checksum will tell in the end; without one, only a version of the same address may go on.
        """
        try:
            note = read_json(self.note)
        except RunError:  # absent or damaged
            return None
        if not isinstance(note, dict):
            return None
        texts = [note.get(key) for key in ("url", "etag", "modified")]
        total = note.get("total")
        if not all(isinstance(text, str) for text in texts) or not isinstance(total, int | None):
            return None
        origin, etag, modified = map(str, texts)
        version = Version(etag, modified) if origin == url else Version()
        return (version, total) if checked or version.condition else None

    def discard(self) -> None:
        """Forget it all."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(source: Source, target: Path, report: Report, patience: Patience) -> None:
    """Fetch a file from the first of its addresses that gives it.

    Wrong bytes are deleted and fetched once more, from the next address where there is one.

    Raises:
        UnavailableError: no address gives it; what came so far is kept.
        DataError: the bytes are wrong twice.
        SystemProblem: the disk is full, not writable, …; what came so far is kept.
    """
    part, urls = Part.of(target), deque(source.urls)
    failures: list[str] = []
    wrong = 0
    network = False
    with explained(target):
        target = replaceable(target)
        for place in (part.file, part.note):
            replaceable(place)
        target.parent.mkdir(parents=True, exist_ok=True)
    while urls:
        url = urls[0]
        try:
            _fetch(url, source, part, report, patience)
            check_file(part.file, source, report)
        except WrongBytesError as error:
            wrong += 1
            with explained(part.file, "remove"):
                part.discard()
            if wrong == 2:
                raise DataError(f"{source.file}: wrong bytes twice, the last time from {url}: {error}") from error
            report.say(f"{source.file}: wrong bytes from {url}: {error}; deleted, fetching it once more")
            failures.append(f"{url} sent wrong bytes: {error}")
            urls.rotate(-1)
        except (FinalError, PassingError) as error:
            network = network or isinstance(error, PassingError)
            failures.append(f"{url} {error}")
            urls.popleft()
        else:
            with explained(target):
                part.file.replace(target)
                part.note.unlink(missing_ok=True)
            return
    raise UnavailableError(f"{source.file} cannot be downloaded: {'; '.join(dict.fromkeys(failures))}", network)


def _fetch(url: str, source: Source, part: Part, report: Report, patience: Patience) -> None:
    """All bytes of one address, with as many tries as it takes while there is progress."""
    failed, furthest = 0, part.length()
    while True:
        try:
            _transfer(url, source, part, report, patience.timeout)
            return
        except PassingError as problem:
            length = part.length()
            if length >= furthest + patience.progress:
                failed, furthest = 0, length
            failed += 1
            if failed >= (patience.hopeless if problem.unreachable else patience.tries):
                raise
            pause = problem.wait
            if pause is None:
                pause = min(patience.pause * 2 ** (failed - 1), patience.longest)
            kept = f" ({human(length)} are kept)" if length else ""
            report.say(f"{source.file}: {url} {problem}; trying again in {pause:.0f} s{kept}")
            time.sleep(pause)


def _transfer(url: str, source: Source, part: Part, report: Report, timeout: float) -> None:
    """One request: what is missing is appended, or all of it written anew."""
    begun = part.begun(url, checked=known_digest(source) is not None)
    offset = part.length() if begun else 0
    version, total = begun or (Version(), None)
    whole = total or source.size
    if offset and offset == whole:
        return  # killed between the last byte and the check
    if whole is not None and offset > whole:
        offset = 0
    with ask(url, offset=offset, version=version, total=total, timeout=timeout) as answer:
        whole = answer.total if answer.total is not None else source.size
        if source.size is not None and whole != source.size:
            raise WrongBytesError(f"{whole or 0:,} bytes offered, expected {source.size:,}")
        require_room(part.file, (whole or 0) - answer.start, f"downloading the rest of {source.file}")
        with explained(part.file):
            if answer.start == 0:
                part.begin(url, answer.version, answer.total)
            with (
                part.file.open("ab") as file,
                report.track(f"downloading {source.file}", whole, answer.start) as advance,
            ):
                for block in answer.blocks():
                    file.write(block)
                    file.flush()  # a kill loses nothing that came
                    advance(file.tell())
                os.fsync(file.fileno())
    if whole is not None and (length := part.length()) < whole:
        raise PassingError(f"ended the transfer after {length:,} of {whole:,} bytes")
