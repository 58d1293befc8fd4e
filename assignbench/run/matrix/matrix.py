"""Every missing run of a matrix, in order; each is recorded as soon as it is done."""

from __future__ import annotations

import contextlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from assignbench.config import Matrix, ResolvedRecipe, flatten
from assignbench.data.caveats import caveats
from assignbench.data.dataset import Splits, describe
from assignbench.data.spec.locate import data_root, open_dataset
from assignbench.errors import AssignbenchError, RunError, Stopped, UsageError
from assignbench.files import make_folder
from assignbench.importing import in_words
from assignbench.machine import busy, own_cores, waiting
from assignbench.run.matrix.ended import Ended
from assignbench.run.matrix.execute import execute
from assignbench.run.matrix.pictures import contents
from assignbench.run.matrix.plan import Candidate, Run, candidates, plan
from assignbench.run.matrix.sharing import claimed, tidy, trained_by
from assignbench.run.results.finished import beginning_so
from assignbench.run.results.json_lines import append
from assignbench.run.results.names import CHECKPOINTS, DETECTIONS, FAILURES, WEIGHTS
from assignbench.run.results.record import FILE, RunRecord, read_record_of
from assignbench.run.results.run_files import lost
from assignbench.run.scoring.evaluators import check_evaluator
from assignbench.run.scoring.reopen import score_again
from assignbench.run.training.checkpoint import checkpoints
from assignbench.run.training.device import build_accelerator, settle_precision, workers_of
from assignbench.run.training.processes import from_main
from assignbench.run.training.reporter import clock
from assignbench.run.training.trackers import check_trackers
from assignbench.run.training.train import micro_batch
from assignbench.trust import remember

RESUME = "add --resume to continue, or remove the folder to start over"
DONE, UNFINISHED, TO_DO = "done", "unfinished", "to do"


@dataclass(frozen=True)
class MatrixOutcome:
    """What became of a matrix."""

    records: tuple[RunRecord, ...]  # finished runs, old and new, in the order of the matrix
    errors: tuple[int, ...]  # exit codes of the runs that have no record
    planned: tuple[Run, ...] = ()  # of a dry run

    @property
    def exit_code(self) -> int:
        """0: all finished; what the failures have in common (data, machine); else 1."""
        codes = set(self.errors)
        return codes.pop() if len(codes) == 1 else int(bool(codes))


# Brings runs that are not done to their records, in any order, and yields each as it ends.
Conduct = Callable[[Sequence[Run]], Iterator[tuple[Run, Ended]]]

# Shows what the runs that are not done would take, in the folder of their folders.
Estimate = Callable[[Sequence[Run], Path, Accelerator, Console], None]


@dataclass(frozen=True)
class Planned:
    """A matrix, everything in it resolved."""

    strategies: tuple[Candidate, ...]
    data: tuple[Splits, ...]
    recipe: ResolvedRecipe
    runs: tuple[Run, ...]


def planned(matrix: Matrix) -> Planned:
    """Resolve what was asked for.

    Raises:
        AssignbenchError: something is wrong with it.
    """
    strategies = candidates(matrix.strategies, matrix.protocol, matrix.preset)
    for one in strategies:
        remember(one.strategy.text)
    root = data_root(matrix.data_root)
    data = [open_dataset(spec, root) for spec in matrix.datasets]
    recipe = settle_precision(matrix.recipe, matrix.device)
    runs = only_of(plan(strategies, data, recipe, matrix.seeds), matrix.only)
    check_evaluator(recipe.recipe.evaluate.evaluator)
    check_trackers(matrix.trackers)
    return Planned(tuple(strategies), tuple(data), recipe, tuple(runs))


def run_matrix(
    matrix: Matrix, console: Console, conduct: Conduct | None = None, estimate: Estimate | None = None
) -> MatrixOutcome:
    """Bring every run of a matrix to its record; a run that fails does not stop the others.

    Args:
        matrix: what was asked for.
        console: to talk to.
        conduct: what computes the runs; None: this process does, one after another.
        estimate: shows what runs would take, under ``dry_run``; None: nothing does.

    Raises:
        AssignbenchError: something is wrong with the request itself: nothing was trained.
    """
    found = planned(matrix)
    settings = found.recipe.recipe.train
    computes = (matrix.device, settings.precision) if conduct is None else ("cpu", "no")
    accelerator = build_accelerator(*computes)
    console.quiet = console.quiet or not accelerator.is_main_process
    images = micro_batch(settings, accelerator.num_processes)

    for splits, name in {run.splits: run.data for run in found.runs}.items():
        show_data(splits, console, name)
    where = accelerator.device.type if conduct is None else "the workers"
    console.print(
        f"recipe {found.recipe.name}: {settings.iterations} iterations of {settings.batch} images "
        f"({accelerator.num_processes} × {settings.accumulation} × {images}) on {where}, "
        f"lr {settings.lr:g}, precision {settings.precision}",
    )
    if conduct is None:
        console.print(
            f"{torch.get_num_threads()} threads a process ({waiting(os.environ)}), "
            f"{workers_of(found.recipe.recipe.data, accelerator.device)} loader processes beside it",
        )
        if accelerator.device.type == "cpu" and not matrix.dry_run and (shared := busy(own_cores())) is not None:
            console.print(f"{shared}: training takes longer than alone")
    for one in found.strategies:
        show_preset(one, found.recipe, console)
    if matrix.dry_run:
        show_origins(found.recipe, console)
        console.print(runs_table(found.runs, matrix.output))
        if estimate is not None:
            estimate(found.runs, matrix.output, accelerator, console)
        console.print("not looked at: the pictures themselves; run looks at them before it trains, data check does now")
        return MatrixOutcome((), (), found.runs)
    if conduct is None:  # jobs always go on where they were
        refuse_unfinished(found.runs, matrix.output, resume=matrix.resume)
    make_folder(matrix.output)
    seen = contents(found.data, accelerator, console)
    runs = [replace(run, content=seen.get(run.splits.spec)) for run in found.runs]
    if conduct is None:
        ends = in_turn(
            runs, matrix.output, accelerator, resume=matrix.resume, console=console, trackers=matrix.trackers
        )
    else:
        ends = elsewhere(runs, matrix.output, conduct, console)
    codes = {run.run_id: ended.code for run, ended in ends}
    accelerator.end_training()
    records = tuple(read_record_of(run.run_id, matrix.output) for run in runs if codes[run.run_id] == 0)
    return MatrixOutcome(records, tuple(codes[run.run_id] for run in runs if codes[run.run_id]))


def only_of(runs: Sequence[Run], only: str | None) -> list[Run]:
    """The run of that id, or of an id that begins so; None: all of them.

    Raises:
        UsageError: there is none, or several.
    """
    if only is None:
        return list(runs)
    ids = beginning_so(only, [run.run_id for run in runs])
    if len(ids) > 1:
        raise UsageError(f"--only {only}: {len(ids)} runs of this command begin so: {', '.join(ids[:3])}")
    found = [run for run in runs if run.run_id in ids]
    if not found:
        has = ", ".join(run.run_id for run in runs[:3]) + (", …" if len(runs) > 3 else "")
        raise UsageError(
            f"--only {only}: no run of this command is called so; it has {has}\n"
            "a run's name changes with settings, data, code and, where the machine settles it, train.precision"
        )
    return found


def in_turn(
    runs: Sequence[Run],
    output: Path,
    accelerator: Accelerator,
    *,
    resume: bool,
    console: Console,
    trackers: Sequence[str] = (),
) -> Iterator[tuple[Run, Ended]]:
    """Bring runs to their records in this process, one after another, and yield each as it ends."""
    for run in runs:
        yield run, attempt(run, output, accelerator, resume=resume, console=console, trackers=trackers)


def elsewhere(runs: Sequence[Run], output: Path, conduct: Conduct, console: Console) -> Iterator[tuple[Run, Ended]]:
    """Let others bring runs to their records, but for those that have one, and yield each as it ends."""
    ends: dict[str, Ended] = {}
    for run in runs:
        try:
            if is_done(run, output):
                ends[run.run_id] = Ended(0)
        except RunError as error:  # no training mends it
            ends[run.run_id] = Ended(error.exit_code, str(error))
            console.print(Text.assemble(("failed", "bold red"), f": {run.title}: {error}"), soft_wrap=True)
    missing = [run for run in runs if run.run_id not in ends]
    done = sum(ended.code == 0 for ended in ends.values())
    console.print(f"{done} done, {len(missing)} to do")
    yield from ((run, ends[run.run_id]) for run in runs if run.run_id in ends)
    yield from conduct(missing)


def attempt(
    run: Run,
    output: Path,
    accelerator: Accelerator,
    *,
    resume: bool,
    console: Console,
    trackers: Sequence[str] = (),
) -> Ended:
    """As `finish`, but a failure is said, logged and returned."""
    folder = output / run.run_id
    try:
        finish(run, output, accelerator, resume=resume, console=console, trackers=trackers)
    except BaseException as error:  # a stranger's strategy may raise anything
        if isinstance(error, KeyboardInterrupt | Stopped) or accelerator.num_processes > 1:
            raise  # a person or the system has spoken; and processes that lost step cannot go on together
        what = in_words(error)
        console.print(Text.assemble(("failed", "bold red"), f": {run.title}: {what}"), soft_wrap=True)
        with contextlib.suppress(AssignbenchError):  # the failure itself has been said
            append(folder / FAILURES, {"error": what, "traceback": traceback.format_exc()})
            console.print(Text(f"the traceback is in {folder / FAILURES}"), soft_wrap=True)
        return Ended(error.exit_code if isinstance(error, AssignbenchError) else 1, what)
    finally:
        accelerator.free_memory()
    return Ended(0)


def finish(
    run: Run,
    output: Path,
    accelerator: Accelerator,
    *,
    resume: bool,
    console: Console,
    trackers: Sequence[str] = (),
) -> None:
    """Bring one run to its record, unless it has one.

    Args:
        run: from `plan`.
        output: folder of the run's folder.
        accelerator: what trains it.
        resume: go on from the last checkpoint, if there is one; False: that is refused.
        console: to talk to.
        trackers: names of those that are told how it goes.

    Raises:
        AssignbenchError: whatever went wrong, said in its message.
    """
    start, folder = time.perf_counter(), output / run.run_id

    def say(what: str) -> None:
        console.print(Text.assemble((run.title, "bold"), f": {what}"), soft_wrap=True)

    def done() -> bool:
        if not from_main(is_done(run, output), accelerator):
            return False
        if accelerator.is_main_process:
            tidy(folder)
        say(f"done already, {folder}")
        return True

    if done():
        return
    with claimed(folder, accelerator, lambda holder: say(f"waiting for {holder}")):
        if done():  # while the folder was waited for
            return
        if not resume and from_main(state(folder) == UNFINISHED, accelerator):
            raise UsageError(f"{folder} holds an unfinished run\n{RESUME}")
        if from_main(state(folder) == DONE, accelerator):
            why = to_score_again(run, folder) or ""
            say(f"trained already, but {why}: evaluating its weights again, {folder}")
            record = score_again(run, folder, accelerator, why)
        else:
            say(str(folder))
            record = execute(run, folder, accelerator, resume=resume, console=console, trackers=trackers)
    if record is not None:
        show_result(record, time.perf_counter() - start, console)


def is_done(run: Run, output: Path) -> bool:
    """Whether a run has a record, with all that belongs to it, made with the evaluation pictures that there are now.

    Raises:
        RunError: the record is damaged, or what cannot be made again is gone or changed.
    """
    folder = output / run.run_id
    return state(folder) == DONE and to_score_again(run, folder) is None


def refuse_unfinished(runs: Sequence[Run], output: Path, *, resume: bool) -> None:
    """Checkpoints of an interrupted run are neither thrown away nor continued without being asked.

    Raises:
        UsageError: there are some, and ``--resume`` was not given.
    """
    folders = [output / run.run_id for run in runs]
    started = [folder for folder in folders if state(folder) == UNFINISHED and trained_by(folder) is None]
    if started and not resume:
        raise UsageError(f"{started[0]} holds an unfinished run ({len(started)} of {len(runs)} are)\n{RESUME}")


def runs_table(runs: Sequence[Run], output: Path) -> RichTable:
    """What a matrix consists of and what of it is done."""
    table = RichTable("run", "state", "folder", title="planned runs")
    for run in runs:
        found = state_in_words(run, output)
        more = ": --resume continues it" if found == UNFINISHED else ""
        table.add_row(run.title, found + more, str(output / run.run_id))
    return table


def state_in_words(run: Run, output: Path) -> str:
    """`state`, whether a record can be trusted, and who is at it."""
    folder = output / run.run_id
    found = state(folder)
    if found == DONE:
        try:
            why = to_score_again(run, folder)
        except AssignbenchError as error:
            return f"will fail: {error}"
        return found if why is None else f"to be evaluated again: {why}"
    holder = trained_by(folder)
    return found if holder is None else f"trained by {holder}"


def to_score_again(run: Run, folder: Path) -> str | None:
    """Why a run that has a record is to be evaluated again by its weights; None: it is done.

    Raises:
        RunError: the record is damaged, or what cannot be made again is gone or changed.
    """
    record = read_record_of(run.run_id, folder.parent)
    gone = lost(folder, record, (WEIGHTS, DETECTIONS))
    if worst := [f"{name} {what}" for name, what in gone.items() if name != DETECTIONS]:
        raise RunError(f"{folder}: {', '.join(worst)}; put it back, or move the folder away and run again")
    if gone:
        return f"its {DETECTIONS} {gone[DETECTIONS]}"
    if run.content is not None and record.dataset.evaluation.content not in (None, run.content):
        return "its evaluation pictures are others now"
    return None


def state(folder: Path) -> str:
    """How far a run has come, by what its folder holds."""
    if os.path.lexists(folder / FILE):  # what it is says whoever reads it
        return DONE
    return UNFINISHED if checkpoints(folder / CHECKPOINTS) else TO_DO


def show_origins(recipe: ResolvedRecipe, console: Console) -> None:
    """Every setting with its value, by where it came from."""
    values = flatten(recipe.recipe)
    for origin in dict.fromkeys(recipe.origins.values()):
        of_it = (f"{key}={json.dumps(values[key])}" for key, one in recipe.origins.items() if one == origin)
        console.print(Text.assemble((f"from {origin}", "bold"), f": {', '.join(of_it)}"), soft_wrap=True)


def show_preset(one: Candidate, recipe: ResolvedRecipe, console: Console) -> None:
    """What a published preset changes in the recipe that the other strategies share."""
    if one.protocol.preset is None:
        return
    own = one.protocol.recipe(recipe)
    before, after = flatten(recipe.recipe), flatten(own.recipe)
    changes = [f"{key} = {after[key]}" for key in after if after[key] != before[key]]
    changes += [f"{key} = {after[key]} in place of its own" for key in after if key.startswith("loss.") and after[key]]
    console.print(
        f"{one.label}: preset {one.protocol.preset_name} ({one.protocol.preset.source}); "
        f"{', '.join(changes) or 'the recipe as it is'}",
        soft_wrap=True,
    )


def show_data(splits: Splits, console: Console, name: str | None = None) -> None:
    """Counts of both splits, everything that was repaired while reading, and what a reader of a number must know.

    Args:
        splits: the data set.
        console: to talk to.
        name: what it is called among others; None: by its own.
    """
    name = name or splits.train.name
    for dataset in (splits.train, splits.evaluation):
        for line in describe(dataset, name):
            console.print(line)
    for caveat in caveats(splits):
        console.print(Text.assemble(("caveat", "bold"), f": {name}, {caveat}"), soft_wrap=True)


def show_result(record: RunRecord, seconds: float, console: Console) -> None:
    """AP, time and assignment of a finished run, and what its strategy learned."""
    values = {name: record.metrics[name] for name in ("AP", "AP50", "AP75")}
    numbers = "  ".join(f"{name} {'–' if value is None else f'{100 * value:.1f}'}" for name, value in values.items())
    part = record.seconds
    console.print(
        f"{numbers}   in {clock(seconds)} (data {clock(part.data)}, network {clock(part.network)}, "
        f"assignment {clock(part.assignment)}, evaluation {clock(part.evaluation)})",
    )
    positives, without = record.assignment.get("positives"), record.assignment.get("without_positive")
    if positives is not None and without is not None:
        console.print(
            f"assignment: {positives:.1f} positives an object, {without:.1%} of objects without any",
        )
    for note in record.notes:
        console.print(f"note: {note}")
    if record.learned:
        console.print(learned_table(record))


# of names that have one; the true offset beside them has another unit
SYMBOLS = {"mu_x": "μx, strides", "mu_y": "μy, strides", "sigma_x": "σx, strides", "sigma_y": "σy, strides"}


def two_digits(value: float, *, sign: bool = True) -> str:
    """+0.12, −0.12 or 0.00."""
    rounded = round(value, 2) + 0.0  # −0 becomes 0
    return f"{rounded:+.2f}" if sign and rounded else f"{rounded:.2f}"


def learned_table(record: RunRecord) -> RichTable:
    """What the strategy's own parameters say, by class, beside the true offset where the data set knows it."""
    offsets = record.true_offsets or {}
    names = list(next(iter(record.learned.values())))
    table = RichTable("class", *(SYMBOLS.get(name, name) for name in names), title="learned by the strategy")
    if offsets:
        table.add_column("true offset x, y, in box sizes")
    for label, numbers in record.learned.items():
        row = [two_digits(numbers[name], sign=not name.startswith("sigma")) for name in names]
        if offsets:
            row.append(", ".join(two_digits(value) for value in offsets[label]) if label in offsets else "–")
        table.add_row(label, *row)
    return table
