"""Text, code and tables as Markdown."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository, which pages link into
_CODE = re.compile(r"(`+[^`\n]+?`+)")


def prose(text: str) -> str:
    """Plain text as Markdown: what is in backticks stays code, and no other letter means anything."""
    pieces = _CODE.split(text)
    for place, piece in enumerate(pieces):
        code = place % 2 == 1
        pieces[place] = f"`{piece.strip('`')}`" if code else re.sub(r"([\\*_\[\]<>#~])", r"\\\1", piece)
    return "".join(pieces)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [[_cell(cell) for cell in line] for line in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).replace("|", r"\|")


def code(text: object) -> str:
    """A piece of code in a line; nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def yaml_text(value: object) -> str:
    """A value as a recipe or an option has it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_text, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
