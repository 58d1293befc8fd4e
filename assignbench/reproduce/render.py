"""A result printed: terminal and Markdown for people, CSV for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assignbench import plain_text, tables
from assignbench.comparison.render import MISSING, digits_of, error_values, interval, number, probability, signed
from assignbench.reproduce.claims import Tested
from assignbench.reproduce.legend import legend, question
from assignbench.reproduce.results import Entry, Result
from assignbench.reproduce.sheet import Line, Sheet

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import RenderableType

TEXTS = ("data set", "row", "strategy", "state", "claim of the paper", "verdict", "because")  # aligned to the left


def header(sheet: Sheet) -> list[str]:
    """What was run, what the paper ran, and what that means for the numbers."""
    scale = sheet.scale
    datasets = ", ".join(dict.fromkeys(line.trained_on for line in sheet.lines if line.trained_on))
    recipes = ", ".join(dict.fromkeys(line.runs[0].recipe.name for line in sheet.lines if line.runs))
    ours = (
        f"Ours: scale {sheet.scale_name} ({scale.description}): {datasets or scale.dataset}; "
        f"recipe {recipes or scale.recipe}; {scale.protocol} protocol; "
        f"seed{'s' if len(sheet.seeds) > 1 else ''} {', '.join(map(str, sheet.seeds))}."
    )
    lines = [
        ours,
        *([f"Set for the whole table: {'; '.join(sheet.settings)}."] if sheet.settings else []),
        *([f"Changed on the command line: {'; '.join(sheet.changes)}."] if sheet.changes else []),
        f"Paper: {sheet.experiment.paper}; {', '.join(published_on(sheet))}.",
    ]
    if sheet.faithful:
        return [*lines, f"Published values in parentheses; Δ is ours − published. This scale: {scale.says}."]
    if sheet.scale.paper:
        changed = ["what was changed makes it another setting than the paper's"] if sheet.changes else []
        says = "; ".join([*sheet.doubts, *changed])
    else:
        says = f"this scale says: {scale.says}"
    warning = (
        "NOT the paper's setting: published values stand in parentheses for orientation only, and no difference to "
        f"them is formed; {says}."
    )
    return [*lines, warning]


def published_on(sheet: Sheet) -> list[str]:
    """The data sets and splits that the published values are of."""
    return list(dict.fromkeys(line.published.where for line in sheet.lines if line.published))


def group_of(sheet: Sheet, name: str | None) -> str:
    """`dataset_of` the rows of a group: all have one data set."""
    return next(dataset_of(sheet, line) for line in sheet.lines if line.group == name)


def trained_on(sheet: Sheet, group: str | None) -> str | None:
    """The data set of a group's runs; None: it has none."""
    return next((line.trained_on for line in sheet.lines if line.group == group and line.trained_on), None)


def dataset_of(sheet: Sheet, line: Line) -> str:
    """The group of a row, and what stands in for it."""
    group = next((group for group in sheet.experiment.groups if group.name == line.group), None)
    if group is None:
        return ""
    full = group.scales.get("full")
    if full is not None and full.dataset == line.dataset:
        return group.name
    return f"{group.name} ({line.trained_on or line.dataset} stands in)"


def terminal(result: Result) -> RenderableType:
    """Something for `rich.console.Console.print`."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(title(result), style="bold")]
    parts += [Text(line) for line in header(result.sheet)]
    parts.append(tables.terminal(table_of(result), left=TEXTS, fold=True))
    if result.claims:
        grid = tables.terminal(claims_table(result), left=TEXTS, fold=True)
        parts += [grid, *(Text(line, style="dim") for line in legend(result.claims))]
    parts += [Text(note, style="dim") for note in result.notes]
    return Group(*parts)


def markdown(result: Result) -> str:
    """The same as a page."""
    parts = [f"## {plain_text.markdown(title(result))}"]
    parts.append("\n".join(f"{plain_text.markdown(line)}  " for line in header(result.sheet)))
    parts.append(tables.markdown(table_of(result), left=TEXTS))
    if result.claims:
        parts.append(tables.markdown(claims_table(result), left=TEXTS))
        parts += map(plain_text.markdown, legend(result.claims))
    if result.notes:
        parts.append("\n".join(f"- {plain_text.markdown(note)}" for note in result.notes))
    return "\n\n".join(parts) + "\n"


def title(result: Result) -> str:
    """One line."""
    return f"{result.sheet.name} · {result.sheet.experiment.title} · scale {result.sheet.scale_name}"


def table_of(result: Result) -> DataFrame:
    """What is read of the rows; empty columns are left out."""
    shown = [entry.published is not None for entry in _first_entries(result)]
    names = [f"{name} (published)" if has else name for name, has in zip(result.columns, shown, strict=True)]
    difference = [f"Δ {result.columns[0]}"] if result.sheet.faithful else []
    grouped = ["data set"] if result.sheet.experiment.groups else []
    head = [*grouped, "row", "strategy", "n", *names, *difference, "state"]
    rows = []
    for line, row in zip(result.sheet.lines, result.rows, strict=True):
        group = [dataset_of(result.sheet, line)] if grouped else []
        delta = [signed(row.entries[0].cell.difference)] if difference else []
        cells = [_entry(entry) for entry in row.entries]
        rows.append([*group, row.label, row.strategy, str(len(row.seeds)), *cells, *delta, row.state])
    if not any(row.state for row in result.rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return tables.frame_of(head, rows)


def claims_table(result: Result) -> DataFrame:
    """One row a claim."""
    grouped = ["data set"] if result.sheet.experiment.groups else []
    head = [*grouped, "claim of the paper", "Δ AP ours", "n", "p", "p by Holm", "Δ AP paper", "verdict", "because"]
    rows = []
    for tested in result.claims:
        group = [group_of(result.sheet, tested.group)] if grouped else []
        ours = _difference(tested, question(tested, result.claims))
        rows.append([*group, tested.claim.says, *ours, signed(tested.published), tested.verdict, tested.why])
    return tables.frame_of(head, rows)


def as_csv(result: Result) -> str:
    """Long form, unrounded: one line a row and metric; None is an empty field."""
    lines = [
        {
            "experiment": result.sheet.name,
            "scale": result.sheet.scale_name,
            "faithful": result.sheet.faithful,
            "group": row.group,
            "dataset": line.trained_on,
            "row": row.label,
            "strategy": row.strategy,
            "metric": entry.column,
            "mean": entry.cell.mean,
            "std": entry.cell.std,
            "n": len(row.seeds),
            "published": entry.published,
            "difference": entry.cell.difference,
            "state": row.state,
        }
        for line, row in zip(result.sheet.lines, result.rows, strict=True)
        for entry in row.entries
    ]
    return _as_csv(lines)


def claims_csv(result: Result) -> str:
    """One line a claim, unrounded."""
    size = sum(tested.judged is not None and tested.judged.p_family is not None for tested in result.claims)
    lines = [
        {
            "experiment": result.sheet.name,
            "scale": result.sheet.scale_name,
            "faithful": result.sheet.faithful,
            "group": tested.group,
            "dataset": trained_on(result.sheet, tested.group),
            "claim": tested.claim.says,
            "better": tested.claim.better,
            "worse": tested.claim.worse,
            "on": tested.claim.on,
            "difference": tested.mean,
            **error_values(tested.judged, size),
            "n": len(tested.seeds),
            "published_difference": tested.published,
            "verdict": tested.verdict,
            "because": tested.why,
        }
        for tested in result.claims
    ]
    return _as_csv(lines)


def _first_entries(result: Result) -> list[Entry]:
    """For each column an entry that has a published value, if any row has one."""
    columns = zip(*(row.entries for row in result.rows), strict=True)
    return [next((entry for entry in column if entry.published is not None), column[0]) for column in columns]


def _entry(entry: Entry) -> str:
    """Ours, and the published value in parentheses."""
    return number(entry.cell) + (f" ({entry.published:.1f})" if entry.published is not None else "")


def _difference(tested: Tested, mark: str) -> list[str]:
    """Mean with its interval, number of seeds, p, and p by Holm."""
    one = tested.judged
    if one is None:
        return [signed(tested.mean), str(len(tested.seeds)), MISSING, MISSING]
    mean = f"{signed(one.difference.mean, digits_of(one))} {interval(one)}".rstrip() + mark
    return [mean, str(len(tested.seeds)), probability(one.difference.p), probability(one.p_family)]


def _as_csv(lines: list[dict[str, Any]]) -> str:
    return tables.as_csv(tables.frame_of(list(lines[0]) if lines else [], [list(line.values()) for line in lines]))
