"""A table printed: texts for people, the values behind them for programs, both as frames (`assignbench.tables`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assignbench import plain_text, tables
from assignbench.comparison.across import across_lines
from assignbench.comparison.legend import question
from assignbench.comparison.table import Block, Cell, Row, Table
from assignbench.comparison.verdicts import Judged, Verdicts, corrected_for

if TYPE_CHECKING:
    from pandas import DataFrame
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
    "verdict",
    "best",
    "rank_low",
    "rank_high",
)
ERRORS = COLUMNS[COLUMNS.index("low") : COLUMNS.index("best")]  # how sure a difference is
STRATEGY = "strategy"  # the column that is aligned to the left
DIFFERENCES = ("difference", "95 % interval", "p", "p by Holm", "verdict")  # between the first two stands Δ
WORDS = (DIFFERENCES[0], DIFFERENCES[-1])  # of these columns those that are aligned to the left


def terminal(table: Table, *, pairs: bool = False) -> RenderableType:
    """Something for `rich.console.Console.print`.

    Args:
        table: what to show.
        pairs: every row against every other one, too.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for block in table.blocks:
        # without gaps, so that six metrics with their spread fit into 80 letters; only names may be folded
        grid = tables.terminal(texts(table, block, short=True), bold(table, block), left=[STRATEGY], gap=0)
        parts += [Text(block.title, style="bold"), grid]  # as rich's own title it would wrap at the grid's width
        found = block.verdicts[0]
        for family in (found.baseline, found.pairs if pairs else ()):
            if family:
                parts.append(tables.terminal(differences(found, family), left=WORDS))
        parts += [Text(line, style="dim") for line in block.legend]
    parts += [Text(line) for line in across_lines(table)]
    return Group(*parts, *(Text(note, style="dim") for note in table.notes))


def markdown(table: Table, *, pairs: bool = False) -> str:
    """One GitHub table a data set, notes as a list below."""
    parts = []
    for block in table.blocks:
        parts.append(f"**{plain_text.markdown(block.title)}**")
        parts.append(tables.markdown(texts(table, block), bold(table, block), left=[STRATEGY]))
        found = block.verdicts[0]
        if pairs and found.pairs:
            parts.append(tables.markdown(differences(found, found.pairs), left=WORDS))
        if block.legend:
            parts += map(plain_text.markdown, block.legend)  # a paragraph each
    parts += map(plain_text.markdown, across_lines(table))
    if table.notes:
        parts.append("\n".join(f"- {plain_text.markdown(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def latex(table: Table, *, pairs: bool = False) -> str:
    """One `table` environment with a `tabular` for each data set; the preamble needs the package booktabs."""
    lines = [r"\begin{table}", r"\centering"]
    for block in table.blocks:
        found = block.verdicts[0]
        lines += [rf"{plain_text.latex(block.title)}\par\smallskip"]
        lines += [tables.latex(texts(table, block), bold(table, block), left=[STRATEGY]) + r"\par\smallskip"]
        if pairs and found.pairs:
            grid = tables.latex(differences(found, found.pairs), left=WORDS)
            lines += [grid + r"\par\smallskip"]
    told = dict.fromkeys(line for block in table.blocks for line in block.legend)
    lines += [
        rf"{{\footnotesize\raggedright {plain_text.latex(note)}\par}}"
        for note in (*told, *across_lines(table), *table.notes)
    ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def html(table: Table, *, pairs: bool = False) -> str:
    """A fragment for a page or a notebook: a `table` for each data set, what its signs mean, and the notes."""
    parts = []
    for block in table.blocks:
        found = block.verdicts[0]
        parts.append(f"<p><strong>{plain_text.markup(block.title)}</strong></p>")
        parts.append(tables.html(texts(table, block), bold(table, block), left=[STRATEGY]))
        if pairs and found.pairs:
            parts.append(tables.html(differences(found, found.pairs), left=WORDS))
        parts += [f"<p>{plain_text.markup(line)}</p>" for line in block.legend]
    parts += [f"<p>{plain_text.markup(line)}</p>" for line in across_lines(table)]
    if table.notes:
        parts.append(f"<ul>{''.join(f'<li>{plain_text.markup(note)}</li>' for note in table.notes)}</ul>")
    return "\n".join(parts) + "\n"


def as_csv(table: Table, *, pairs: bool = False) -> str:
    """`values`, or `pair_values`; None is an empty field."""
    return tables.as_csv(pair_values(table) if pairs else values(table))


def facts(table: Table, *, pairs: bool = False) -> dict[str, Any]:
    """`values`, or `pair_values`, as a list of rows for programs, and the notes of the table."""
    return {"rows": tables.rows(pair_values(table) if pairs else values(table)), "notes": list(table.notes)}


def texts(table: Table, block: Block, *, short: bool = False) -> DataFrame:
    """What is read of a block: a row a strategy; Δ is shown for the first metric only.

    Args:
        table: the whole.
        block: a data set of it.
        short: without the interval of Δ.
    """
    return tables.frame_of(_head(table), [_texts(table, block, row, short=short) for row in block.rows])


def bold(table: Table, block: Block) -> DataFrame:
    """Which of these `texts` are bold: metrics by which the row is among the best, and some row is not."""
    difference = [False] * (table.baseline is not None)
    rows = [
        [False, False, *(found.tells_apart and row.strategy in found.best for found in block.verdicts), *difference]
        for row in block.rows
    ]
    return tables.frame_of(_head(table), rows)


def _head(table: Table) -> list[str]:
    difference = [f"Δ {table.metrics[0]}"] if table.baseline is not None else []
    return [STRATEGY, "n", *table.metrics, *difference]


def differences(found: Verdicts, family: tuple[Judged, ...]) -> DataFrame:
    """One row a comparison: who against whom, Δ, its interval, p, p within the family, and the verdict in a word."""
    first, *others = DIFFERENCES
    return tables.frame_of([first, f"Δ {found.metric}", *others], [difference_texts(found, one) for one in family])


def difference_texts(found: Verdicts, one: Judged) -> list[str]:
    """Who against whom, Δ, interval, p, p within the family, and the verdict in a word."""
    each = one.difference
    return [
        f"{one.a} − {one.b}",
        signed(each.mean, digits_of(one)),
        interval(one) or MISSING,
        probability(each.p),
        probability(one.p_family),
        f"{verdict(one)}{question(one, found)}",
    ]


def verdict(one: Judged) -> str:
    """In a word: better, worse, undecided or no verdict."""
    if one.decided:
        return "better" if one.difference.mean > 0 else "worse"
    return "undecided" if one.difference.settles else "no verdict"


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


def values(table: Table) -> DataFrame:
    """Long form: one row per data set, strategy and metric, percent points unrounded.

    A strategy without a run on a data set has ``n`` 0 and ``mean`` None.
    """
    rows = [
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
    return tables.frame_of(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])


def pair_values(table: Table) -> DataFrame:
    """Long form of `Verdicts.pairs`: one row per data set, metric and pair of strategies, percent points unrounded."""
    rows = [
        {"dataset": block.dataset, "protocol": block.protocol, "recipe": block.recipe, "metric": found.metric}
        | {
            "strategy": one.a,
            "other": one.b,
            "difference": one.difference.mean,
            **error_values(one, corrected_for(found.pairs)),
        }
        for block in table.blocks
        for found in block.verdicts
        for one in found.pairs
    ]
    columns = ("dataset", "protocol", "recipe", "metric", "strategy", "other", "difference", *ERRORS)
    return tables.frame_of(columns, [[row[name] for name in columns] for row in rows])


def _judged(found: Verdicts, row: Row) -> Mapping[str, str | int | float | None]:
    """What the difference to the baseline says, and where the row stands among all."""
    settled = row.strategy in found.judged
    low, high = found.ranks[row.strategy] if settled else (None, None)
    standing = {"best": int(row.strategy in found.best) if settled else None, "rank_low": low, "rank_high": high}
    one = found.against(row.strategy)
    return standing if one is None else {**error_values(one, corrected_for(found.baseline)), **standing}


def error_values(one: Judged | None, family_size: int) -> Mapping[str, str | int | float | None]:
    """How sure a difference is, unrounded; ``p_family`` is by Holm's rule, for ``family_size`` comparisons.

    Of None, a difference of whose error nothing is known, all are None.
    """
    if one is None:
        return dict.fromkeys(ERRORS)
    each, half = one.difference, one.difference.half
    return {
        "low": None if half is None else each.mean - half,
        "high": None if half is None else each.mean + half,
        "p": each.p,
        "p_family": one.p_family,
        "family_size": family_size if one.p_family is not None else None,
        "about": each.about,
        "shared_seeds": len(each.seeds),
        "images": each.images,
        "freedom": each.freedom,
        "sd_seed": each.seed**0.5,
        "sd_images": each.main**0.5,
        "shared_spread": int(each.shared),
        "noisy": int(each.noisy),
        "verdict": verdict(one),
    }


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
        text = "base" if row.strategy == block.baseline else signed(cell.difference)
        if one is not None:
            text = signed(one.difference.mean, 1 if short else digits_of(one))
            text += ("" if short or not interval(one) else f" {interval(one)}") + one.mark + question(one, found)
        elif row.strategy != block.baseline and cell.difference is not None:
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
