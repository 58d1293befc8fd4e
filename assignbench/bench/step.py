"""``bench step``: a whole training step, data on the device already, against the bare network's.

Measured:
    step    predictions, assignment, losses, backward, check for finite losses, clipping, optimizer
    floor   the same network with the plain sum of its raw outputs as loss: backward, clipping, optimizer
    rival   torchvision's own detector of that name on the same pictures

The learning rate is 0: nothing moves, so every repeat does the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from assignbench.bench.measure import Task, clock_of, least_seconds, memory_advice, one_thread
from assignbench.bench.problem import Case, leaves, random_objects
from assignbench.bench.rival import rival_step
from assignbench.bench.trace import host_syncs, write_trace
from assignbench.config import ResolvedRecipe
from assignbench.data.batch import Batch, padded
from assignbench.data.transforms import Geometry
from assignbench.errors import RunError
from assignbench.recipe import ModelSettings, TrainSettings
from assignbench.run.learner import Learner, bare_learner
from assignbench.run.optimise import build_optimizer, set_learning_rate
from assignbench.run.plan import Candidate

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
    ms: float  # a whole training step
    floor_ms: float  # of the bare network
    ratio: float
    host_syncs: int | None  # how often a step waits for the GPU; None on a CPU
    rival_ms: float | None  # torchvision's step; None: not asked for


@dataclass(frozen=True)
class Step:
    """A learner in training, and the one batch that it sees again and again."""

    learner: Learner
    optimizer: Optimizer
    batch: Batch
    model: ModelSettings
    settings: TrainSettings

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.batch.images.device

    def autocast(self) -> torch.autocast:
        """The precision of the network, in a block."""
        precision = self.settings.precision
        kind = torch.float16 if precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=precision != "no")

    def train(self) -> None:
        """What `assignbench.run.train` does in an iteration, without its bookkeeping."""
        with self.autocast():
            losses = self.learner(self.batch).losses
        total = torch.stack(list(losses.values()))
        total.sum().backward()
        if not bool(total.detach().isfinite().all()):  # training looks too, and waits for the GPU to do so
            raise RunError("a loss of the benchmark is not finite; this network cannot be measured")
        self.update()

    def bare(self) -> None:
        """The network alone."""
        detector = self.learner.detector
        with self.autocast():
            images = detector.normalise(self.batch.images, self.batch.sizes)
            raw = detector.head(detector.pyramid(detector.backbone(images)))
        torch.stack([output.sum() for output in leaves(raw)]).sum().backward()
        self.update()

    def update(self) -> None:
        """Clip as the recipe says, move, forget the gradients."""
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.learner.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


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


def step_of(one: Candidate, recipe: ResolvedRecipe, case: Case, device: torch.device) -> Step:
    """A strategy's training under a recipe, as its protocol changes it."""
    settings = one.protocol.recipe(recipe).recipe
    learner = bare_learner(one, settings.model, case.classes).to(device).train()
    optimizer = build_optimizer(learner, settings.train)
    set_learning_rate(optimizer, 0.0)
    return Step(learner, optimizer, random_batch(case, device), settings.model, settings.train)


def bench_step(
    candidates: Sequence[Candidate],
    recipe: ResolvedRecipe,
    cases: Sequence[Case],
    *,
    device: torch.device,
    repeat: int,
    rivals: bool,
    trace: Path | None,
    progress: Callable[[str], None],
) -> tuple[list[StepRow], dict[str, tuple[str, ...]]]:
    """Every strategy on every case, and for each strategy the places where a step waits for the GPU.

    Args:
        candidates: strategies, each with its protocol.
        recipe: model and optimizer; its precision is settled.
        cases: what a batch holds.
        device: where to compute.
        repeat: samples of each step.
        rivals: also torchvision's detector of the same name; see `assignbench.bench.rival`.
        trace: file for torch's profile of one step of the last strategy and case.
        progress: told what is being measured.

    Raises:
        SystemProblem: a case does not fit into memory, or the trace cannot be written.
        UsageError: a rival is asked for where torchvision has none.
    """
    rows, places = [], {}
    for one in candidates:
        for case in cases:
            progress(f"{one.strategy.label}: {case}")
            with memory_advice(f"{one.strategy.label}: {case}"), one_thread():
                step = step_of(one, recipe, case, device)
                row = step_row(one, step, case, repeat, rivals)
                waits = host_syncs(step.train) if device.type == "cuda" else None
                if trace is not None:
                    write_trace(step.train, trace)
            places[row.strategy] = waits or ()
            rows.append(replace(row, host_syncs=None if waits is None else len(waits)))
    return rows, places


def step_row(one: Candidate, step: Step, case: Case, repeat: int, rivals: bool) -> StepRow:
    """One strategy on one case, without its host synchronisations."""
    tasks = [Task(step.bare), Task(step.train)]
    if rivals:
        tasks.append(Task(rival_step(one.strategy.name, step.batch, step.settings, case.classes, step.autocast)))
    times = STEPS if step.device.type == "cuda" else 1
    floor, spent, *rival = least_seconds(tasks, repeat, clock_of(step.device), times=times)
    return StepRow(
        strategy=one.strategy.label,
        objects=case.objects,
        image=case.image,
        batch=case.batch,
        backbone=step.model.backbone,
        precision=step.settings.precision,
        ms=round(1e3 * spent, 3),
        floor_ms=round(1e3 * floor, 3),
        ratio=round(spent / floor, 3),
        host_syncs=None,
        rival_ms=round(1e3 * rival[0], 3) if rival else None,
    )
