"""JSON-lines logs that survive a kill: a line is whole or it is cut off on the next start."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assignbench.disk import explained
from assignbench.errors import RunError, SystemProblem
from assignbench.files import read_regular, replaceable, sha256_of, write_text_atomic
from assignbench.run.results.names import COMMON

LARGEST = 1e300  # of what a log holds: also no NaN and no infinity


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
        RunError: a row is damaged, or the file cannot be read.
    """
    if not os.path.lexists(path):
        return []
    try:
        text = read_regular(path)
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}; move its folder away and run again") from error
    if odd := [number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)]:
        raise RunError(f"{path}, line {odd[0]}: it is no JSON object; move its folder away and run again")
    return rows


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a training: each names its iteration, and holds numbers or null.

    Raises:
        RunError: as `read_lines`, or one does not.
    """
    rows = read_lines(path)
    for line, row in enumerate(rows, start=1):
        if not is_row(row):
            raise RunError(
                f"{path} is damaged: line {line} is no iteration with numbers; move its folder away and run again"
            )
    return rows


def is_row(row: Any) -> bool:
    """Whether a line of a log names its iteration and holds numbers; neither true nor "1" is one, nor is NaN."""
    return (
        isinstance(row, dict)
        and type(row.get("iteration")) is int
        and all(value is None or (type(value) in (int, float) and abs(value) < LARGEST) for value in row.values())
    )


def is_validation(row: Mapping[str, Any]) -> bool:
    """Whether a row of a log of losses is of the evaluation split: those of training have a learning rate."""
    return "lr" not in row and f"{COMMON}total" in row


class Log:
    """The rows of one training, which this process alone adds to.

    It holds the file open and knows its digest, so that no other one can pass for it: a file that was removed,
    replaced, cut or altered is not what the training has said, and a run without that must not look whole.
    """

    def __init__(self, path: Path, iteration: int = 0, digest: str | None = None) -> None:
        """Go on after an iteration: rows that the checkpoint does not know are dropped, and are written again.

        From a row on that is no row nothing is kept: a power cut leaves such ends.

        Args:
            path: of the file; it is made.
            iteration: that the last checkpoint is of; no later row is kept.
            digest: of what is kept, as the checkpoint says; None: it does not say.

        Raises:
            RunError: what is kept is not what the checkpoint was made with; the file is untouched then.
            SystemProblem: it cannot be written.
        """
        kept = _rows_until(path, iteration, digest)
        self._digest = hashlib.sha256(kept)
        if digest not in (None, self._digest.hexdigest()):
            raise RunError(
                f"{path} was cut or altered after the checkpoint at iteration {iteration}\n"
                f"put it back, or remove {path.parent} to begin anew"
            )
        write_text_atomic(path, kept.decode())
        self.path, self._size = path, len(kept)
        with explained(path):
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row.

        Raises:
            RunError: as `require`.
            SystemProblem: it cannot be written.
        """
        self.require()
        with explained(self.path):
            line = json.dumps(row, allow_nan=False).encode() + b"\n"
            written = os.write(self._file, line)
            self._size += written
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._digest.update(line)

    def require(self) -> None:
        """Whether the file is the one that this process writes, as long as it has made it.

        Raises:
            RunError: it is not there, another one, or has another size.
        """
        try:
            there = self.path.stat()
        except OSError:
            there = None
        own = os.fstat(self._file)
        if there is None or not os.path.samestat(there, own) or own.st_size != self._size:
            raise taken_away(self.path, "move its folder away and run again")

    def settled(self) -> str:
        """Bring it to the disk, and give its digest.

        Raises:
            RunError: as `require`; or it was altered in its place.
            SystemProblem: the disk refuses.
        """
        self.require()
        with explained(self.path):
            os.fsync(self._file)
        if sha256_of(self.path) != self._digest.hexdigest():
            raise taken_away(self.path, "move its folder away and run again")
        return self._digest.hexdigest()


def _rows_until(path: Path, iteration: int, digest: str | None) -> bytes:
    """The whole rows of a log up to an iteration, and no more of them than have a digest; of no file, none."""
    kept, known = b"", hashlib.sha256()
    if path.is_file():
        with contextlib.suppress(ValueError, RecursionError):
            for line in path.read_bytes().splitlines(keepends=True):
                row = json.loads(line)
                own = row["iteration"] if is_row(row) else None
                if own is None or own > iteration or not line.endswith(b"\n"):
                    break
                # one of this iteration that was written behind its checkpoint: validation that a stop had put off
                if own == iteration and known.hexdigest() == digest:
                    break
                kept += line
                known.update(line)
    return kept


def taken_away(path: Path, advice: str) -> RunError:
    """The error that a run ends with whose files somebody takes away."""
    return RunError(f"{path} was removed or changed while the run was at work; {advice}")
