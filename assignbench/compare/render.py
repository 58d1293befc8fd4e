"""A table printed: terminal, Markdown, LaTeX for people; CSV and JSON, unrounded, for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from assignbench.compare.legend import question
from assignbench.compare.table import Block, Cell, Row, Table
from assignbench.compare.verdicts import Judged, Verdicts

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
    "low",
    "high",
    "p",
    "p_family",
    "family_size",
    "about",
    "shared_seeds",
    "images",
    "freedom",
    "sd_seed",
    "sd_images",
    "shared_spread",
    "noisy",
    "best",
    "rank_low",
    "rank_high",
)


def terminal(table: Table, *, pairs: bool = False) -> RenderableType:
    """Something for `rich.console.Console.print`.

    Args:
        table: what to show.
        pairs: every row against every other one, too.
    """
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
            texts = zip(_texts(table, block, row, short=True), _bold(table, block, row), strict=True)
            grid.add_row(*(Text(text.replace(" ± ", "±"), "bold" if best else "") for text, best in texts))
        parts += [Text(_title(block), style="bold"), grid]  # as rich's own title it would wrap at the grid's width
        found = block.verdicts[0]
        families = [found.baseline] if table.baseline is not None else []
        families += [found.pairs] if pairs else []
        for family in families:
            if family:
                parts.append(_differences(found, family))
        parts += [Text(line, style="dim") for line in block.legend]
    return Group(*parts, *(Text(note, style="dim") for note in table.notes))


def _differences(found: Verdicts, family: tuple[Judged, ...]) -> RenderableType:
    """One line a comparison."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=box.SIMPLE_HEAD)
    grid.padding, grid.show_edge = (0, 1), False
    grid.add_column("difference", overflow="fold")
    for head in (f"Δ {found.metric}", "95 % interval", "p", "p by Holm", ""):
        grid.add_column(head, justify="right" if head else "left", no_wrap=True)
    for one in family:
        grid.add_row(*(Text(text) for text in difference_texts(found, one)))
    return grid


def difference_texts(found: Verdicts, one: Judged) -> list[str]:
    """Who against whom, Δ, interval, p, p within the family, and the verdict in a word."""
    each = one.difference
    word = "no verdict" if not each.settles else "undecided"
    if one.decided:
        word = "better" if each.mean > 0 else "worse"
    return [
        f"{one.a} − {one.b}",
        signed(each.mean, digits_of(one)),
        interval(one) or MISSING,
        probability(each.p),
        probability(one.p_family),
        f"{word}{question(one, found)}",
    ]


def probability(p: float | None) -> str:
    """0.03, 0.004, < 0.001; a dash where there is none."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def interval(one: Judged) -> str:
    """[0.4, 2.0]; empty where nothing is known of the error."""
    mean, half, digits = one.difference.mean, one.difference.half, digits_of(one)
    if half is None:
        return ""
    low, high = (signed(value, digits).removeprefix("+") for value in (mean - half, mean + half))
    return f"[{low}, {high}]"


def digits_of(one: Judged) -> int:
    """Decimals of a difference: 1, or as many as it takes to see on which side of zero its interval ends."""
    mean, half = one.difference.mean, one.difference.half or 0.0
    ends = [end for end in (mean - half, mean + half) if abs(end) >= 0.0005]
    return next((digits for digits in (1, 2) if all(round(end, digits) for end in ends)), 3)


def _bold(table: Table, block: Block, row: Row) -> list[bool]:
    """Which fields of a row are bold: of metrics by which it is among the best, and some row is not."""
    best = [found.tells_apart and row.strategy in found.best for found in block.verdicts]
    return [False, False, *best, *[False] * (table.baseline is not None)]


def markdown(table: Table) -> str:
    """One GitHub table a data set, notes as a list below."""
    lines = []
    for block in table.blocks:
        head = _head(table)
        lines += [f"**{escaped(_title(block))}**", ""]
        lines += [pipes(head), pipes(["---"] + ["---:"] * (len(head) - 1))]
        for row in block.rows:
            texts = zip(_texts(table, block, row), _bold(table, block, row), strict=True)
            lines.append(pipes([f"**{escaped(text)}**" if best else escaped(text) for text, best in texts]))
        lines += ["", *(escaped(line) for line in block.legend), *([""] if block.legend else [])]
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
        for row in block.rows:
            texts = zip(_texts(table, block, row), _bold(table, block, row), strict=True)
            fields = [rf"\textbf{{{_latex(text)}}}" if best else _latex(text) for text, best in texts]
            lines.append(" & ".join(fields) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    told = dict.fromkeys(line for block in table.blocks for line in block.legend)
    lines += [rf"\par\footnotesize {_latex(note)}" for note in (*told, *table.notes)]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def rows(table: Table) -> list[dict[str, str | int | float | None]]:
    """Long form: one entry per data set, strategy and metric, percent points unrounded.

    A strategy without a run on a data set has ``n`` 0 and ``mean`` None.
    """
    return [
        dict.fromkeys(COLUMNS)
        | {
            "dataset": block.dataset,
            "strategy": row.strategy,
            "protocol": block.protocol,
            "recipe": block.recipe,
            "metric": metric,
            "mean": cell.mean,
            "std": cell.std,
            "n": len(row.seeds),
            "difference": cell.difference,
            **_judged(found, row),
        }
        for block in table.blocks
        for row in block.rows
        for metric, cell, found in zip(table.metrics, row.cells, block.verdicts, strict=True)
    ]


def _judged(found: Verdicts, row: Row) -> Mapping[str, str | int | float | None]:
    """What the difference to the baseline says, and where the row stands among all."""
    settled = row.strategy in found.rows and any(one.difference.settles for one in found.pairs)
    low, high = found.ranks[row.strategy] if settled else (None, None)
    standing = {"best": int(row.strategy in found.best) if settled else None, "rank_low": low, "rank_high": high}
    one = found.against(row.strategy)
    if one is None:
        return standing
    each, half = one.difference, one.difference.half
    return {
        "low": None if half is None else each.mean - half,
        "high": None if half is None else each.mean + half,
        "p": each.p,
        "p_family": one.p_family,
        "family_size": len(found.baseline),
        "about": each.about,
        "shared_seeds": len(each.seeds),
        "images": each.images,
        "freedom": each.freedom,
        "sd_seed": each.seed**0.5,
        "sd_images": each.main**0.5,
        "shared_spread": int(each.shared),
        "noisy": int(each.noisy),
        **standing,
    }


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
    return block.title


def _head(table: Table) -> list[str]:
    difference = [f"Δ {table.metrics[0]}"] if table.baseline is not None else []
    return ["strategy", "n", *table.metrics, *difference]


def _texts(table: Table, block: Block, row: Row, *, short: bool = False) -> list[str]:
    """The fields of one row as they are printed; the difference is shown for the first metric only.

    Args:
        table: the whole.
        block: of the row.
        row: which one.
        short: without the interval of the difference.
    """
    difference = []
    if table.baseline is not None:
        found, cell = block.verdicts[0], row.cells[0]
        one = found.against(row.strategy)
        text = "base" if row.strategy == table.baseline else signed(cell.difference)
        if one is not None:
            text = signed(one.difference.mean, digits_of(one))
            text += ("" if short or not interval(one) else f" {interval(one)}") + one.mark + question(one, found)
        elif row.strategy != table.baseline and cell.difference is not None:
            text += "?"
        difference = [text]
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
