"""JSON-lines logs that survive a kill: a line is whole or it is cut off on the next start."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assignbench.errors import RunError, SystemProblem
from assignbench.files import write_text_atomic


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row, in the place of a last one that a kill cut off.

    Raises:
        SystemProblem: it cannot be written.
    """
    try:
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
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}; move its folder away and run again") from error
    if odd := [number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)]:
        raise RunError(f"{path}, line {odd[0]}: it is no JSON object; move its folder away and run again")
    return rows


def keep_lines(path: Path, iteration: int) -> None:
    """Drop the rows after an iteration: what a resumed run is about to write again.

    Raises:
        RunError: a row is damaged.
    """
    if path.is_file():
        rows = read_lines(path)
        if odd := [number for number, row in enumerate(rows, start=1) if type(row.get("iteration")) is not int]:
            raise RunError(f"{path}, line {odd[0]}: it names no iteration; move its folder away and run again")
        rows = [row for row in rows if row["iteration"] <= iteration]
        write_text_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))
