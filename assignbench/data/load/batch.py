"""Pictures and targets of one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assignbench.core.types import PADDING, Regions, Targets
from assignbench.data.dataset import Dataset
from assignbench.data.load.colour import Colour
from assignbench.data.load.crop import in_crop
from assignbench.data.load.slots import sendable, unset
from assignbench.data.load.transforms import Geometry, moved_boxes, put_picture, scales_of, sizes_of, windows
from assignbench.data.pictures import read_rgb


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
        """On its way from a worker; a tensor costs a connection: pictures lie in a slot, and the rest goes as bytes."""
        targets, ignore = self.targets, self.targets.ignore
        small = (self.sizes, self.scales, targets.boxes, targets.labels, targets.image, ignore.boxes, ignore.image)
        return _received, (sendable(self.images), self.indices, *(tensor.numpy(force=True) for tensor in small))

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


def load_batch(
    dataset: Dataset,
    indices: Sequence[int],
    geometries: Sequence[Geometry],
    colours: Sequence[Colour | None] | None = None,
    size: tuple[int, int] | None = None,
) -> Batch:
    """Decode, move and pad the pictures at ``indices``, and gather their objects.

    Of a cropped picture, objects whose centre is outside are left out; the others are clipped, and all crowd regions.
    ``size``: height and width to pad to; None: what `padded` says of these pictures alone.

    Raises:
        DataError: when a picture cannot be read.
    """
    images = unset(len(indices), 3, *(size or padded(geometries)))
    infos = [dataset.images[index] for index in indices]
    for place, info, geometry, colour in zip(
        images.numpy(), infos, geometries, colours or [None] * len(indices), strict=True
    ):
        height, width = geometry.height, geometry.width
        put_picture(read_rgb(info), geometry, colour, place[:, :height, :width])
        place[:, :height, width:] = 0
        place[:, height:] = 0
    objects, owner = _objects(dataset, np.array(indices))
    kept = windows([(info.width, info.height) for info in infos], geometries)
    sizes = sizes_of(geometries)
    if any(geometry.crop is not None for geometry in geometries):
        whole = np.array([geometry.crop is None for geometry in geometries])[owner]
        inside = whole | in_crop(dataset.boxes[objects], kept[owner], dataset.crowd[objects])
        objects, owner = objects[inside], owner[inside]
    boxes = moved_boxes(dataset.boxes[objects], owner, kept, sizes, geometries)
    labels, crowd = dataset.labels[objects], dataset.crowd[objects]
    box, image, ignored_box, ignored_image, label = map(
        torch.from_numpy, (boxes[~crowd], owner[~crowd], boxes[crowd], owner[crowd], labels[~crowd])
    )
    return Batch(
        images=images,
        sizes=torch.from_numpy(sizes),
        targets=Targets(
            boxes=box, labels=label, image=image, images=len(indices), ignore=Regions(ignored_box, ignored_image)
        ),
        indices=tuple(indices),
        scales=torch.from_numpy(scales_of(kept, sizes).astype(np.float32)),
    )


def _objects(dataset: Dataset, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``[object]`` where the objects of these pictures stand in the flat arrays, and whose they are, as a slot."""
    first, last = np.searchsorted(dataset.image, (indices, indices + 1))
    counts = last - first
    owner = np.repeat(np.arange(len(indices)), counts)
    within = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    return first[owner] + within, owner


def padded(geometries: Sequence[Geometry]) -> tuple[int, int]:
    """Height and width that hold all, each a multiple of `PADDING`."""
    height, width = max(g.height for g in geometries), max(g.width for g in geometries)
    return -(-height // PADDING) * PADDING, -(-width // PADDING) * PADDING
