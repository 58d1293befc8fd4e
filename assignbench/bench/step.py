"""``bench step``: a whole training step, data on the device already, against the bare network's.

Measured:
    step    `assignbench.run.training.step.Trainer.iterate`, the same that training runs: predictions, assignment,
            losses, backward, clipping, optimizer, and the look whether the last losses were finite
    floor   the same network with the plain sum of its raw outputs as loss: backward, clipping, optimizer
    rival   torchvision's own detector of that name on the same pictures

The learning rate is 0: nothing moves, so every repeat does the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat as forever
from pathlib import Path

import torch
from accelerate import Accelerator

from assignbench.bench.measure import Task, clock_of, least_seconds, memory_advice, one_thread
from assignbench.bench.problem import Case, leaves, random_objects
from assignbench.bench.rival import check_rival, rival_step
from assignbench.bench.trace import host_syncs, write_trace
from assignbench.config import ResolvedRecipe
from assignbench.data.load.batch import Batch, padded
from assignbench.data.load.transforms import Geometry
from assignbench.errors import RunError
from assignbench.recipe import ModelSettings
from assignbench.run.matrix.plan import Candidate
from assignbench.run.training.compiling import compile_network, compiler_advice
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.learner import Learner, bare_learner
from assignbench.run.training.optimizer import build_optimizer, set_learning_rate
from assignbench.run.training.step import Iteration, Trainer
from assignbench.run.training.stopwatch import Stopwatch

STEPS = 4  # in a sample on a GPU, where the host works ahead


@dataclass(frozen=True)
class StepRow:
    """One line of the benchmark."""

    strategy: str
    objects: int  # an image
    image: str  # height x width, pixels
    batch: int
    backbone: str
    precision: str  # of the network: no, bf16 or fp16
    compiled: bool  # the network, of step and floor alike
    ms: float  # a whole training step
    floor_ms: float  # of the bare network
    ratio: float
    host_syncs: int | None  # how often a step makes the host wait for a GPU; None on a CPU
    rival_ms: float | None  # torchvision's step; None: not asked for


@dataclass
class BenchStep:
    """A learner in training, and the one batch that it sees again and again."""

    learner: Learner
    trainer: Trainer
    batch: Batch
    model: ModelSettings
    before: Iteration | None = field(default=None, init=False)  # whose losses nobody has looked at yet

    def train(self) -> None:
        """An iteration of training."""
        current = self.trainer.iterate(forever(self.batch))
        self.look()
        self.before = current

    def look(self) -> None:
        """Refuse losses of the last iteration that are not finite."""
        if self.before is not None and self.before.odd() is not None:
            raise RunError("a loss of the benchmark is not finite; this network cannot be measured")

    def bare(self) -> None:
        """The network alone."""
        detector = self.learner.detector
        with compiler_advice(self.trainer.settings.compile):
            with self.trainer.accelerator.autocast():
                *_, raw = detector.outputs(detector.normalise(self.batch.images, self.batch.sizes))
            self.trainer.descend({str(index): output.sum() for index, output in enumerate(leaves(raw))})
            self.trainer.update()


def random_batch(case: Case, device: torch.device) -> Batch:
    """Noise of a case's size, padded as training pads."""
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(case.batch, 3, *padded([Geometry(case.height, case.width)]), dtype=torch.uint8)
    images[..., : case.height, : case.width].random_(0, 256, generator=generator)
    return Batch(
        images=images,
        sizes=torch.tensor([[case.height, case.width]] * case.batch),
        targets=random_objects(case),
        indices=tuple(range(case.batch)),
        scales=torch.ones(case.batch, 2),
    ).to(device)


def step_of(one: Candidate, recipe: ResolvedRecipe, case: Case, accelerator: Accelerator) -> BenchStep:
    """A strategy's training under a recipe, as its protocol changes it; the whole batch at once."""
    settings = one.protocol.recipe(recipe).recipe
    train = settings.train.model_copy(update={"accumulation": 1})
    learner = bare_learner(one, settings.model, case.classes).train()
    if train.compile:
        compile_network(learner.detector)
    optimizer = build_optimizer(learner, train)
    set_learning_rate(optimizer, 0.0)
    model, wrapped = accelerator.prepare(learner, optimizer)
    trainer = Trainer(model, wrapped, accelerator, train, Stopwatch({}, accelerator.device))
    return BenchStep(learner, trainer, random_batch(case, accelerator.device), settings.model)


def bench_step(
    candidates: Sequence[Candidate],
    recipe: ResolvedRecipe,
    cases: Sequence[Case],
    *,
    device: str,
    repeat: int,
    rivals: bool,
    trace: Path | None,
    progress: Callable[[str], None],
) -> tuple[list[StepRow], dict[str, tuple[str, ...]]]:
    """Every strategy on every case, and for each strategy the places where a step makes the host wait.

    Args:
        candidates: strategies, each with its protocol.
        recipe: model and optimizer; its precision is settled.
        cases: what a batch holds.
        device: auto, cpu or cuda.
        repeat: samples of each step.
        rivals: also torchvision's detector of the same name; see `assignbench.bench.rival`.
        trace: file for torch's profile of one step of the last strategy and case.
        progress: told what is being measured.

    Raises:
        SystemProblem: a case does not fit into memory, the network cannot be compiled, or the trace not be written.
        UsageError: a rival is asked for where torchvision has none.
    """
    rows, places = [], {}
    for one in candidates:
        if rivals:
            check_rival(one.strategy.name)
    accelerator = build_accelerator(device, recipe.recipe.train.precision)
    for one in candidates:
        for case in cases:
            progress(f"{one.label}: {case}")
            with memory_advice(f"{one.label}: {case}"), one_thread():
                step = step_of(one, recipe, case, accelerator)
                row = step_row(one, step, case, repeat, rivals)
                waits = host_syncs(step.train) if accelerator.device.type == "cuda" else None
                step.look()
                if trace is not None:
                    write_trace(step.train, trace)
            accelerator.free_memory()
            places[row.strategy] = waits or ()
            rows.append(replace(row, host_syncs=None if waits is None else len(waits)))
    return rows, places


def step_row(one: Candidate, step: BenchStep, case: Case, repeat: int, rivals: bool) -> StepRow:
    """One strategy on one case, without its host synchronisations."""
    settings, accelerator = step.trainer.settings, step.trainer.accelerator
    tasks = [Task(step.bare), Task(step.train)]
    if rivals:
        tasks.append(Task(rival_step(one.strategy.name, step.batch, settings, case.classes, accelerator)))
    times = STEPS if accelerator.device.type == "cuda" else 1
    floor, spent, *rival = least_seconds(tasks, repeat, clock_of(accelerator.device), times=times)
    return StepRow(
        strategy=one.label,
        objects=case.objects,
        image=case.image,
        batch=case.batch,
        backbone=step.model.backbone,
        precision=settings.precision,
        compiled=settings.compile,
        ms=round(1e3 * spent, 3),
        floor_ms=round(1e3 * floor, 3),
        ratio=round(spent / floor, 3),
        host_syncs=None,
        rival_ms=round(1e3 * rival[0], 3) if rival else None,
    )
