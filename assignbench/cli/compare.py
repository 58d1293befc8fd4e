"""``assignbench compare``: finished runs in one table."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli.arguments import comma_list

EXAMPLES = r"""[bold]Examples[/bold]

assignbench compare --baseline atss   [dim]# differences to ATSS[/dim]

assignbench compare --format latex --metrics AP,AP50 --output table.tex
"""


class Format(StrEnum):
    """How the table is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


def compare(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of runs.")] = Path("runs"),
    baseline: Annotated[
        str | None, typer.Option(metavar="A", help="Strategy that the others are held against.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="R", help="Only the runs of this recipe.", show_default="all")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="P", help="Only the runs under this protocol.", show_default="all")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="M,N", help="Columns.", show_default="AP, AP50, AP75, APs, APm, APl")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", metavar="F", help=f"{', '.join(Format)}.")] = Format.TERMINAL,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write into a file.", show_default="print")
    ] = None,
) -> None:
    """Put finished runs into one table, strategies × data sets.

    Mean ± standard deviation over the seeds, in percent points. Runs that
    differ in more than strategy and seed are refused, with what differs.
    """
    from assignbench.cli.output import as_text, show
    from assignbench.compare import METRICS, render, select
    from assignbench.compare import compare as tabulate
    from assignbench.files import write_text_atomic
    from assignbench.run.results.record import read_records

    records = select(read_records(folder), recipe=recipe, protocol=protocol)
    columns = METRICS if metrics is None else comma_list([metrics], "--metrics")
    table = tabulate(records, baseline=baseline, metrics=columns)
    match format_:
        case Format.TERMINAL:
            content = render.terminal(table)
        case Format.MARKDOWN:
            content = render.markdown(table)
        case Format.LATEX:
            content = render.latex(table)
        case Format.CSV:
            content = render.as_csv(table)
        case Format.JSON:
            content = render.as_json(table)
    if output is None:
        show(content)
    else:
        write_text_atomic(output, content if isinstance(content, str) else as_text(content))
        show(f"wrote {output}\n")
