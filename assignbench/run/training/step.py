"""One iteration of training: what `assignbench.run.training.train` repeats and ``bench step`` measures.

Nothing here waits for a GPU: whether the losses were finite travels to the host while the next iteration is queued.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from assignbench.data.batch import Batch
from assignbench.recipe import TrainSettings
from assignbench.run.training.compiling import compiler_advice
from assignbench.run.training.device import memory_advice
from assignbench.run.training.learner import Step
from assignbench.run.training.processes import summed
from assignbench.run.training.stopwatch import Stopwatch


@dataclass(frozen=True)
class NotFinite:
    """What this process met of losses that are NaN or infinite; both empty when it was another process."""

    losses: tuple[str, ...]  # names
    images: tuple[int, ...]  # indices into Dataset.images


@dataclass(frozen=True)
class Iteration:
    """What an iteration leaves behind; on a GPU it may still be at work."""

    losses: tuple[Mapping[str, Tensor], ...]  # of each micro-step: name → []
    images: tuple[tuple[int, ...], ...]  # of each micro-step: indices into Dataset.images
    flags: Tensor  # [1 + micro-steps · losses] on the host: processes that met an odd loss, then which of ours are odd
    arrived: torch.cuda.Event | None  # from when on the flags can be read; None: at once

    def odd(self) -> NotFinite | None:
        """None: all losses of all processes were finite. Waits until that is known."""
        if self.arrived is not None:
            self.arrived.synchronize()
        anywhere, *flags = self.flags.numpy()  # not by torch: no operation is queued
        if not anywhere:
            return None
        names = list(self.losses[0])
        ours = [index for index, flag in enumerate(flags) if flag]
        micro_steps = dict.fromkeys(index // len(names) for index in ours)
        return NotFinite(
            losses=tuple(dict.fromkeys(names[index % len(names)] for index in ours)),
            images=tuple(image for micro in micro_steps for image in self.images[micro]),
        )

    def mean_losses(self) -> dict[str, float]:
        """Each loss by name, averaged over the micro-steps."""
        names = list(self.losses[0])
        table = torch.stack([torch.stack([part[name] for name in names]) for part in self.losses])
        return dict(zip(names, table.mean(0).tolist(), strict=True))


@dataclass(frozen=True)
class Trainer:
    """A model, as Accelerate wraps it, and what moves it."""

    model: nn.Module  # of a learner: batch → Step
    optimizer: Optimizer
    accelerator: Accelerator
    settings: TrainSettings
    clock: Stopwatch  # told what is data and what is network

    def iterate(
        self,
        batches: Iterator[Batch],
        observe: Callable[[Batch, Step], None] | None = None,
        *,
        progress: float = 0.0,
    ) -> Iteration:
        """Take as many batches as there are micro-steps, and move the parameters once.

        Args:
            batches: on the device.
            observe: told of each micro-step; the strategy is then timed and checked, which makes a GPU wait.
            progress: how far training is, from 0 to 1.

        Raises:
            RunError: the strategy's record is impossible.
            SystemProblem: memory is short, or the network cannot be compiled.
        """
        losses, images = [], []
        for micro in range(1, self.settings.accumulation + 1):
            with self.clock.measure("data"):
                batch = next(batches)
            last = micro == self.settings.accumulation
            with self.clock.measure("network"), memory_advice(too_large(batch)), compiler_advice(self.settings.compile):
                step = self.learn(batch, last=last, timed=observe is not None, progress=progress)
                if last:
                    self.update()
            losses.append({name: value.detach() for name, value in step.losses.items()})
            images.append(batch.indices)
            if observe is not None:
                observe(batch, step)
        return iteration_of(losses, images, self.accelerator)

    def learn(self, batch: Batch, *, last: bool, timed: bool, progress: float = 0.0) -> Step:
        """Losses and their gradients; processes share the gradients in the ``last`` micro-step."""
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
            step: Step = self.model(batch, timed=timed, progress=progress)
            self.descend(step.losses)
        return step

    def descend(self, losses: Mapping[str, Tensor]) -> None:
        """Add the gradient of the losses' sum, averaged over micro-steps, to those that are there."""
        self.accelerator.backward(torch.stack(list(losses.values())).sum() / self.settings.accumulation)

    def update(self) -> None:
        """Clip as the recipe says, move, forget the gradients."""
        if self.settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def iteration_of(
    losses: Sequence[Mapping[str, Tensor]], images: Sequence[tuple[int, ...]], accelerator: Accelerator
) -> Iteration:
    """Send the host word of whether all losses are finite; every process must call it."""
    odd = ~torch.stack([value for part in losses for value in part.values()]).isfinite()
    processes = summed(odd.any().float(), accelerator)
    flags = torch.cat((processes[None], odd.float())).to("cpu", non_blocking=True)  # into page-locked memory
    arrived = None
    if odd.device.type == "cuda":
        arrived = torch.cuda.Event()
        arrived.record()
    return Iteration(tuple(losses), tuple(images), flags, arrived)


def too_large(batch: Batch) -> str:
    """The message for a batch of training that does not fit into memory."""
    height, width = batch.images.shape[-2:]
    return (
        f"training on {len(batch)} images of {height} × {width} pixels at once does not fit into memory\n"
        "raise train.accumulation, lower train.batch, data.short_side or data.long_side, or set train.precision=bf16"
    )
