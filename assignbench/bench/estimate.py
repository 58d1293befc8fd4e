"""What runs would take: a few real steps of each distinct network, multiplied.

A step's cost grows with the pixels of its pictures. On a GPU the real batch is measured; on a CPU a batch of at most
`PIXELS` pixels, so that the estimate of a cluster's work takes seconds on a laptop, and time and memory are multiplied.
Loading pictures and scoring detections are not in it.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from assignbench.bench.memory import peak_bytes
from assignbench.bench.problem import Case
from assignbench.bench.step import BenchStep, random_batch, step_of
from assignbench.config import flatten
from assignbench.core import Setting
from assignbench.data.load.transforms import resized
from assignbench.importing import in_words
from assignbench.machine import bound_to, busy
from assignbench.run.matrix.matrix import DONE, state
from assignbench.run.matrix.plan import Run
from assignbench.run.scoring.detect import detect_images
from assignbench.run.training.checkpoint import total_parameters
from assignbench.run.training.learner import now
from assignbench.run.training.reporter import clock
from assignbench.run.training.train import augmentation, micro_batch, validations

PIXELS = 200_000  # of a measured batch on a CPU
NUMBER = 4  # bytes of a parameter in a file and in memory
DETECTION = 120  # bytes of a detection in a file, at most


@dataclass(frozen=True)
class Measured:
    """One network at work."""

    what: str  # batch that was measured, in words
    factor: float  # pixels of a process's real batch, as a multiple of the measured one's
    step: float  # seconds of an optimizer step of the real batch
    test: float  # seconds of a picture in evaluation
    memory: float  # bytes, at the peak of training: on a GPU its own, on a CPU of the process
    parameters: int


def show_estimate(runs: Sequence[Run], folder: Path, accelerator: Accelerator, console: Console) -> None:
    """Time, memory and disk of what is to do, as a table."""
    waiting: dict[Hashable, list[Run]] = {}
    for run in runs:
        if state(folder / run.run_id) != DONE:
            waiting.setdefault(network_of(run), []).append(run)
    if not waiting:
        console.print("every run is done: nothing to estimate")
        return
    device = accelerator.device
    table = RichTable("network", "runs", "measured", "s a step", "hours a run", "hours", "GB memory", title="to do")
    hours, disk, failed, scratch = 0.0, 0.0, False, 0.0
    for some in waiting.values():
        first = some[0]
        label = f"{first.recipe.recipe.model.backbone}, {first.candidate.label}"
        console.print(Text(f"measuring {label}, recipe {first.recipe.name}"))
        try:
            one = measured(first, accelerator)
        except (Exception, SystemExit) as error:  # of a stranger's strategy, whose runs would fail, the others not
            table.add_row(Text(label), str(len(some)), Text(in_words(error)))
            failed = True
            continue
        finally:
            accelerator.free_memory()
        each = [seconds_of(run, one) / 3600 for run in some]
        hours += sum(each)
        disk += sum(bytes_left(run, one.parameters) for run in some)
        scratch = max(scratch, *(bytes_between(run, one.parameters) for run in some))
        table.add_row(
            Text(label),
            str(len(some)),
            one.what if one.factor == 1 else f"{one.what} × {one.factor:.3g}",
            f"{one.step:.3g}",
            f"{statistics.fmean(each):.3g}",
            f"{sum(each):.3g}",
            f"{one.memory / 1e9:.2g}",
        )
    console.print(table)
    free = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free
    cut = "" if device.type == "cuda" else "; × pixels where a smaller batch was measured"
    taken = (
        f"{'at least ' if failed else ''}{clock(3600 * hours)} (h:mm:ss or m:ss) on {device.type} for what is to do, "
        f"one run after another; {disk / 1e9:.2g} GB of results and up to {scratch / 1e9:.2g} GB of checkpoints at "
        f"a time, {free / 1e9:.3g} GB are free there"
    )
    measured_by = (
        "measured: training steps and forward passes of the first strategy of each network, on noise; not in it: "
        f"loading pictures, scoring, what other strategies' assignments take{cut}"
    )
    console.print(Text(taken), soft_wrap=True)
    console.print(Text(measured_by), soft_wrap=True)
    if device.type != "cuda" and (shared := busy(bound_to())) is not None:
        console.print(Text(f"{shared}: alone, it takes less"), soft_wrap=True)
    if disk + scratch > free:
        console.print(Text("warning: that does not fit on the disk; choose another --output", style="bold red"))


def network_of(run: Run) -> Hashable:
    """What decides the cost of a step but for the strategy: model, head, sizes, batch."""
    one, settings = run.candidate, flatten(run.recipe.recipe)
    classes = len(run.splits.train.classes)
    setting = Setting(classes=classes, channels=run.recipe.recipe.model.channels)
    head = one.protocol.surround(one.cls, one.options, setting, one.extras, run.recipe.recipe.loss).head
    keys = ("data.short_side", "data.long_side", "train.batch", "train.accumulation", "train.precision")
    deciding = [str(value) for key, value in sorted(settings.items()) if key.startswith("model.") or key in keys]
    return (*deciding, head.priors_per_cell, classes)


def measured(run: Run, accelerator: Accelerator) -> Measured:
    """Train a few steps on noise, and detect in it.

    Raises:
        SystemProblem: it does not fit into memory.
    """
    settings, device = run.recipe.recipe, accelerator.device
    images = micro_batch(settings.train, accelerator.num_processes)
    case, factor = case_of(run, images, math.inf if device.type == "cuda" else PIXELS)
    step = step_of(run.candidate, run.recipe, case, accelerator)
    step.train()  # allocations, and the optimizer's state
    start = now(device)
    step.train()
    step.train()
    seconds = (now(device) - start) / 2
    working = peak_bytes(step.train, device)
    step.look()
    parameters = total_parameters(step.learner)
    gradients = min(working, NUMBER * parameters)
    standing = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return Measured(
        what=f"{case.batch} × {case.image}",
        factor=factor,
        step=seconds * factor * settings.train.accumulation,
        test=test_seconds(step, case, run),
        memory=standing + gradients + (working - gradients) * factor,
        parameters=parameters,
    )


def case_of(run: Run, images: int, limit: float) -> tuple[Case, float]:
    """A batch like the run's, which has ``images``, of up to ``limit`` pixels; and by how much the run's is larger."""
    height, width = picture_size(run, statistics.fmean(run.recipe.recipe.data.short_side))
    train = run.splits.train
    batch = max(1, min(images, int(limit // (height * width)))) if math.isfinite(limit) else images
    shrink = min(1.0, math.sqrt(limit / (height * width * batch)))
    small = [max(64, round(side * shrink)) for side in (height, width)] if shrink < 1 else [height, width]
    objects = max(1, round(len(train.boxes) / max(1, len(train))))
    case = Case(objects, *small, batch=batch, classes=len(train.classes))
    return case, images * height * width / (batch * small[0] * small[1])


def picture_size(run: Run, short_side: float, long_side: int | None = None) -> tuple[int, int]:
    """Height and width of the data set's mean picture, resized."""
    width, height = run.splits.train.sizes.mean(0)
    wide, high = resized(int(width), int(height), int(short_side), long_side or run.recipe.recipe.data.long_side)
    return high, wide


def test_seconds(step: BenchStep, case: Case, run: Run) -> float:
    """Seconds of one picture in evaluation, at the size of evaluation."""
    settings, detector, device = run.recipe.recipe, step.learner.detector, step.trainer.accelerator.device
    batch = random_batch(case, device)
    detector.eval()
    with torch.no_grad():
        start = now(device)
        detect_images(detector, batch.images, batch.sizes, settings.evaluate)
        seconds = now(device) - start
    high, wide = picture_size(run, *settings.data.test_sides)
    return seconds / case.batch * high * wide / (case.height * case.width)


def seconds_of(run: Run, one: Measured) -> float:
    """Training, detection and validation of one run."""
    settings = run.recipe.recipe
    iterations = settings.train.iterations
    steps = augmentation(settings.data, iterations).growth.work(iterations)
    looks = 1 + validations(settings.train, len(run.splits.train))
    return steps * one.step + looks * len(run.splits.evaluation) * one.test


def bytes_left(run: Run, parameters: int) -> int:
    """What a finished run leaves on the disk."""
    return NUMBER * parameters + DETECTION * len(run.splits.evaluation) * run.recipe.recipe.evaluate.detections


def bytes_between(run: Run, parameters: int) -> int:
    """Checkpoints of a run at work: two that are kept and one that is being written."""
    train = run.recipe.recipe.train
    written = train.iterations >= train.checkpoint_every
    states = 2 if train.optimizer == "adamw" else 1
    return 3 * (1 + states) * NUMBER * parameters if written else 0
