"""Pictures and targets of one step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assignbench.core.types import PADDING, Regions, Targets
from assignbench.data.colour import Colour, draw_colour
from assignbench.data.crop import draw_crop, in_crop
from assignbench.data.dataset import Dataset
from assignbench.data.loader import blank, load_ahead
from assignbench.data.order import evaluation_plan, training_step
from assignbench.data.pictures import read_picture
from assignbench.data.transforms import Geometry, View, draw_geometry, move_boxes, move_picture

# Keep the random streams apart from those of `order` and from each other: switching one leaves the others as they were.
_AUGMENTATION, _CROP, _COLOUR = 2, 3, 4


@dataclass(frozen=True)
class Batch:
    """Pictures of one step and what is in them."""

    images: Tensor  # [image, 3, H, W] uint8 RGB, padded right and below with zeros
    sizes: Tensor  # [image, 2] int64: height, width before padding; always in the host's memory
    targets: Targets  # boxes in network pixels; crowd regions are targets.ignore
    indices: tuple[int, ...]  # [image] into Dataset.images
    scales: Tensor  # [image, 2] float32: network pixels per original pixel, along x and y; of a crop, too

    def __len__(self) -> int:
        return len(self.indices)

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[object, ...]]:
        """On its way from a worker: every tensor costs a connection of its own, so the small ones go as bytes."""
        targets, ignore = self.targets, self.targets.ignore
        small = (self.sizes, self.scales, targets.boxes, targets.labels, targets.image, ignore.boxes, ignore.image)
        return _received, (self.images, self.indices, *(tensor.numpy(force=True) for tensor in small))

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            targets=self.targets.to(device),
            scales=self.scales.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """Called by the loader: the same batch in page-locked memory, from where a GPU fetches it by itself."""
        targets, ignore = self.targets, self.targets.ignore
        return replace(
            self,
            images=self.images.pin_memory(),
            targets=replace(
                targets,
                boxes=targets.boxes.pin_memory(),
                labels=targets.labels.pin_memory(),
                image=targets.image.pin_memory(),
                ignore=Regions(ignore.boxes.pin_memory(), ignore.image.pin_memory()),
            ),
            scales=self.scales.pin_memory(),
        )

    def tensors(self) -> tuple[Tensor, ...]:
        """Everything in it that lies on a device."""
        targets, ignore = self.targets, self.targets.ignore
        objects = (targets.boxes, targets.labels, targets.image, ignore.boxes, ignore.image)
        return (self.images, self.scales, *objects)


def _received(images: Tensor, indices: tuple[int, ...], *small: NDArray[np.generic]) -> Batch:
    """Undo `Batch.__reduce__`."""
    sizes, scales, boxes, labels, image, ignored, owner = (torch.from_numpy(array) for array in small)
    targets = Targets(boxes=boxes, labels=labels, image=image, images=len(indices), ignore=Regions(ignored, owner))
    return Batch(images=images, sizes=sizes, targets=targets, indices=indices, scales=scales)


def training_batches(
    dataset: Dataset,
    *,
    batch: int,
    seed: int,
    start: int,
    stop: int,
    process: int,
    processes: int,
    short_side: int | Sequence[int],
    long_side: int,
    flip: float,
    workers: int,
    short_side_range: bool = False,
    crop: float = 1.0,
    jitter: float = 0.0,
) -> Generator[Batch]:
    """Batches of this process for the steps ``start`` … ``stop − 1``.

    A step is fixed by (seed, step): a run may stop and go on anywhere, and the global batch, ``batch ×
    processes`` pictures, is the same however it is divided.

    Args:
        dataset: training split.
        batch: pictures a step and process.
        seed: of the order and of the augmentation, ≥ 0.
        start: first step, counted from 0.
        stop: step after the last.
        process: this process, 0 … processes − 1.
        processes: how many share each step.
        short_side: network pixels, or several values to draw from.
        long_side: no side gets longer than this, in network pixels.
        flip: probability of mirroring left to right.
        workers: processes that decode, no more of them than CPU cores; 0 decodes in this process.
        short_side_range: draw any whole number from the least to the largest of short_side.
        crop: smallest side of a crop around an object, as a share of the picture's; 1: no crop.
        jitter: brightness, contrast and saturation are multiplied by factors from 1 ± jitter; 0: never.

    Yields:
        One batch a step.

    Raises:
        DataError: when a picture cannot be read; the message names it.
        SystemProblem: when a worker dies.
    """
    load = partial(
        _training_batch,
        dataset=dataset,
        upright=dataset.sizes[:, 1] > dataset.sizes[:, 0],
        batch=batch,
        seed=seed,
        process=process,
        processes=processes,
        draw=partial(
            _draw,
            dataset=dataset,
            seed=seed,
            short_side=short_side,
            long_side=long_side,
            flip=flip,
            short_side_range=short_side_range,
            crop=crop,
            jitter=jitter,
        ),
    )
    return load_ahead(load, range(start, stop), workers)


def evaluation_batches(
    dataset: Dataset,
    *,
    batch: int,
    process: int,
    processes: int,
    short_side: int,
    long_side: int,
    workers: int,
) -> Generator[Batch]:
    """Share of this process in all pictures, each exactly once over all processes.

    Whole batches are dealt in turn, so a batch's content does not depend on how many share the work.
    Arguments, yields and errors as `training_batches`.
    """
    return view_batches(
        dataset,
        views=(View(short_side, long_side),),
        batch=batch,
        process=process,
        processes=processes,
        workers=workers,
    )


def view_batches(
    dataset: Dataset, *, views: Sequence[View], batch: int, process: int, processes: int, workers: int
) -> Generator[Batch]:
    """As `evaluation_batches`, every picture once in each of the views.

    The pictures of a batch come in all views, one batch a view in the order of ``views``, before the next pictures:
    so they have equal padded shapes in every view.
    """
    sizes = [(width, height) for width, height in dataset.sizes.tolist()]
    shapes = {size: tuple(side for view in views for side in padded([view.geometry(*size)])) for size in set(sizes)}
    mine = evaluation_plan([shapes[size] for size in sizes], batch)[process::processes]
    load = partial(_view_batch, dataset=dataset, views=tuple(views), plan=mine)
    return load_ahead(load, range(len(mine) * len(views)), workers)


def _training_batch(
    step: int,
    *,
    dataset: Dataset,
    upright: NDArray[np.bool_],
    batch: int,
    seed: int,
    process: int,
    processes: int,
    draw: Callable[[int, int], tuple[Geometry, Colour | None]],
) -> Batch:
    mine = training_step(upright, batch * processes, seed, step)[process * batch :][:batch]
    geometries, colours = zip(*(draw(epoch, index) for epoch, index in mine), strict=True)
    return load_batch(dataset, [index for _, index in mine], geometries, colours)


def _draw(
    epoch: int,
    index: int,
    *,
    dataset: Dataset,
    seed: int,
    short_side: int | Sequence[int],
    long_side: int,
    flip: float,
    short_side_range: bool,
    crop: float,
    jitter: float,
) -> tuple[Geometry, Colour | None]:
    """What is done to a picture in an epoch."""
    info, objects = dataset.images[index], dataset.objects_of(index)
    rest = seed, epoch, index
    wanted = dataset.boxes[objects][~dataset.crowd[objects]]
    geometry = draw_geometry(
        info.width,
        info.height,
        short_side=short_side,
        long_side=long_side,
        flip=flip,
        key=(_AUGMENTATION, *rest),
        short_side_range=short_side_range,
        crop=draw_crop(info.width, info.height, wanted, least=crop, key=(_CROP, *rest)),
    )
    return geometry, draw_colour(jitter, key=(_COLOUR, *rest))


def _view_batch(number: int, *, dataset: Dataset, views: Sequence[View], plan: Sequence[Sequence[int]]) -> Batch:
    indices, view = plan[number // len(views)], views[number % len(views)]
    images = [dataset.images[index] for index in indices]
    return load_batch(dataset, indices, [view.geometry(image.width, image.height) for image in images])


def load_batch(
    dataset: Dataset,
    indices: Sequence[int],
    geometries: Sequence[Geometry],
    colours: Sequence[Colour | None] | None = None,
) -> Batch:
    """Decode, move and pad the pictures at ``indices``, and gather their objects.

    Of a cropped picture, objects whose centre is outside are left out; the others are clipped, and all crowd regions.

    Raises:
        DataError: when a picture cannot be read.
    """
    images = blank(len(indices), 3, *padded(geometries))
    boxes, labels, image, crowd, scales = [], [], [], [], []
    colours = colours or [None] * len(indices)
    for slot, (index, geometry, colour) in enumerate(zip(indices, geometries, colours, strict=True)):
        info, objects = dataset.images[index], dataset.objects_of(index)
        x0, y0, x1, y1 = geometry.crop or (0, 0, info.width, info.height)
        if geometry.crop is not None:
            kept = in_crop(dataset.boxes[objects], geometry.crop, dataset.crowd[objects])
            objects = objects.start + np.flatnonzero(kept)
        images[slot, :, : geometry.height, : geometry.width] = move_picture(read_picture(info), geometry, colour)
        boxes.append(move_boxes(dataset.boxes[objects], info.width, info.height, geometry))
        labels.append(dataset.labels[objects])
        crowd.append(dataset.crowd[objects])
        image.append(np.full(len(boxes[-1]), slot))
        scales.append((geometry.width / (x1 - x0), geometry.height / (y1 - y0)))
    ignored = torch.from_numpy(np.concatenate(crowd))
    box, owner = torch.from_numpy(np.concatenate(boxes)), torch.from_numpy(np.concatenate(image))
    return Batch(
        images=images,
        sizes=torch.tensor([(geometry.height, geometry.width) for geometry in geometries]),
        targets=Targets(
            boxes=box[~ignored],
            labels=torch.from_numpy(np.concatenate(labels))[~ignored],
            image=owner[~ignored],
            images=len(indices),
            ignore=Regions(box[ignored], owner[ignored]),
        ),
        indices=tuple(indices),
        scales=torch.tensor(scales, dtype=torch.float32),
    )


def padded(geometries: Sequence[Geometry]) -> tuple[int, int]:
    """Height and width that hold all, each a multiple of `PADDING`."""
    height, width = max(g.height for g in geometries), max(g.width for g in geometries)
    return -(-height // PADDING) * PADDING, -(-width // PADDING) * PADDING
