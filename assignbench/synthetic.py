"""Small random problems for the contract, for tests and for benchmarks: no network, no pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core import Head, Predictions, Priors, Targets, joining
from assignbench.core.priors import pyramid_priors


@dataclass(frozen=True)
class Raw:
    """What a network would put out; leaves of the gradient."""

    logits: Tensor  # [image, location, class]
    regression: Tensor  # [image, location, 4]
    extras: dict[str, Tensor]  # name → [image, location]

    def leaves(self) -> tuple[Tensor, ...]:
        """All tensors that gradients flow to."""
        return (self.logits, self.regression, *self.extras.values())


@dataclass(frozen=True)
class Problem:
    """A batch without pictures."""

    head: Head
    raw: Raw
    priors: Priors
    targets: Targets

    @property
    def predictions(self) -> Predictions:
        """The raw outputs, decoded as the detector does."""
        boxes = self.head.coding.decode(self.raw.regression, self.priors.boxes, self.priors.stride)
        joined = joining(self.head.extras)
        return Predictions(self.raw.logits, boxes, self.raw.regression, self.raw.extras, joined)

    def of_image(self, image: int) -> Problem:
        """One image of the batch as a problem of its own, with fresh leaves."""
        raw = Raw(
            leaf(self.raw.logits[image : image + 1]),
            leaf(self.raw.regression[image : image + 1]),
            {name: leaf(value[image : image + 1]) for name, value in self.raw.extras.items()},
        )
        return Problem(self.head, raw, self.priors, self.targets.of_image(image))

    def with_targets(self, targets: Targets) -> Problem:
        """The same predictions for other objects, with fresh leaves."""
        raw = Raw(
            leaf(self.raw.logits),
            leaf(self.raw.regression),
            {name: leaf(value) for name, value in self.raw.extras.items()},
        )
        return Problem(self.head, raw, self.priors, targets)


def leaf(values: Tensor) -> Tensor:
    """A copy that collects a gradient of its own."""
    return values.detach().clone().requires_grad_()


def random_problem(
    head: Head,
    *,
    seed: int,
    classes: int,
    counts: tuple[int, ...],
    height: int = 128,
    width: int = 160,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """A reproducible batch.

    Args:
        head: priors, coding and extras.
        seed: of everything random.
        classes: number of classes.
        counts: objects of each image; 0 is fine.
        height: of the images, pixels.
        width: of the images, pixels.
        dtype: float64 for gradient checks.
    """
    generator = torch.Generator().manual_seed(seed)
    priors = pyramid_priors(head, height, width)
    shape = (len(counts), len(priors))

    def noise(*tail: int) -> Tensor:
        return torch.randn(*shape, *tail, generator=generator, dtype=torch.float64).to(dtype)

    raw = Raw(
        leaf(noise(classes) - 2),
        leaf(noise(4) * 0.5 + head.box_bias),
        {extra.name: leaf(noise()) for extra in head.extras},
    )
    if dtype != torch.float32:
        priors = Priors(priors.boxes.to(dtype), priors.stride.to(dtype), priors.level)
    return Problem(head, raw, priors, random_targets(generator, classes, counts, height, width, dtype))


def random_targets(
    generator: torch.Generator,
    classes: int,
    counts: tuple[int, ...],
    height: int,
    width: int,
    dtype: torch.dtype = torch.float32,
) -> Targets:
    """Objects of all sizes, log-uniform from 6 pixels to the image, at positions without ties."""
    count = sum(counts)
    limit = torch.tensor([width, height], dtype=torch.float64)
    share = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    size = 6 * (limit * 0.95 / 6) ** share
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * (limit - size)
    return Targets(
        boxes=torch.cat((corner, corner + size), dim=1).to(dtype),
        labels=torch.randint(0, classes, (count,), generator=generator),
        image=torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
        images=len(counts),
    )
