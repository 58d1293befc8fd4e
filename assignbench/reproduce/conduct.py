"""Every missing run of the experiments, each run once however many tables it stands in, and the tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from accelerate import Accelerator
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from assignbench.bench.estimate import show_estimate
from assignbench.data.spec.locate import data_root, open_dataset
from assignbench.errors import UsageError
from assignbench.files import make_folder, write_text_atomic
from assignbench.reproduce import render
from assignbench.reproduce.filled import nothing_to_run
from assignbench.reproduce.outcomes import Outcomes, evaluated_in_views, filled
from assignbench.reproduce.pictures import with_pictures
from assignbench.reproduce.results import Result, result_of
from assignbench.reproduce.schema import chosen_experiments, load_experiment, load_scale
from assignbench.reproduce.sheet import Opened, Request, Sheet, sheet_of
from assignbench.run.matrix.matrix import Conduct, elsewhere, in_turn, only_of, show_data, state_in_words
from assignbench.run.matrix.pictures import contents
from assignbench.run.matrix.plan import Run
from assignbench.run.scoring.evaluators import check_evaluator
from assignbench.run.training.device import build_accelerator, settle_precision
from assignbench.run.training.reporter import clock
from assignbench.run.training.train import micro_batch

RUNS = "runs"


def reproduce(
    names: Sequence[str],
    request: Request,
    *,
    datasets: Path | None,
    output: Path,
    device: str,
    dry_run: bool,
    console: Console,
    only: str | None = None,
    conduct: Conduct | None = None,
) -> int:
    """Bring every run of some experiments to its record and write their tables.

    What is finished is not repeated and what was interrupted goes on from its last checkpoint: the same command,
    given again, does what is missing, failed runs included.

    Args:
        names: of experiments, files, or "all".
        request: scale, and what replaces parts of it.
        datasets: the data root; None: as everywhere.
        output: gets ``runs/`` and a folder of tables for the scale.
        device: auto, cpu or cuda.
        dry_run: only show the plan and what it would take.
        console: to talk to.
        only: the id of one run, which alone is brought to its record; no table is written.
        conduct: what computes the runs; None: this process does, one after another.

    Returns:
        The exit code: 0, or what the failures have in common, else 1.

    Raises:
        AssignbenchError: something is wrong with the request itself: nothing was trained.
    """
    began = time.perf_counter()
    sheets, runs = planned(names, request, datasets, device, only)
    precision = one_precision(runs)
    for run in runs:
        check_evaluator(run.recipe.recipe.evaluate.evaluator)
    computes = conduct is None or any(line.views for sheet in sheets for line in sheet.lines)
    accelerator = build_accelerator(device, precision) if computes else build_accelerator("cpu", "no")
    console.quiet = console.quiet or not accelerator.is_main_process
    for run in runs:
        micro_batch(run.recipe.recipe.train, accelerator.num_processes)
    data = {run.splits.spec: run.splits for run in runs}.values()
    for splits in data:
        show_data(splits, console)
    rows = sum(len(sheet.lines) for sheet in sheets)
    where = accelerator.device.type if conduct is None else "the workers"
    console.print(
        f"scale {request.scale}: {len(sheets)} table{'s' if len(sheets) > 1 else ''}, {rows} rows, "
        f"{len(runs)} different runs on {where}, precision {precision}",
    )
    if dry_run:
        for sheet in sheets:
            console.print(matrix(sheet, output / RUNS))
        show_estimate(runs, output / RUNS, accelerator, console)
        return 0

    make_folder(output)
    seen = contents(data, accelerator, console)
    looked = [replace(run, content=seen.get(run.splits.spec)) for run in runs]
    if conduct is None:
        ends = in_turn(looked, output / RUNS, accelerator, resume=True, console=console)
    else:
        ends = elsewhere(looked, output / RUNS, conduct, console)
    outcomes, results = Outcomes(), dict[str, Result]()
    for run, ended in ends:
        outcomes.settle(run, ended, output / RUNS)
        for sheet in sheets:
            if sheet.name not in results and all(map(outcomes.settled, unique_runs([sheet]).values())):
                results[sheet.name] = table_of(sheet, output, accelerator, console, outcomes)
    accelerator.end_training()
    if only is not None:
        return outcomes.code
    if len(results) > 1:
        console.print(summary([results[sheet.name] for sheet in sheets]))
    console.print(f"tables in {output / request.scale}, in {clock(time.perf_counter() - began)}")
    return outcomes.code


class Planned(NamedTuple):
    """What experiments come to."""

    sheets: list[Sheet]  # none, where one run alone is wanted
    runs: list[Run]  # each once, however many sheets need it


def planned(names: Sequence[str], request: Request, datasets: Path | None, device: str, only: str | None) -> Planned:
    """Resolve experiments; the arguments are those of `reproduce`.

    Raises:
        AssignbenchError: something is wrong with the request, or no row of it can be run.
    """
    sheets = sheets_of(names, request, data_root(datasets), device)
    runs = list(unique_runs(sheets).values())
    if not runs:
        raise next(
            (line.problem for sheet in sheets for line in sheet.lines if line.problem), UsageError("no row can be run")
        )
    return Planned(sheets, runs) if only is None else Planned([], only_of(runs, only))


def sheets_of(names: Sequence[str], request: Request, root: Path, device: str) -> list[Sheet]:
    """The experiments at the scale, everything resolved.

    Raises:
        UsageError: as `sheet_of`; two experiments would write the same tables.
    """
    scale = load_scale(request.scale)
    opened = Opened(cache(partial(open_dataset, data_root=root)), partial(settle_precision, device=device))
    sheets = []
    for name in chosen_experiments(names):
        experiment, file = load_experiment(name)
        sheets.append(sheet_of(file.stem, experiment, file, scale, request, opened))
    stems = [sheet.name for sheet in sheets]
    if repeated := {stem for stem in stems if stems.count(stem) > 1}:
        raise UsageError(f"two experiments are called {min(repeated)} and would write the same tables; rename a file")
    return sheets


def unique_runs(sheets: Sequence[Sheet]) -> dict[str, Run]:
    """Run id → run, in the order of the tables, then seed by seed."""
    return {
        run.run_id: run
        for sheet in sheets
        for seed in sheet.seeds
        for line in sheet.lines
        for run in line.runs
        if run.seed == seed
    }


def one_precision(runs: Sequence[Run]) -> str:
    """The precision that all runs share: a process has one.

    Raises:
        UsageError: they do not.
    """
    found = sorted({run.recipe.recipe.train.precision for run in runs})
    if len(found) > 1:
        raise UsageError(
            f"the recipes differ in train.precision ({', '.join(found)}); ask for their tables one by one, "
            "or set one precision with --set"
        )
    return found[0]


def table_of(sheet: Sheet, output: Path, accelerator: Accelerator, console: Console, outcomes: Outcomes) -> Result:
    """The table of a sheet whose runs have ended, written."""
    evaluations = [evaluated_in_views(line, output / RUNS, accelerator, console, outcomes) for line in sheet.lines]
    lines = [filled(*pair, outcomes) for pair in zip(sheet.lines, evaluations, strict=True)]
    if accelerator.is_main_process:  # which alone writes
        lines = with_pictures(sheet, lines, output / RUNS)
    result = result_of(sheet, lines)
    outcomes.codes.update(line.problem.exit_code for line in sheet.lines if line.problem)
    if accelerator.is_main_process:
        write_tables(result, output, console)
    return result


def write_tables(result: Result, output: Path, console: Console) -> None:
    """On the screen, as Markdown and as CSV."""
    folder = output / result.sheet.scale_name
    console.print(render.terminal(result))
    write_text_atomic(folder / f"{result.sheet.name}.md", render.markdown(result))
    write_text_atomic(folder / f"{result.sheet.name}.csv", render.as_csv(result))
    if result.claims:
        write_text_atomic(folder / f"{result.sheet.name}-claims.csv", render.claims_csv(result))


def matrix(sheet: Sheet, folder: Path) -> RichTable:
    """Rows × seeds, and which of the runs are done."""
    grouped = ["data set"] if sheet.experiment.groups else []
    table = RichTable(*grouped, "row", "strategy", *(f"seed {seed}" for seed in sheet.seeds), title=sheet.name)
    for line in sheet.lines:
        group = [render.dataset_of(sheet, line)] if grouped else []
        states = [state_in_words(run, folder) for run in line.runs] or [nothing_to_run(line)]
        table.add_row(*map(Text, [*group, line.row.label, line.strategy, *states]))
    return table


def summary(results: Sequence[Result]) -> RichTable:
    """One line a table."""
    verdicts = ("supported", "contradicted", "undecided", "not tested")
    table = RichTable("table", "rows", "complete", "failed", "not built", *verdicts, title="claims by verdict")
    for result in results:
        built = [row for line, row in zip(result.sheet.lines, result.rows, strict=True) if not line.row.not_built]
        complete = sum(not row.state for row in built)
        failed = sum(row.failed for row in built)
        counts = [sum(tested.verdict == verdict for tested in result.claims) for verdict in verdicts]
        numbers = (len(result.rows), complete, failed, len(result.rows) - len(built), *counts)
        table.add_row(result.sheet.name, *map(str, numbers))
    return table
