"""The training loop, readable top to bottom; Accelerate puts it on one CPU, one GPU or many."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from torch.optim import Optimizer

from assignbench.data.dataset import Dataset
from assignbench.data.load.augment import Augmentation, Growth
from assignbench.data.load.batch import Batch
from assignbench.data.load.streams import training_batches
from assignbench.data.load.transfer import on_device
from assignbench.errors import RunError, Stopped, UsageError
from assignbench.recipe import DataSettings, TrainSettings
from assignbench.run.results.json_lines import Log, is_validation, read_rows
from assignbench.run.results.names import CHECKPOINTS, COMMON, LOSSES, STATISTICS, VALIDATION
from assignbench.run.results.progress import ProgressFile
from assignbench.run.training.batch_norm import synchronise_batch_norm
from assignbench.run.training.checkpoint import Progress, load_newest, save_checkpoint
from assignbench.run.training.compiling import compile_network
from assignbench.run.training.device import memory_advice, workers_of
from assignbench.run.training.learner import Learner, Step
from assignbench.run.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from assignbench.run.training.processes import from_main, main_process, summed
from assignbench.run.training.reporter import Reporter, reporting
from assignbench.run.training.snapshots import START, save_snapshot, snapshots
from assignbench.run.training.statistics import Tally, statistics, tally
from assignbench.run.training.step import Iteration, Trainer
from assignbench.run.training.stopping import kept_for_the_loop, stop_asked
from assignbench.run.training.stopwatch import Stopwatch
from assignbench.run.training.trackers import Trackers

Validate = Callable[[float], "Mapping[str, float | None] | None"]


@dataclass(frozen=True)
class Trained:
    """What a finished training leaves beside the weights."""

    statistics: Mapping[str, float | None]  # assignment of the last epoch (the last, unfinished one if it is all)
    seconds: Mapping[str, float]  # total, data, network, assignment
    images_per_second: float
    notes: tuple[str, ...]
    logs: Mapping[str, Log]  # by name; on the main process alone


def train(
    learner: Learner,
    dataset: Dataset,
    accelerator: Accelerator,
    *,
    settings: TrainSettings,
    data: DataSettings,
    seed: int,
    run_id: str,
    folder: Path,
    resume: bool,
    console: Console,
    progress_file: ProgressFile,
    validate: Validate,
    trackers: Trackers,
) -> Trained:
    """Train a learner in place.

    Writes ``losses.jsonl`` (a line every ``log_every`` iterations, and one for each validation), ``assignment.jsonl``
    (a line an epoch), checkpoints and the ``snapshots`` that are asked for below ``folder``. Killed at any moment and
    resumed, it ends in the same weights.

    ``validate`` gives the losses on the evaluation split as lines have them, by a progress from 0 to 1, and None where
    a stop ended it early; it is asked as `validates` says. ``trackers`` are told what the log of losses is told.

    Raises:
        RunError: a loss is not finite, a checkpoint cannot be continued, or the logs are not those it was made with.
        DataError: a picture cannot be read.
        SystemProblem: nothing can be written, memory is short, or the network cannot be compiled.
        UsageError: the global batch does not divide by processes × micro-steps.
        Stopped: the system asked any of the processes to leave; a checkpoint was saved before.
    """
    micro_batch(settings, accelerator.num_processes)  # refuses what does not divide, before anything is built
    synchronise_batch_norm(learner, accelerator)
    if settings.compile:
        compile_network(learner.detector)
    optimizer = build_optimizer(learner, settings)
    with memory_advice(f"the network does not fit into the memory of {accelerator.device}, or others have taken it"):
        model, wrapped_optimizer = accelerator.prepare(learner, optimizer)
    model.train()

    progress, notes = None, ()
    if resume:
        progress, notes = load_newest(folder / CHECKPOINTS, learner, optimizer, run_id)
    first = progress.iteration if progress else 0
    notes = (*notes, *as_before(progress, accelerator))
    clock = Stopwatch(progress.seconds if progress else {}, accelerator.device)
    seen = Tally.empty(accelerator.device)
    if progress:
        own = own_tally(progress.tally, accelerator)
        seen = Tally.unpacked(torch.tensor(own, dtype=torch.float64, device=accelerator.device))
    if progress and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(dict(progress.scaler))
    logs: dict[str, Log] = {}
    with main_process(accelerator) as writes:
        if writes:
            digests = progress.logs if progress else {}
            logs = {name: Log(folder / name, first, digests.get(name)) for name in (LOSSES, STATISTICS)}

    loader = training_batches(
        dataset,
        augmentation(data, settings.iterations),
        batch=settings.batch,
        seed=seed,
        start=first,
        stop=settings.iterations,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        workers=workers_of(data, accelerator.device),
        micro_steps=settings.accumulation,
    )
    latest = latest_statistics(folder / STATISTICS)
    trackers.start(first)
    trainer = Trainer(model, wrapped_optimizer, accelerator, settings, clock)

    def observe(batch: Batch, step: Step) -> None:
        nonlocal seen
        seen = seen + tally(step.assignment, step.priors, batch.targets)
        clock.sample("assignment", step.assignment_seconds or 0.0)

    def validated(done: int) -> bool:
        """Whether the losses on the evaluation split are in the log now; False: a stop came before."""
        with clock.apart("evaluation"):
            losses = validate(done / settings.iterations)
        if losses is not None and accelerator.is_main_process:
            logs[LOSSES].append({"iteration": done, **losses})
            reporter.say(validation_line(done, losses))
            trackers.log(losses, done)
        return losses is not None

    if settings.snapshots and first in (START, *settings.snapshots):
        keep(folder, learner, accelerator, first, run_id, logs)
    notes = (*notes, *missed(folder, settings.snapshots, first))
    before: Iteration | None = None
    with (
        reporting(console, first, settings.iterations) as reporter,
        contextlib.closing(loader),
        kept_for_the_loop(),
    ):
        if first and validates(settings, first, len(dataset)):  # a stop may have put it off
            there = accelerator.is_main_process and has_validation(folder / LOSSES, first)
            if not from_main(there, accelerator) and not validated(first):
                raise stopped()
        batches = on_device(loader, accelerator.device)
        for iteration in range(first, settings.iterations):
            rate = learning_rate(iteration, settings)
            set_learning_rate(optimizer, rate)
            try:
                current = trainer.iterate(
                    batches,
                    observe if iteration % settings.statistics_every == 0 else None,
                    progress=iteration / settings.iterations,
                )
            except Exception:
                check_finite(before, dataset, iteration)  # what went wrong first is the cause
                raise
            check_finite(before, dataset, iteration)  # by now it is known: the device is at work on the current one
            leaves = before is not None and before.stop_asked()  # the same on all processes
            before = current
            clock.count()

            done = iteration + 1
            reporter.advance(done)
            progress_file.tell("training", done)
            last, epoch = done == settings.iterations, iteration * settings.batch // len(dataset)
            speaks, saves = (last or done % every == 0 for every in (settings.log_every, settings.checkpoint_every))
            saves |= leaves
            ends = last or done * settings.batch // len(dataset) > epoch
            keeps = done in settings.snapshots
            judges = validates(settings, done, len(dataset))
            if speaks or saves or ends or keeps or judges:  # what is written has finite losses behind it
                check_finite(current, dataset, done)
            if speaks:
                log(logs, reporter, trackers, accelerator, clock, done, current.global_losses(), rate, settings.batch)
            if ends:
                found = statistics(Tally.unpacked(summed(seen.packed(), accelerator)))
                latest = found if found["objects"] else latest  # the last epoch may be too short for a sample
                seen = Tally.empty(accelerator.device)
                if accelerator.is_main_process:
                    logs[STATISTICS].append({"iteration": done, "epoch": epoch, **found})
            if judges and not validated(done):
                saves = leaves = True
            if keeps:  # before a checkpoint that would resume behind it
                keep(folder, learner, accelerator, done, run_id, logs)
            if saves:
                save(folder, learner, optimizer, accelerator, done, run_id, clock, seen, logs)
            if leaves:
                raise stopped()
        if summed(torch.tensor(float(stop_asked() is not None), device=accelerator.device), accelerator).item():
            raise stopped()  # after the last word that all have read; the last iteration has a checkpoint
    if settings.accumulation > 1:
        notes = (
            *notes,
            f"losses are normalised in each of {settings.accumulation} micro-steps, then averaged",
        )
    return Trained(latest, clock.parts(), clock.rate(settings.batch), notes, logs)


def validates(settings: TrainSettings, done: int, pictures: int) -> bool:
    """Whether losses on the evaluation split belong to a line of the log after so many iterations.

    They do when another ``validate_every`` passes through the training pictures are whole, and at the end.
    """
    if not settings.validate_every:
        return False
    return done == settings.iterations or rounds(settings, done, pictures) > rounds(settings, done - 1, pictures)


def validations(settings: TrainSettings, pictures: int) -> int:
    """How often a whole training validates."""
    if not settings.validate_every:
        return 0
    before_the_last = settings.iterations - 1
    return 1 + min(before_the_last, rounds(settings, before_the_last, pictures))


def rounds(settings: TrainSettings, done: int, pictures: int) -> int:
    """How often ``validate_every`` passes through the training pictures are whole after so many iterations."""
    return done * settings.batch // (settings.validate_every * pictures)


def has_validation(file: Path, iteration: int) -> bool:
    """Whether a log of losses has the line of validation of an iteration."""
    return any(row["iteration"] == iteration and is_validation(row) for row in read_rows(file))


def validation_line(done: int, losses: Mapping[str, float | None]) -> str:
    """What a person reads of a validation: totals."""
    totals = (losses[f"{prefix}total"] for prefix in (VALIDATION, COMMON))
    own, common = ("not finite" if total is None else f"{total:.3f}" for total in totals)
    return f"{done}: evaluation split: total {own}  common {common}"


def own_tally(rows: Sequence[Sequence[float]], accelerator: Accelerator) -> Sequence[float]:
    """What this process has counted of the unfinished epoch: sums are rounded by who adds what.

    Of another number of processes the main one takes it all.
    """
    if len(rows) == accelerator.num_processes:
        return rows[accelerator.process_index]
    return [sum(column) if accelerator.is_main_process else 0.0 for column in zip(*rows, strict=True)]


def as_before(progress: Progress | None, accelerator: Accelerator) -> tuple[str, ...]:
    """On a CPU go on with as many threads as before, so that every sum is rounded as if nothing had happened.

    Returns:
        A note, if this process would have had another number.
    """
    if progress is None or accelerator.device.type != "cpu" or progress.threads == torch.get_num_threads():
        return ()
    own = torch.get_num_threads()
    torch.set_num_threads(progress.threads)
    return (f"threads: {progress.threads}, as the run was begun, in place of {own}; they decide how sums are rounded",)


def stopped() -> Stopped:
    """Why all processes leave."""
    return Stopped(stop_asked() or "a signal to another process")


def micro_batch(settings: TrainSettings, processes: int) -> int:
    """Pictures a process sees at once; the global batch is the setting.

    Raises:
        UsageError: it does not divide.
    """
    parts = processes * settings.accumulation
    if settings.batch % parts:
        raise UsageError(
            f"train.batch = {settings.batch} does not divide by {processes} processes × "
            f"{settings.accumulation} micro-steps; choose a multiple of {parts}"
        )
    return settings.batch // parts


def latest_statistics(file: Path) -> Mapping[str, float | None]:
    """Those of the last epoch with objects that a resumed run has behind it; of a new run, of nothing."""
    rows = [row for row in read_rows(file) if row["objects"]]
    if not rows:
        return statistics(Tally.empty())
    return {name: value for name, value in rows[-1].items() if name not in ("iteration", "epoch")}


def check_finite(iteration: Iteration | None, dataset: Dataset, number: int) -> None:
    """Stop every process when any loss of any of them is NaN or infinite.

    Args:
        iteration: the one to look at; None: there is none.
        dataset: knows the images' ids.
        number: of the iteration, counted from 1.

    Raises:
        RunError: names the loss, the iteration and the image ids of the process that met it.
    """
    odd = None if iteration is None else iteration.odd()
    if odd is None:
        return
    if not odd.losses:
        raise RunError(f"iteration {number}: another process met a loss that is not finite")
    ids = ", ".join(str(dataset.images[index].id) for index in odd.images)
    raise RunError(
        f"iteration {number}: loss {', '.join(odd.losses)} is not finite, in images {ids}\n"
        "lower train.lr, lengthen train.warmup or set train.clip"
    )


def augmentation(data: DataSettings, iterations: int) -> Augmentation:
    """What a recipe does to training pictures, in a training of so many iterations."""
    return Augmentation(
        short_side=data.short_side,
        long_side=data.long_side,
        flip=data.flip,
        short_side_range=data.short_side_range,
        crop=data.crop,
        jitter=data.jitter,
        growth=Growth(data.grow_from, round(data.grow_for * iterations) if data.grow_from < 1 else 0),
    )


def log(
    logs: Mapping[str, Log],
    reporter: Reporter,
    trackers: Trackers,
    accelerator: Accelerator,
    clock: Stopwatch,
    done: int,
    losses: Mapping[str, float],
    rate: float,
    batch: int,
) -> None:
    """One line in the loss log, on the screen and for trackers: the losses of the global batch of this iteration."""
    if not accelerator.is_main_process:
        return
    found = {**losses, "total": sum(losses.values())}
    logs[LOSSES].append({"iteration": done, "lr": rate, **found})
    trackers.log({"lr": rate, **{f"train/{name}": value for name, value in found.items()}}, done)
    reporter.show(done, losses, rate, *clock.lap(batch))


def save(
    folder: Path,
    learner: Learner,
    optimizer: Optimizer,
    accelerator: Accelerator,
    done: int,
    run_id: str,
    clock: Stopwatch,
    seen: Tally,
    logs: Mapping[str, Log],
) -> None:
    """Write a checkpoint on the main process; the others wait, and fail with it."""
    everyone = accelerator.gather(seen.packed()[None])
    assert isinstance(everyone, torch.Tensor)  # noqa: S101  # for the type checker: tensors give tensors
    scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else {}
    with main_process(accelerator) as writes:
        if writes:
            digests = {name: one.settled() for name, one in logs.items()}
            progress = Progress(
                done,
                run_id,
                clock.parts(),
                tuple(map(tuple, everyone.tolist())),
                scaler,
                digests,
                torch.get_num_threads(),
            )
            save_checkpoint(folder / CHECKPOINTS, learner, optimizer, progress)


def keep(
    folder: Path, learner: Learner, accelerator: Accelerator, done: int, run_id: str, logs: Mapping[str, Log]
) -> None:
    """Write a snapshot on the main process; the others wait, and fail with it."""
    with main_process(accelerator) as writes:
        if writes:
            for one in logs.values():
                one.require()
            save_snapshot(folder, learner.state_dict(), done, run_id)


def missed(folder: Path, wanted: Sequence[int], first: int) -> tuple[str, ...]:
    """A note on snapshots that a resumed run can no longer take, if any: it was begun without asking for them."""
    kept = snapshots(folder)
    lost = [iteration for iteration in (START, *wanted) if wanted and iteration < first and iteration not in kept]
    if not lost:
        return ()
    return (f"no snapshots of iterations {', '.join(map(str, lost))}: the run was resumed behind them, from {first}",)
