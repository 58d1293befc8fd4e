"""``assignbench report``: a comparison as one page."""

from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import (
    AssignersOption,
    DataRootOption,
    OnlyProtocolOption,
    OnlyRecipeOption,
    chosen_of,
    inputs_of,
    written_option,
)
from assignbench.paths import documentation

EXAMPLES = (
    r"""[bold]Examples[/bold]

assignbench report   [dim]# all runs in runs/, into report.html[/dim]

assignbench report runs --baseline atss --output atss.html

assignbench report runs --recipe 1x --title "Blood cells, first week"
"""
    f"\n\nHow it is computed:\n\n{documentation('background/statistics')}"
)


DEFAULT = Path("report.html")
MARK = b'<meta name="generator" content="assignbench report">'  # in the page's template


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of runs.")] = Path("runs"),
    output: Annotated[Path, written_option("Where the page goes.", ends=(".html", ".htm"))] = DEFAULT,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="A",
            help="Strategy that the others are held against at first; another one can be chosen in the page.",
            show_default="the first by name",
            autocompletion=completing.strategies,
        ),
    ] = None,
    assigner: AssignersOption = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="D", help="Only the runs on this data set.", show_default="all", autocompletion=completing.datasets
        ),
    ] = None,
    recipe: OnlyRecipeOption = None,
    protocol: OnlyProtocolOption = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Heading of the page.", show_default="what is compared")
    ] = None,
    pictures: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Pictures of each data set on which strategies differ most.",
            show_default="6, of many data sets fewer",
        ),
    ] = None,
    data_root: DataRootOption = None,
) -> None:
    """Make one page of finished runs, to be read in a browser and sent to others.

    The verdict in words, tables and charts with their intervals, what
    assignment did, and how every run was made. The page is one file that
    needs no network. Runs that are still going on may be among them: the
    page says what is missing. Runs that differ in more than strategy and
    seed are refused, with what differs.
    """
    from assignbench.api import canonical, selected
    from assignbench.cli.output import progress, say, wrote
    from assignbench.errors import RunError, SystemProblem
    from assignbench.judging import influences_of, opener
    from assignbench.overwriting import head_of, refuse_inputs, refuse_strangers
    from assignbench.report.page import check_report

    check_report()
    if output.is_dir():
        raise SystemProblem(f"--output {output} is a folder; name a file in it")
    refuse_inputs(output, inputs_of([folder]))
    if output == DEFAULT:
        refuse_strangers(output, lambda found: MARK in head_of(found, 1000), "report")
    chosen = chosen_of(assigner)
    strategies = None if chosen is None else [canonical(each) for each in chosen]
    found = selected(folder, strategies=strategies, dataset=dataset, recipe=recipe, protocol=protocol)
    runs, records = found.runs, found.records
    folders = {record.run_id: place for place, record in runs}

    from assignbench.files import write_text_atomic
    from assignbench.report.curves import losses_of, statistics_of, validation_of
    from assignbench.report.facts import METRICS, Logs, gather
    from assignbench.report.more import more_of
    from assignbench.report.page import page, progress_of
    from assignbench.run.results.finished import refuse_damaged
    from assignbench.run.results.unfinished import recipe_word, unfinished

    if baseline is not None:
        baseline = canonical(baseline)
    influences, remarks = influences_of(runs, METRICS, data_root, progress)
    remarks += [f"left out: {reason}" for reason in found.damaged]
    going_on = [
        run
        for below in dict.fromkeys(place.parent for place in folders.values() if folder in place.parents)
        for run in unfinished(below, records)
        if (recipe is None or run.recipe == recipe_word(recipe))
        and (strategies is None or run.strategy in strategies)
        and (dataset is None or run.dataset in {record.dataset.name for record in records})
        and protocol in (None, "controlled" if run.preset is None else "published")
    ]
    logs: dict[str, Logs] = {}
    for place, record in runs:
        try:
            curves = (read(place, record) for read in (losses_of, statistics_of, validation_of))
            logs[record.run_id] = Logs(*curves)
        except RunError as error:  # the page shows no curve of this run, and says why
            remarks.append(str(error).partition("\n")[0])
    facts = gather(
        records,
        logs=logs,
        pictures=influences,
        going_on=going_on,
        baseline=baseline,
        remarks=remarks,
    )
    each = max(2, min(6, 12 // len(facts.blocks))) if pictures is None else pictures
    more, lacking = more_of(facts, folders, records, influences, opener(data_root), pictures=each, progress=progress)
    progress("the page")
    text = page(facts, title=title, more=more)
    write_text_atomic(output, text)
    progress("")
    wrote(output, f": {len(text.encode()) / 1e6:.1f} MB; {progress_of(facts.held).in_words}")
    for remark in (*facts.notes, *lacking):
        say(f"note: {remark}")
    refuse_damaged(found.damaged)
