"""``assignbench compare``: finished runs, or detections files, in one table."""

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import (
    AssignersOption,
    DataRootOption,
    JsonOption,
    OnlyProtocolOption,
    OnlyRecipeOption,
    as_named,
    chosen_of,
    comma_list,
    inputs_of,
    written_option,
)
from assignbench.errors import UsageError
from assignbench.paths import documentation
from assignbench.plain_text import json_text

EXAMPLES = (
    r"""[bold]Examples[/bold]

assignbench compare --baseline atss   [dim]# differences to ATSS[/dim]

assignbench compare --pairs   [dim]# every strategy against every other one[/dim]

assignbench compare --metrics AP,AP50 --output table.tex   [dim]# LaTeX, as the name ends[/dim]

assignbench compare --label 'autoassign\[tau=0.5]=τ = ½'

assignbench compare --detections mine.json theirs.json --dataset coco   [dim]# COCO results of any tool[/dim]

assignbench compare --detections a=a0.json a=a1.json a=a2.json b=b0.json b=b1.json b=b2.json --dataset coco
"""
    f"\n\nHow it is computed:\n\n{documentation('background/statistics')}"
)


class About(StrEnum):
    """The question that differences answer."""

    STRATEGIES = "strategies"
    SET = "set"
    NETWORKS = "networks"


class Spread(StrEnum):
    """Whose spread over seeds counts."""

    AUTO = "auto"
    OWN = "own"
    SHARED = "shared"


class Format(StrEnum):
    """How the table is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    LATEX = "latex"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


ENDS = {
    ".txt": Format.TERMINAL,
    ".md": Format.MARKDOWN,
    ".tex": Format.LATEX,
    ".html": Format.HTML,
    ".csv": Format.CSV,
    ".json": Format.JSON,
}  # of the file's name


def format_of(asked: Format | None, output: Path | None) -> Format:
    """How the table is written: as asked for, else as the file's name ends; on the screen and in a pipe for the eye.

    Raises:
        UsageError: the ending says nothing.
    """
    from assignbench.files import is_stream

    if asked is not None or output is None or is_stream(output):
        return asked or Format.TERMINAL
    try:
        return ENDS[output.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"--output {output}: the name must end in {', '.join(ENDS)}, or --format say what is written"
        ) from None


def labelled(texts: Sequence[str]) -> dict[str, str]:
    """Strategy → label of ``strategy=label``; an equals sign within brackets is one of the strategy's options.

    Raises:
        UsageError: one has no such form, or names a strategy that another one has named.
    """
    labels: dict[str, str] = {}
    for text in texts:
        written = re.fullmatch(r"((?:[^=\[]|\[[^\]]*\])+)=(.*\S.*)", text)
        if written is None or any(unicodedata.category(letter) in ("Cc", "Cf") for letter in text):
            raise UsageError(f"--label {text!r} has to be STRATEGY=TEXT, as in --label 'atss[k=5]=five locations'")
        if written[1] in labels:
            raise UsageError(f"--label gives {written[1]} two names, {labels[written[1]]!r} and {written[2]!r}")
        labels[written[1]] = written[2].strip()
    return labels


def compare(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DIR | RUN | FILE | NAME=FILE",
            help="Folders of runs or of such folders, single runs by folder or id, or their records; with --detections "
            "files, each with the name of its row.",
            show_default="runs",
        ),
    ] = None,
    detections: Annotated[
        bool,
        typer.Option(
            "--detections",
            help="Compare detections files of any tool, in COCO results format. Files of one NAME are seeds of one "
            "strategy; the first of each NAME are held against each other as one seed, then the second, and so on.",
        ),
    ] = False,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            help="Only the runs on this data set; with --detections, the one whose evaluation split the files are of.",
            show_default="all",
            autocompletion=completing.datasets,
        ),
    ] = None,
    assigner: AssignersOption = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="A", help="Strategy that the others are held against.", autocompletion=completing.strategies
        ),
    ] = None,
    recipe: OnlyRecipeOption = None,
    protocol: OnlyProtocolOption = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="M,N", help="Columns.", show_default="AP, AP50, AP75, APs, APm, APl")
    ] = None,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="Also show every row against every other one; CSV and JSON hold the pairs alone."),
    ] = False,
    about: Annotated[
        About,
        typer.Option(
            metavar="Q",
            help="Question: do the strategies differ on pictures like these (strategies), on exactly these pictures "
            "(set), or do these trained networks differ on pictures like these (networks)?",
        ),
    ] = About.STRATEGIES,
    spread: Annotated[
        Spread,
        typer.Option(
            metavar="S",
            help="Spread over seeds: own of each pair, shared by all rows, or auto: shared from four rows with the "
            "same three or more seeds on.",
        ),
    ] = Spread.AUTO,
    label: Annotated[
        list[str], typer.Option(metavar="A=TEXT", help="What the table calls a strategy; may be repeated.")
    ] = [],  # noqa: B006  # typer copies it
    data_root: DataRootOption = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format", metavar="F", help=f"{', '.join(Format)}.", show_default="as --output ends, else terminal"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        written_option(f"Write into a file: {', '.join(ENDS)}, or any with --format.", show_default="print"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put finished runs into one table, strategies × data sets.

    Mean ± standard deviation over the seeds, in percent points. Differences
    have 95 % intervals over seeds and pictures, corrected for their number;
    what no other row is shown to be better than is bold. Runs that differ in
    more than strategy and seed are refused, with what differs.

    With --detections: files that any tool wrote, in COCO results format.
    One file of a strategy says nothing of other seeds, so the difference is
    that of two networks; verdicts need three files of each.
    """
    from assignbench.cli.output import as_text, progress, show, show_json, wrote
    from assignbench.files import write_text_atomic
    from assignbench.overwriting import refuse_inputs
    from assignbench.run.results.finished import refuse_damaged

    if as_json and output is None and format_ is not None:
        raise UsageError("--json prints JSON, and --format something else; leave one out, or name an --output for both")
    form = format_of(format_, output)
    damaged: Sequence[str] = ()
    columns = None if metrics is None else comma_list([metrics], "--metrics")
    if detections:
        from assignbench.cli.commands.comparing_files import places_of, table_of_files

        if recipe is not None or protocol is not None:
            raise UsageError("--recipe and --protocol choose among runs; a detections file says nothing of either")
        if assigner is not None:
            raise UsageError("--assigner chooses among runs; leave out the files that are not wanted")
        if label:
            raise UsageError("--label is for runs; a detections file gets its name by NAME=FILE")
        if not places or dataset is None:
            raise UsageError("--detections needs files and their data set: --detections A.json B.json --dataset coco")
        if output is not None:
            refuse_inputs(output, (place.file for place in places_of(places)))
        table = table_of_files(places, dataset, columns, data_root, baseline, about.value, spread.value)
    else:
        from assignbench import api

        asked = [as_named(Path(place)) for place in places or ["runs"]]
        if output is not None:
            refuse_inputs(output, inputs_of(asked))
        compared = api.compare(
            asked,
            baseline=baseline,
            metrics=columns,
            strategies=chosen_of(assigner),
            dataset=dataset,
            recipe=recipe,
            protocol=protocol,
            labels=labelled(label),
            about=about.value,
            spread=spread.value,
            data_root=data_root,
            progress=progress,
        )
        table, damaged = compared.table, compared.damaged

    from assignbench.comparison import render  # numpy and pandas: after what can be refused without them

    match form:
        case Format.TERMINAL:
            content = render.terminal(table, pairs=pairs)
        case Format.MARKDOWN:
            content = render.markdown(table, pairs=pairs)
        case Format.LATEX:
            content = render.latex(table, pairs=pairs)
        case Format.HTML:
            content = render.html(table, pairs=pairs)
        case Format.CSV:
            content = render.as_csv(table, pairs=pairs)
        case Format.JSON:
            content = json_text(render.facts(table, pairs=pairs), indent=1)
    if output is not None:
        write_text_atomic(output, content if isinstance(content, str) else as_text(content))
        wrote(output)
    if as_json:
        show_json(render.facts(table, pairs=pairs))
    elif output is None:
        show(content)
    refuse_damaged(damaged)
