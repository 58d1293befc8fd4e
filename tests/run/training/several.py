"""Train by 1, 2 and 4 processes on this machine: ``several.py FOLDER``, where the data set ``mini.yaml`` is.

A script of its own, so that everything is imported once; the processes are copies of it. Each training leaves
``FOLDER/STRATEGY-PROCESSES`` with its losses, ``before.safetensors`` and ``after.safetensors``. The network is in
float64, so that rounding does not flip a ReLU, and trained by SGD: AdamW makes a whole step of a gradient that is
nothing but rounding.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from assignbench.config import load_recipe
from assignbench.data.spec.locate import open_dataset
from assignbench.run.matrix.plan import candidate
from assignbench.run.results.progress import ProgressFile
from assignbench.run.training.checkpoint import save_tensors
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.learner import Learner, build_learner
from assignbench.run.training.trackers import Trackers
from assignbench.run.training.train import train
from assignbench.run.training.validation import validation_losses

TRAININGS = {
    "autoassign": ((1, 4), 1),
    "freeanchor": ((1, 2), 1),
    "atss": ((1, 2), 1),
    "fcos": ((1, 2), 2),
    "sapd": ((1, 2), 1),  # a loss of its own
    "metaanchor": ((1, 2), 2),  # priors that are drawn
}  # strategy → numbers of processes, micro-steps
SETTINGS = (
    "model.backbone=miniature",
    "model.channels=32",
    "model.towers=1",
    "data.short_side=[48,80]",
    "data.short_side_range=true",
    "data.long_side=96",
    "data.grow_from=1.0",  # else the coarsest level has nothing to learn
    "data.flip=0.5",
    "data.crop=0.5",
    "data.jitter=0.3",
    "data.workers=0",
    "train.iterations=3",
    "train.batch=4",
    "train.warmup=1",
    "train.optimizer=sgd",
    "train.lr=0.02",
    "train.log_every=1",
    "train.validate_every=1",
    "evaluate.batch=2",
    "train.precision=no",
)


def small_learner(name: str, classes: int) -> Learner:
    """What a run of the strategy trains."""
    one, model = candidate(name), load_recipe("tiny", SETTINGS).recipe.model
    learner = build_learner(one.cls, one.options, model, classes=classes, seed=0)
    learner.detector.double()  # the strategy stays as it is: outputs are float32 for it
    return learner


def work(folder: Path, process: int, processes: int, port: int) -> None:
    """All trainings that this many processes share."""
    if processes > 1:  # as torchrun says it
        ranks = {"RANK": process, "LOCAL_RANK": process, "WORLD_SIZE": processes, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in ranks.items()}, MASTER_ADDR="127.0.0.1")
    splits = open_dataset(str(folder / "mini.yaml"), folder)
    accelerator = build_accelerator("cpu", "no")
    for name, (numbers, micro_steps) in TRAININGS.items():
        if processes not in numbers:
            continue
        recipe = load_recipe("tiny", (*SETTINGS, f"train.accumulation={micro_steps}")).recipe
        learner = small_learner(name, len(splits.train.classes))
        before = {key: value.clone() for key, value in learner.state_dict().items()}
        out = folder / f"{name}-{processes}"
        out.mkdir(exist_ok=True)
        train(
            learner,
            splits.train,
            accelerator,
            settings=recipe.train,
            data=recipe.data,
            seed=0,
            run_id=name,
            folder=out,
            resume=False,
            console=Console(quiet=True),
            progress_file=ProgressFile(None, 3),
            validate=partial(validation_losses, learner, splits.evaluation, accelerator, recipe.data, recipe.evaluate),
            trackers=Trackers((), out, name, {}, print),
        )
        if accelerator.is_main_process:
            save_tensors(out / "before.safetensors", before)
            save_tensors(out / "after.safetensors", learner.state_dict())
        accelerator.free_memory()
    accelerator.end_training()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(folder: Path) -> None:
    """One number of processes after the other; the first failure ends it."""
    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")
    for processes in (1, 2, 4):
        port = free_port()
        workers = [fork.Process(target=work, args=(folder, number, processes, port)) for number in range(processes)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            sys.exit(f"of {processes} processes these ended with: {[worker.exitcode for worker in workers]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
