"""One iteration of training: what `assignbench.run.training.train` repeats and ``bench step`` measures.

Nothing here waits for a GPU: the losses, whether they were finite and whether to stop are summed over processes in one
small call, and travel to the host while the next iteration is queued.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from assignbench.data.load.batch import Batch
from assignbench.recipe import TrainSettings
from assignbench.run.training.compiling import compiler_advice
from assignbench.run.training.device import memory_advice
from assignbench.run.training.learner import Step
from assignbench.run.training.processes import summed
from assignbench.run.training.stopping import stop_asked
from assignbench.run.training.stopwatch import Stopwatch


@dataclass(frozen=True)
class NotFinite:
    """What this process met of losses that are NaN or infinite; both empty when it was another process."""

    losses: tuple[str, ...]  # names
    images: tuple[int, ...]  # indices into Dataset.images


@dataclass(frozen=True)
class Iteration:
    """What an iteration leaves behind; on a GPU it may still be at work."""

    names: tuple[str, ...]  # of the losses
    images: tuple[tuple[int, ...], ...]  # of each micro-step of this process: indices into Dataset.images
    # [2 + losses + micro-steps · losses] on the host: processes that met an odd loss, and that were asked to stop, the
    # losses of the global batch, which of this process's are odd
    word: Tensor
    arrived: torch.cuda.Event | None  # from when on the word can be read; None: at once

    def odd(self) -> NotFinite | None:
        """None: all losses of all processes were finite. Waits until that is known."""
        anywhere, _, _, flags = self.read()
        if not anywhere:
            return None
        count = len(self.names)
        ours = [index for index, flag in enumerate(flags) if flag]
        micro_steps = dict.fromkeys(index // count for index in ours)
        return NotFinite(
            losses=tuple(dict.fromkeys(self.names[index % count] for index in ours)),
            images=tuple(image for micro in micro_steps for image in self.images[micro]),
        )

    def global_losses(self) -> dict[str, float]:
        """Each loss by name, averaged over processes and micro-steps. Waits until that is known."""
        return dict(zip(self.names, self.read()[2], strict=True))

    def stop_asked(self) -> bool:
        """Whether any process was asked to stop before this was done. Waits until that is known."""
        return bool(self.read()[1])

    def read(self) -> tuple[float, float, list[float], list[float]]:
        """The four parts of the word, once it is there."""
        if self.arrived is not None:
            self.arrived.synchronize()
        anywhere, stop, *rest = self.word.numpy().tolist()  # not by torch: no operation is queued
        return anywhere, stop, rest[: len(self.names)], rest[len(self.names) :]


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
    """Send the host word of the losses, of whether all are finite and of a stop; every process must call it.

    Args:
        losses: of each micro-step of this process: name → [].
        images: of each micro-step, as in `Iteration`.
        accelerator: knows the processes.
    """
    names = tuple(losses[0])
    table = torch.stack([torch.stack([part[name] for name in names]) for part in losses])  # [micro-step, loss]
    odd = (~table.isfinite()).float()
    stop = odd.new_full((1,), float(stop_asked() is not None))  # filled on the device: nothing waits for a copy
    shared = summed(torch.cat((odd.amax()[None], stop, table.mean(0) / accelerator.num_processes)), accelerator)
    word = torch.cat((shared, odd.flatten())).to("cpu", non_blocking=True)  # into page-locked memory
    arrived = None
    if odd.device.type == "cuda":
        arrived = torch.cuda.Event()
        arrived.record()
    return Iteration(names, tuple(images), word, arrived)


def too_large(batch: Batch) -> str:
    """The message for a batch of training that does not fit into memory."""
    height, width = batch.images.shape[-2:]
    return (
        f"training on {len(batch)} images of {height} × {width} pixels at once does not fit into memory\n"
        "raise train.accumulation, lower train.batch, data.short_side or data.long_side, or set train.precision=bf16"
    )
