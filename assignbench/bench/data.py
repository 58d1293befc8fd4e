"""``bench data``: the training loader's pictures per second and worker, against a bare loop over the same files.

Measured:
    time    wall time per picture times workers, from when every worker has delivered once to the last batch
    floor   Pillow alone, one process: open, decode, resize to the same size
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from PIL import Image

from assignbench.bench.measure import memory_advice
from assignbench.data.dataset import Dataset
from assignbench.data.load.streams import training_batches
from assignbench.errors import UsageError
from assignbench.machine import bound_to
from assignbench.recipe import DataSettings
from assignbench.run.training.train import augmentation

Shown = tuple[int, tuple[int, int]]  # a picture's index, and its width and height in a batch


@dataclass(frozen=True)
class DataRow:
    """One line of the benchmark."""

    dataset: str
    batch: int
    workers: int  # 0: this process loads
    pictures: int  # that were timed
    per_second: float  # pictures of the whole loader
    ms: float  # a picture and worker
    floor_ms: float  # a picture in the bare loop
    ratio: float


def bench_data(
    dataset: Dataset,
    settings: DataSettings,
    *,
    batch: int,
    workers: Sequence[int],
    pictures: int,
    repeat: int,
    progress: Callable[[str], None],
) -> list[DataRow]:
    """The loader with each number of workers.

    Args:
        dataset: training split.
        settings: sizes and augmentation.
        batch: pictures in a batch.
        workers: numbers of workers, each at most the CPU cores of this machine.
        pictures: to be timed, at least; rounded up to batches.
        repeat: passes of loader and bare loop, in turn; the fastest counts.
        progress: told what is being measured.

    Raises:
        UsageError: more workers than cores, which the loader would not start.
        DataError: a picture cannot be read.
    """
    cores = bound_to()
    if max(workers) > cores:
        raise UsageError(f"--workers {max(workers)}: this process may use {cores} CPU cores, the loader starts no more")
    rows = []
    for count in workers:
        progress(f"{dataset.name}: {count} workers")
        loader, bare, shown = [], [], []
        with memory_advice(f"{dataset.name}: batch {batch}, {count} workers"):
            for _ in range(repeat):
                seconds, shown = load(dataset, settings, batch=batch, workers=count, pictures=pictures)
                loader.append(seconds)
                bare.append(decode(dataset, shown))
        timed = len(shown)
        ms, floor = 1e3 * min(loader) * max(1, count) / timed, 1e3 * min(bare) / timed
        rows.append(
            DataRow(
                dataset=dataset.name,
                batch=batch,
                workers=count,
                pictures=timed,
                per_second=round(timed / min(loader), 2),
                ms=round(ms, 3),
                floor_ms=round(floor, 3),
                ratio=round(ms / floor, 3),
            )
        )
    return rows


def load(
    dataset: Dataset, settings: DataSettings, *, batch: int, workers: int, pictures: int
) -> tuple[float, list[Shown]]:
    """One pass of the loader: seconds, and the pictures that came within them."""
    first = max(1, workers)  # until then processes start
    batches = training_batches(
        dataset,
        augmentation(settings.model_copy(update={"grow_from": 1.0}), 1),  # at full size
        batch=batch,
        seed=0,
        start=0,
        stop=first + -(-pictures // batch),
        process=0,
        processes=1,
        workers=workers,
    )
    with closing(batches):
        for _ in range(first):
            next(batches)
        start = time.perf_counter()
        # nothing of a batch is kept, as in training: its memory is used again
        found = [(one.indices, one.sizes.tolist()) for one in batches]
        seconds = time.perf_counter() - start
    shown = [
        (index, (width, height))
        for indices, sizes in found
        for index, (height, width) in zip(indices, sizes, strict=True)
    ]
    return seconds, shown


def decode(dataset: Dataset, shown: Sequence[Shown]) -> float:
    """Seconds that Pillow takes to decode these pictures and to bring them to their size."""
    wanted = [(dataset.images[index].path, size) for index, size in shown]
    start = time.perf_counter()
    for path, size in wanted:
        with Image.open(path) as picture:
            np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    return time.perf_counter() - start
