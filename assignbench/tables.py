"""A frame printed: texts for people (terminal, Markdown, LaTeX, HTML), values for programs (CSV, rows of JSON).

A frame of texts holds what is to be read, one column a field; names of columns are its head. Beside it may stand a
frame of the same shape that says which fields are bold.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from assignbench import plain_text
from assignbench.plain_text import markup, one_line

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table as RichTable

BOLD = "font-weight: bold"


def frame_of(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> DataFrame:
    """Rows below a head, each value as it is: no text becomes a number, and no None a NaN."""
    from pandas import DataFrame

    return DataFrame([list(row) for row in rows], columns=list(head), dtype=object)


def terminal(
    texts: DataFrame, bold: DataFrame | None = None, *, left: Collection[str] = (), gap: int = 1, fold: bool = False
) -> RichTable:
    """A grid for `rich.console.Console.print`.

    Args:
        texts: what is to be read.
        bold: which fields are bold; None: none.
        left: names of the columns that are aligned to the left, and folded where there is no room.
        gap: letters between two columns.
        fold: whether the other columns are folded, too.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Text, not str: rich would read the brackets of "autoassign[tau=0.5]" as markup and drop them
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False)
    for name in texts.columns:
        if name in left:
            grid.add_column(Text(one_line(name)), overflow="fold")
        else:
            grid.add_column(Text(one_line(name)), justify="right", no_wrap=not fold, overflow="fold")
    for fields, marks in _lines(texts, bold):
        grid.add_row(
            *(
                Text(one_line(text).replace(" ± ", "±"), "bold" if mark else "")
                for text, mark in zip(fields, marks, strict=True)
            )
        )
    return grid


def markdown(texts: DataFrame, bold: DataFrame | None = None, *, left: Collection[str] = ()) -> str:
    """A GitHub table, without a line end."""
    rows = [
        [f"**{told}**" if mark else told for told, mark in zip(map(plain_text.markdown, fields), marks, strict=True)]
        for fields, marks in _lines(texts, bold)
    ]
    table = frame_of([plain_text.markdown(name) for name in texts.columns], rows)
    align = ["left" if name in left else "right" for name in texts.columns]
    return table.to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=align)


def latex(texts: DataFrame, bold: DataFrame | None = None, *, left: Collection[str] = ()) -> str:
    """A `tabular` environment; the preamble needs the package booktabs."""
    rows = [[_field(text) for text in fields] for fields, _ in _lines(texts, None)]
    table = frame_of([plain_text.latex(name) for name in texts.columns], rows)
    styled = table.style.hide(axis="index")
    if bold is not None:
        marks = bold.set_axis(table.columns, axis=1).map(lambda mark: BOLD if mark else "")
        styled = styled.apply(lambda _: marks, axis=None)
    form = "".join("l" if name in left else "r" for name in texts.columns)
    return styled.to_latex(hrules=True, column_format=form, convert_css=True).rstrip("\n")


def html(texts: DataFrame, bold: DataFrame | None = None, *, left: Collection[str] = ()) -> str:
    """A `table` element without styles of its own: bold fields are `strong`, numbers have the class ``number``."""
    head = "".join(f'<th scope="col"{_aligned(name, left)}>{markup(name)}</th>' for name in texts.columns)
    body = []
    for fields, marks in _lines(texts, bold):
        cells = [
            f"<td{_aligned(name, left)}>{f'<strong>{markup(text)}</strong>' if mark else markup(text)}</td>"
            for name, text, mark in zip(texts.columns, fields, marks, strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(body)}\n</tbody>\n</table>"


def as_csv(values: DataFrame) -> str:
    """Unrounded; None is an empty field."""
    head, *rows = ([plain_text.csv_field(one) for one in row] for row in (values.columns, *values.to_numpy().tolist()))
    return frame_of(head, rows).to_csv(index=False, lineterminator="\n")


def rows(values: DataFrame) -> list[dict[str, Any]]:
    """The rows for JSON, unrounded; what is missing is None."""
    return values.astype(object).where(values.notna(), None).to_dict("records")


def _field(text: str) -> str:
    """A field of a table: behind a line's end, "[" would be read as the length of a skip, and "*" as a star."""
    return ("{}" if text.startswith(("[", "*")) else "") + plain_text.latex(text)


def _aligned(name: str, left: Collection[str]) -> str:
    return "" if name in left else ' class="number"'


def _lines(texts: DataFrame, bold: DataFrame | None) -> list[tuple[list[str], list[bool]]]:
    """Fields and marks of each row."""
    rows = texts.to_numpy().tolist()
    marks = [[False] * len(row) for row in rows] if bold is None else bold.to_numpy().tolist()
    return list(zip(rows, marks, strict=True))
