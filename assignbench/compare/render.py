"""A table printed: terminal, Markdown, LaTeX for people; CSV and JSON, unrounded, for programs."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from assignbench.compare.table import Block, Cell, Row, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

MISSING = "–"
COLUMNS: tuple[str, ...] = (
    "dataset",
    "strategy",
    "protocol",
    "recipe",
    "metric",
    "mean",
    "std",
    "n",
    "difference",
)


def terminal(table: Table) -> RenderableType:
    """Something for `rich.console.Console.print`."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    parts = []
    for block in table.blocks:
        # Text, not str: rich would read the brackets of "autoassign[tau=0.5]" as markup and drop them.
        grid = RichTable(box=box.SIMPLE_HEAD)
        # Tight, so that six metrics with their spread fit into 80 letters; only names may be folded.
        grid.padding, grid.show_edge = 0, False
        strategy, *numbers = _head(table)
        grid.add_column(strategy, overflow="fold")
        for head in numbers:
            grid.add_column(head, justify="right", no_wrap=True)
        for row in block.rows:
            grid.add_row(*(Text(text.replace(" ± ", "±")) for text in _texts(table, row)))
        parts += [Text(_title(block), style="bold"), grid]  # as rich's own title it would wrap at the grid's width
    return Group(*parts, *(Text(note, style="dim") for note in table.notes))


def markdown(table: Table) -> str:
    """One GitHub table a data set, notes as a list below."""
    lines = []
    for block in table.blocks:
        head = _head(table)
        lines += [f"**{escaped(_title(block))}**", ""]
        lines += [pipes(head), pipes(["---"] + ["---:"] * (len(head) - 1))]
        lines += [pipes([escaped(text) for text in _texts(table, row)]) for row in block.rows]
        lines.append("")
    lines += [f"- {escaped(note)}" for note in table.notes]
    return "\n".join(lines).rstrip("\n") + "\n"


def latex(table: Table) -> str:
    """One `table` environment; the preamble needs the package booktabs."""
    head = _head(table)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(_latex(text) for text in head) + r" \\",
    ]
    for block in table.blocks:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{len(head)}}}{{l}}{{{_latex(_title(block))}}} \\",
            r"\midrule",
        ]
        lines += [" & ".join(_latex(text) for text in _texts(table, row)) + r" \\" for row in block.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def rows(table: Table) -> list[dict[str, str | int | float | None]]:
    """Long form: one entry per data set, strategy and metric, percent points unrounded.

    A strategy without a run on a data set has ``n`` 0 and ``mean`` None.
    """
    return [
        {
            "dataset": block.dataset,
            "strategy": row.strategy,
            "protocol": block.protocol,
            "recipe": block.recipe,
            "metric": metric,
            "mean": cell.mean,
            "std": cell.std,
            "n": len(row.seeds),
            "difference": cell.difference,
        }
        for block in table.blocks
        for row in block.rows
        for metric, cell in zip(table.metrics, row.cells, strict=True)
    ]


def as_json(table: Table) -> str:
    """The list of `rows`; the notes of the table are not in it."""
    return json.dumps(rows(table), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(table: Table) -> str:
    """The list of `rows` with a line of names; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(table))
    return text.getvalue()


def _title(block: Block) -> str:
    return f"{block.dataset} · {block.protocol} protocol · recipe {block.recipe}"


def _head(table: Table) -> list[str]:
    difference = [f"Δ {table.metrics[0]}"] if table.baseline is not None else []
    return ["strategy", "n", *table.metrics, *difference]


def _texts(table: Table, row: Row) -> list[str]:
    """The fields of one row as they are printed; the difference is shown for the first metric only."""
    difference = []
    if table.baseline is not None:
        difference = ["base" if row.strategy == table.baseline else signed(row.cells[0].difference)]
    return [row.strategy, str(len(row.seeds)), *(number(cell) for cell in row.cells), *difference]


def number(cell: Cell) -> str:
    """40.5, as papers print APs, with the spread where there is one."""
    if cell.mean is None:
        return MISSING
    return f"{cell.mean:.1f}" if cell.std is None else f"{cell.mean:.1f} ± {cell.std:.1f}"


def signed(value: float | None, digits: int = 1) -> str:
    """+1.2, −0.3 or 0.0; a dash for None."""
    if value is None:
        return MISSING
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def pipes(fields: list[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(fields)} |"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_<>|[]" else letter for letter in text)


# A field that starts with "[" after "\\" would be read as the length of a line skip, hence the braces.
_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "×": r"$\times$",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "·": r"$\cdot$",
    "Δ": r"$\Delta$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
