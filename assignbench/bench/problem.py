"""Synthetic batches of any size: objects, and what a head would say about them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core import Head, Targets
from assignbench.core.parts import RawOutputs
from assignbench.core.priors import map_sizes
from assignbench.errors import UsageError

# √(width · height) of objects in pixels; COCO's are 10 … 500 but for the last percents, WiderFace's crowds are small
SIZES = {"coco": (8.0, 600.0), "crowd": (8.0, 64.0)}
CROWD = 1000  # objects an image from which on sizes "auto" are a crowd's
LONGEST = 0.95  # of the image, for a side of an object


@dataclass(frozen=True)
class Case:
    """One batch, by its numbers."""

    objects: int  # in each image
    height: int  # pixels
    width: int
    batch: int  # images
    classes: int
    sizes: str = "auto"  # of objects: coco, crowd, or auto

    def __post_init__(self) -> None:
        if self.sizes != "auto" and self.sizes not in SIZES:
            raise UsageError(f"--sizes {self.sizes}: choose auto, {', '.join(SIZES)}")
        least = {"objects": 0, "batch": 1, "classes": 1}
        for name, value in (("objects", self.objects), ("batch", self.batch), ("classes", self.classes)):
            if value < least[name]:
                raise UsageError(f"--{name} {value}: at least {least[name]} is needed")

    @property
    def image(self) -> str:
        """The image as it is written on the command line: ``800x1216``."""
        return f"{self.height}x{self.width}"

    @property
    def size_range(self) -> tuple[float, float]:
        """Smallest and largest √(width · height) of an object, in pixels."""
        automatic = "crowd" if self.objects >= CROWD else "coco"
        return SIZES[automatic if self.sizes == "auto" else self.sizes]

    def __str__(self) -> str:
        return f"batch {self.batch} of {self.image} with {self.objects} objects and {self.classes} classes"


def random_objects(case: Case, seed: int = 0) -> Targets:
    """The objects of a batch: √(w · h) log-uniform in `Case.size_range`, h / w log-uniform in ½ … 2, place uniform.

    Sides are cut at 95 % of the image; boxes lie inside it. Classes are uniform.
    """
    generator = torch.Generator().manual_seed(seed)
    count = case.objects * case.batch
    low, high = (math.log(size) for size in case.size_range)
    side = (low + (high - low) * torch.rand(count, generator=generator)).exp()
    ratio = 2 ** (2 * torch.rand(count, generator=generator) - 1)
    image = torch.tensor([float(case.width), float(case.height)])
    size = torch.stack((side / ratio.sqrt(), side * ratio.sqrt()), dim=1).minimum(LONGEST * image)
    corner = torch.rand(count, 2, generator=generator) * (image - size)
    return Targets(
        boxes=torch.cat((corner, corner + size), dim=1),
        labels=torch.randint(case.classes, (count,), generator=generator),
        image=torch.arange(case.batch).repeat_interleave(case.objects),
        images=case.batch,
    )


def random_outputs(head: Head, case: Case, device: torch.device, *, mean: float = -4.0, seed: int = 0) -> RawOutputs:
    """Raw outputs of a head as leaves of the gradient: class logits N(mean, 1), regression and extras N(·, 1/4).

    Drawn in place, so that nothing but the tensors themselves was ever allocated.
    """
    generator = torch.Generator(device).manual_seed(seed)
    locations = head.priors_per_cell * sum(rows * columns for rows, columns in map_sizes(case.height, case.width))

    def noise(mean: float, std: float, *tail: int) -> Tensor:
        values = torch.empty(case.batch, locations, *tail, device=device)
        return values.normal_(mean, std, generator=generator).requires_grad_()

    return RawOutputs(
        noise(mean, 1.0, case.classes),
        noise(head.box_bias, 0.5, head.coding.outputs),
        {extra.name: noise(0.0, 0.5, *((extra.channels,) if extra.channels > 1 else ())) for extra in head.extras},
    )


def leaves(raw: RawOutputs) -> tuple[Tensor, ...]:
    """All tensors of raw outputs."""
    return (raw.logits, raw.regression, *raw.extras.values())
