"""JSON-lines logs that survive a kill: a line is whole or it is cut off on the next start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assignbench.errors import SystemProblem
from assignbench.run.files import write_text_atomic


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row.

    Raises:
        SystemProblem: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
    except OSError as error:
        raise SystemProblem(f"cannot write {path}: {error.strerror or error}") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole rows; a last one that was cut off by a kill is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def keep_lines(path: Path, iteration: int) -> None:
    """Drop the rows after an iteration: what a resumed run is about to write again."""
    if path.is_file():
        rows = [row for row in read_lines(path) if row["iteration"] <= iteration]
        write_text_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))
