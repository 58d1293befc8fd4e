"""Small random problems for the contract, for tests and for benchmarks: no network, no pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core import Head, PairViews, Predictions, Priors, Setting, Targets, centers, sides
from assignbench.core.coding import Coding, Distribution
from assignbench.core.head import MAIN
from assignbench.core.parts import PairLoss, RawOutputs, predictions_of
from assignbench.core.priors import map_sizes, pyramid_priors

CHANNELS = Setting(classes=1).channels  # of the maps of a pyramid


@dataclass(frozen=True)
class Problem:
    """A batch without pictures: what a network would put out, for objects at random."""

    head: Head
    raw: RawOutputs  # leaves of the gradient
    priors: Priors
    targets: Targets
    beside: Mapping[str, Problem] = field(default_factory=dict)  # the same batch seen by further branches of the head
    pyramid: tuple[Tensor, ...] = ()  # the maps that all branches read: [image, channel, row, column], finest first

    @property
    def predictions(self) -> Predictions:
        """The raw outputs, decoded as the detector does."""
        return predictions_of(self.raw, self.head, self.priors, self.pyramid)

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
        return tuple(self.named_leaves().values())

    def named_leaves(self) -> dict[str, Tensor]:
        """The same, by name."""
        found: dict[int, tuple[str, Tensor]] = {}
        for branch, one in {MAIN: self, **self.beside}.items():
            names = ("logits", "regression", *(f"extras[{name!r}]" for name in one.raw.extras))
            for name, output in zip(names, one.own_leaves(), strict=True):
                found.setdefault(id(output), (f"{name} of branch {branch}", output))
        return dict(found.values())

    def of_branch(self, name: str) -> Problem:
        """The batch as a branch of the head sees it."""
        return self if name == MAIN else self.beside[name]

    def changed(
        self,
        change: Callable[[Tensor], Tensor],
        *,
        priors: Callable[[Priors], Priors] | None = None,
        targets: Targets | None = None,
    ) -> Problem:
        """The same with all outputs and maps changed, as fresh leaves, every branch's priors, or the objects."""
        beside = {name: one.changed(change, priors=priors, targets=targets) for name, one in self.beside.items()}
        changed = replace(
            self,
            raw=outputs_mapped(self.raw, lambda values: leaf(change(values))),
            priors=self.priors if priors is None else priors(self.priors),
            targets=self.targets if targets is None else targets,
            beside=beside,
        )
        return changed.with_pyramid(tuple(leaf(change(level)) for level in self.pyramid))

    def of_image(self, image: int) -> Problem:
        """One image of the batch as a problem of its own, with fresh leaves."""

        def own(priors: Priors) -> Priors:
            if priors.extent is not None:
                priors = replace(priors, extent=priors.extent[image : image + 1])
            return priors.predicted(priors.boxes[image : image + 1]) if priors.boxes.ndim == 3 else priors

        return self.changed(lambda x: x[image : image + 1], priors=own, targets=self.targets.of_image(image))

    def padded(self, sizes: Tensor) -> Problem:
        """The same images, which end earlier than the batch: height and width of each, ``[image, 2]``."""
        return self.changed(torch.clone, priors=lambda priors: priors.padded(sizes))

    def with_pyramid(self, maps: tuple[Tensor, ...]) -> Problem:
        """The same with other maps of the pyramid."""
        beside = {name: one.with_pyramid(maps) for name, one in self.beside.items()}
        return replace(self, pyramid=maps, beside=beside)

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

    The pyramid's maps are 0 elsewhere, as at the end of a picture.

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
    maps = tuple(
        leaf(F.pad(level, (0, columns - level.shape[-1], 0, rows - level.shape[-2])))
        for level, (rows, columns) in zip(problem.pyramid, map_sizes(height, width), strict=False)
    )
    return replace(main, beside=beside).with_pyramid(maps), places


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
    channels: int = 256,
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
        channels: of the pyramid's maps, as `Setting.channels`.
    """
    generator = torch.Generator().manual_seed(seed)
    outputs = random_outputs(head, len(counts), generator, classes, height, width, dtype)
    outputs = outputs.with_targets(random_targets(generator, classes, counts, height, width, dtype))
    return outputs.with_pyramid(random_pyramid(generator, len(counts), channels, height, width, dtype))


def learned_problem(problem: Problem, seed: int) -> Problem:
    """The same batch as a network sees it that has learned: boxes near the objects', high scores of their classes.

    A location in a box predicts the smallest box around it, the better the nearer it is to the centre. What a strategy
    does with good predictions differs much from what it does at the start of training.

    Args:
        problem: whose objects are to be found.
        seed: of the errors.
    """
    generator = torch.Generator().manual_seed(seed)

    def seen(one: Problem) -> Problem:
        raw, targets, coding = one.raw, problem.targets, one.head.coding
        logits, regression = raw.logits.detach() - 3, raw.regression.detach().clone()
        priors = one.priors.boxes.detach().expand(targets.images, -1, -1)
        size = targets.boxes[:, 2:] - targets.boxes[:, :2]
        for index in (-size.prod(-1)).argsort(stable=True).tolist():  # of several objects the smallest one is left
            image, box = int(targets.image[index]), targets.boxes[index]
            offset = ((one.priors.points - centers(box)) / size[index]).norm(dim=-1)
            inside = (sides(box, one.priors.points) > 0).all(-1).nonzero()[:, 0]
            off = offset[inside, None]
            noise = torch.randn(len(inside), 5, generator=generator, dtype=torch.float64).to(box)
            near = box + 0.2 * off * noise[:, :4] * size[index].repeat(2)
            wanted = coding.encode(near, priors[image, inside], one.priors.stride[inside])
            regression[image, inside] = outputs_near(coding, wanted)
            logits[image, inside, targets.labels[index]] = 2 - 4 * off[:, 0] + noise[:, 4]
        return replace(one, raw=RawOutputs(leaf(logits), leaf(regression), raw.extras, raw.priors))

    main = seen(problem)
    beside = {name: main if one.raw is problem.raw else seen(one) for name, one in problem.beside.items()}
    return replace(main, beside={name: replace(one, beside={}) for name, one in beside.items()})


def outputs_near(coding: Coding, wanted: Tensor) -> Tensor:
    """Raw outputs that decode to about what `Coding.encode` wants."""
    if not isinstance(coding, Distribution):
        return wanted
    bins = torch.arange(coding.bins, dtype=wanted.dtype)
    return (-2 * (bins - wanted[..., None]).square()).flatten(-2)


def random_pyramid(
    generator: torch.Generator, images: int, channels: int, height: int, width: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Maps P3 … P7 at random, as leaves: ``[image, channel, row, column]`` each."""
    return tuple(
        leaf(torch.randn(images, channels, *size, generator=generator, dtype=dtype))
        for size in map_sizes(height, width)
    )


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
