"""Small random problems for the contract, for tests and for benchmarks: no network, no pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from assignbench.core import Head, PairViews, Predictions, Priors, Setting, Targets
from assignbench.core.head import MAIN
from assignbench.core.parts import PairLoss, RawOutputs, predictions_of
from assignbench.core.priors import pyramid_priors

CHANNELS = Setting(classes=1).channels  # of the maps of a pyramid


@dataclass(frozen=True)
class Problem:
    """A batch without pictures: what a network would put out, for objects at random."""

    head: Head
    raw: RawOutputs  # leaves of the gradient
    priors: Priors
    targets: Targets
    beside: Mapping[str, Problem] = field(default_factory=dict)  # the same batch seen by further branches of the head

    @property
    def predictions(self) -> Predictions:
        """The raw outputs, decoded as the detector does."""
        return predictions_of(self.raw, self.head, self.priors, self.pyramid)

    @property
    def pyramid(self) -> tuple[Tensor, ...]:
        """Maps of a pyramid, without gradient: fixed mixtures of each cell's class outputs."""
        grid, logits = self.priors.grid, self.raw.logits.detach()
        generator = torch.Generator().manual_seed(0)
        mixture = torch.randn(grid.anchors * logits.shape[-1], CHANNELS, generator=generator, dtype=torch.float64)
        maps = []
        for start, rows, columns in zip(grid.start.tolist(), grid.rows.tolist(), grid.columns.tolist(), strict=True):
            cells = logits[:, start : start + rows * columns * grid.anchors].unflatten(1, (rows, columns, grid.anchors))
            maps.append((cells.flatten(3) @ mixture.to(cells)).permute(0, 3, 1, 2))
        return tuple(maps)

    def view(self, loss: PairLoss | None = None, progress: float = 0.0) -> PairViews:
        """The batch as pairs see it."""
        return PairViews(self.predictions, self.priors, self.targets, self.head.coding, loss or PairLoss(), progress)

    def branches(self, loss: PairLoss | None = None, progress: float = 0.0) -> dict[str, PairViews]:
        """The batch as the pairs of each branch see it."""
        beside = {name: one.view(loss, progress) for name, one in self.beside.items()}
        return {MAIN: self.view(loss, progress), **beside}

    def own_leaves(self) -> tuple[Tensor, ...]:
        """The raw outputs of the main branch."""
        return (self.raw.logits, self.raw.regression, *self.raw.extras.values())

    def leaves(self) -> tuple[Tensor, ...]:
        """All raw outputs that gradients flow to, each once."""
        every = (*self.own_leaves(), *(leaf for one in self.beside.values() for leaf in one.own_leaves()))
        return tuple({id(one): one for one in every}.values())

    def changed(self, change: Callable[[Tensor], Tensor], **replaced: Any) -> Problem:
        """The same with every raw output changed, as fresh leaves, and other priors or targets."""
        beside = {name: one.changed(change, **replaced) for name, one in self.beside.items()}
        return replace(
            self, raw=outputs_mapped(self.raw, lambda values: leaf(change(values))), beside=beside, **replaced
        )

    def of_image(self, image: int) -> Problem:
        """One image of the batch as a problem of its own, with fresh leaves."""
        priors = self.priors
        if priors.extent is not None:
            priors = replace(priors, extent=priors.extent[image : image + 1])
        if priors.boxes.ndim == 3:
            priors = priors.predicted(priors.boxes[image : image + 1])
        return self.changed(lambda x: x[image : image + 1], priors=priors, targets=self.targets.of_image(image))

    def with_targets(self, targets: Targets) -> Problem:
        """The same predictions for other objects, with fresh leaves."""
        return self.changed(lambda x: x, targets=targets)


def outputs_mapped(raw: RawOutputs, change: Callable[[Tensor], Tensor]) -> RawOutputs:
    """Every output changed, in the same way."""
    return RawOutputs(
        change(raw.logits),
        change(raw.regression),
        {name: change(value) for name, value in raw.extras.items()},
        raw.priors,
    )


def in_larger_canvas(problem: Problem, height: int, width: int, seed: int = 11) -> tuple[Problem, dict[str, Tensor]]:
    """The same outputs at the top left of a larger canvas, noise elsewhere; and where each branch's locations are now.

    Returns:
        The problem, and branch → ``[location]`` of the smaller canvas → location of the larger one.
    """
    generator = torch.Generator().manual_seed(seed)
    classes, images = problem.raw.logits.shape[-1], problem.targets.images
    larger = random_outputs(problem.head, images, generator, classes, height, width).with_targets(problem.targets)
    places = {}

    def placed(small: Problem, large: Problem) -> Problem:
        place = same_cells(small.priors, large.priors)
        merged = []
        for own, whole in zip(small.own_leaves(), large.own_leaves(), strict=True):
            values = whole.detach().clone()
            values[:, place] = own.detach()
            merged.append(leaf(values))
        logits, regression, *extras = merged
        raw = RawOutputs(logits, regression, dict(zip(small.raw.extras, extras, strict=True)))
        priors = large.priors
        if small.priors.boxes.ndim == 3:
            boxes = priors.boxes.clone()
            boxes[:, place] = small.priors.boxes
            priors = priors.predicted(boxes)
        return replace(large, raw=raw, priors=priors)

    main = placed(problem, larger)
    places[MAIN] = same_cells(problem.priors, larger.priors)
    beside = {}
    for name, small in problem.beside.items():
        shared = small.raw is problem.raw
        beside[name] = replace(main, beside={}) if shared else placed(small, larger.beside[name])
        places[name] = same_cells(small.priors, larger.beside[name].priors)
    return replace(main, beside=beside), places


def same_cells(small: Priors, large: Priors) -> Tensor:
    """Where the locations of a canvas are in a larger one: ``[location]``."""
    cell = torch.arange(len(small))
    start = small.grid.start[small.level]
    index = (cell - start).div(small.grid.anchors, rounding_mode="floor")
    columns = small.grid.columns[small.level]
    row, column = index.div(columns, rounding_mode="floor"), index % columns
    whole = large.grid.start[small.level] + (row * large.grid.columns[small.level] + column) * large.grid.anchors
    return whole + (cell - start) % small.grid.anchors


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
    outputs = random_outputs(head, len(counts), generator, classes, height, width, dtype)
    return outputs.with_targets(random_targets(generator, classes, counts, height, width, dtype))


def random_outputs(
    head: Head,
    images: int,
    generator: torch.Generator,
    classes: int,
    height: int,
    width: int,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """Random outputs of a head and of its further branches, for images without objects."""
    priors = pyramid_priors(head, height, width).cast(dtype)
    shape = (images, len(priors))
    none = torch.zeros(0, dtype=torch.int64)

    def noise(*tail: int) -> Tensor:
        return torch.randn(*shape, *tail, generator=generator, dtype=torch.float64).to(dtype)

    raw = RawOutputs(
        leaf(noise(classes) - 2),
        leaf(noise(head.coding.outputs) * 0.5 + head.box_bias),
        {extra.name: leaf(noise() if extra.channels == 1 else noise(extra.channels)) for extra in head.extras},
    )
    if head.make is not None:  # it may predict its priors: some that differ from image to image
        size = (priors.boxes[:, 2:] - priors.boxes[:, :2]).repeat(1, 2)
        priors = priors.predicted(priors.boxes + 0.1 * noise(4) * size)
    beside = {
        branch.name: random_outputs(branch.head, images, generator, classes, height, width, dtype)
        for branch in head.beside
        if branch.head is not None
    }
    own = Problem(head, raw, priors, Targets(torch.zeros(0, 4, dtype=dtype), none, none, images))
    shared = {branch.name: own for branch in head.beside if branch.head is None}
    return replace(own, beside={branch.name: {**beside, **shared}[branch.name] for branch in head.beside})


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
