"""Batches in their order: of training, step by step, and of a whole split in one or more views."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset
from assignbench.data.load.augment import Augmentation
from assignbench.data.load.batch import Batch, load_batch, padded
from assignbench.data.load.loader import load_ahead
from assignbench.data.load.order import evaluation_plan, training_step
from assignbench.data.load.transforms import View


def training_batches(
    dataset: Dataset,
    augmentation: Augmentation,
    *,
    batch: int,
    seed: int,
    start: int,
    stop: int,
    process: int,
    processes: int,
    workers: int,
    micro_steps: int = 1,
) -> Generator[Batch]:
    """What this process sees in the steps ``start`` … ``stop − 1``.

    A step's pictures, what is done to them and the size that all of them are padded to follow from (seed, step)
    alone: a run may stop and go on anywhere, and a picture looks the same however the step is divided.

    Args:
        dataset: training split.
        augmentation: what is drawn for each picture.
        batch: pictures a step, over all processes and micro-steps; a multiple of processes × micro_steps.
        seed: of the order and of the augmentation, ≥ 0.
        start: first step, counted from 0.
        stop: step after the last.
        process: this process, 0 … processes − 1.
        processes: how many share each step.
        workers: processes that decode, no more of them than CPU cores; 0 decodes in this process.
        micro_steps: one after another, they make a step.

    Yields:
        One batch a micro-step. The step's pictures are dealt in their order: to the first micro-step of each process,
        to the second of each, and so on; all get equally many.

    Raises:
        DataError: when a picture cannot be read; the message names it.
        SystemProblem: when a worker dies.
    """
    load = partial(
        _training_batch,
        dataset=dataset,
        augmentation=augmentation,
        upright=dataset.sizes[:, 1] > dataset.sizes[:, 0],
        batch=batch,
        seed=seed,
        process=process,
        processes=processes,
        micro_steps=micro_steps,
    )
    return load_ahead(load, range(start * micro_steps, stop * micro_steps), workers)


def view_batches(
    dataset: Dataset, views: Sequence[View], *, batch: int, process: int, processes: int, workers: int
) -> Generator[Batch]:
    """Share of this process in all pictures, each exactly once in each view over all processes.

    The pictures of a batch come in all views, one batch a view in the order of ``views``, before the next pictures:
    so they have equal padded shapes in every view. Whole batches are dealt in turn, so a batch's content does not
    depend on how many share the work. Arguments, yields and errors as `training_batches`, but for ``batch``: pictures
    of a batch at most, all of one process.
    """
    sizes = [(width, height) for width, height in dataset.sizes.tolist()]
    shapes = {size: tuple(side for view in views for side in padded([view.geometry(*size)])) for size in set(sizes)}
    mine = evaluation_plan([shapes[size] for size in sizes], batch)[process::processes]
    load = partial(_view_batch, dataset=dataset, views=tuple(views), plan=mine)
    return load_ahead(load, range(len(mine) * len(views)), workers)


def _training_batch(
    number: int,
    *,
    dataset: Dataset,
    augmentation: Augmentation,
    upright: NDArray[np.bool_],
    batch: int,
    seed: int,
    process: int,
    processes: int,
    micro_steps: int,
) -> Batch:
    step, micro_step = divmod(number, micro_steps)
    pictures = training_step(upright, batch, seed, step)
    # of all pictures, those that others load, too: padding to the own ones would make batch norm see other padding
    drawn = augmentation.at(step)
    geometries = [drawn.geometry(dataset, index, seed=seed, epoch=epoch) for epoch, index in pictures]
    share = batch // (processes * micro_steps)
    first = (micro_step * processes + process) * share
    mine = slice(first, first + share)
    return load_batch(
        dataset,
        [index for _, index in pictures[mine]],
        geometries[mine],
        [drawn.colour(index, seed=seed, epoch=epoch) for epoch, index in pictures[mine]],
        size=padded(geometries),
    )


def _view_batch(number: int, *, dataset: Dataset, views: Sequence[View], plan: Sequence[Sequence[int]]) -> Batch:
    indices, view = plan[number // len(views)], views[number % len(views)]
    images = [dataset.images[index] for index in indices]
    return load_batch(dataset, indices, [view.geometry(image.width, image.height) for image in images])
