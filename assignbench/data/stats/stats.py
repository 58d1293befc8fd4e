"""Numbers of a split that explain why a strategy wins on it: how many objects, how large, how crowded.

Crowd regions are counted and otherwise left out. Sizes are in network pixels, after the recipe's resize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset
from assignbench.data.load.transforms import resized

LEVELS = ("P3", "P4", "P5", "P6", "P7")
COUNTS = (0, 1, 2, 4, 8, 16, 32, 64, 128)  # objects of an image: first of each bin, the last one open
SIDES = (4, 8, 16, 32, 64, 128, 256, 512)  # √area in network pixels: upper end of each bin but the last
RATIOS = (1 / 4, 1 / 2, 1.0, 2.0, 4.0)  # width over height: likewise
RETINANET = 32.0  # pixels, side of the smallest anchor of P3; P4's is twice that, and so on
FCOS = (64, 128, 256, 512)  # pixels, upper end of each level's range but P7's


@dataclass(frozen=True)
class Histogram:
    """How many fall into each bin."""

    bins: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ClassCount:
    """One class in one split."""

    name: str
    objects: int
    images: int  # with at least one


@dataclass(frozen=True)
class SplitStats:
    """One split; fractions are of objects, crowd regions apart, and None where there are none."""

    split: str
    images: int
    objects: int
    crowd: int
    crowd_fraction: float | None  # of objects and crowd regions
    images_without_objects: int
    objects_per_image: Histogram
    mean_objects: float
    median_objects: float
    most_objects: int
    sides: Histogram  # √area
    median_side: float | None
    retinanet_levels: Histogram
    fcos_levels: Histogram
    aspect_ratios: Histogram  # width over height
    classes: tuple[ClassCount, ...]
    even_classes: float | None  # exp of the entropy: as many equally frequent classes would be as uneven
    without_p3: float | None
    without_any: float | None
    overlap_own_class: float | None
    overlap_any: float | None
    shared_location: float | None


def split_stats(dataset: Dataset, short_side: int, long_side: int) -> SplitStats:
    """Measure one split.

    Args:
        dataset: the split.
        short_side: network pixels, as in a recipe.
        long_side: likewise.
    """
    from assignbench.data.stats.overlap import crowdedness, without_location

    real = ~dataset.crowd
    image, labels = dataset.image[real], dataset.labels[real]
    boxes, extent = network_boxes(dataset, real, short_side, long_side)
    sizes = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    side = np.sqrt(sizes.prod(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):  # an evaluation box that only touches its picture
        ratio = sizes[:, 0] / sizes[:, 1]
    per_image = np.bincount(image, minlength=len(dataset))
    missed = without_location(boxes, extent)
    crowded = crowdedness(boxes, image, labels, extent)
    everything = len(dataset.crowd)
    return SplitStats(
        split=dataset.split,
        images=len(dataset),
        objects=len(image),
        crowd=everything - len(image),
        crowd_fraction=(everything - len(image)) / everything if everything else None,
        images_without_objects=dataset.images_without_objects,
        objects_per_image=_histogram(per_image, [first - 0.5 for first in COUNTS[1:]], _count_bins()),
        mean_objects=float(per_image.mean()),
        median_objects=float(np.median(per_image)),
        most_objects=int(per_image.max()),
        sides=_histogram(side, SIDES, _bins(SIDES)),
        median_side=float(np.median(side)) if len(side) else None,
        retinanet_levels=_levels(retinanet_level(side)),
        fcos_levels=_levels(fcos_level(sizes)),
        aspect_ratios=_histogram(ratio, RATIOS, ("< 1:4", "1:4 – 1:2", "1:2 – 1:1", "1:1 – 2:1", "2:1 – 4:1", "≥ 4:1")),
        classes=_classes(dataset.classes, image, labels),
        even_classes=_even_classes(labels),
        without_p3=_fraction(missed[:, 0]),
        without_any=_fraction(np.asarray(missed.all(axis=1), dtype=np.bool_)),
        overlap_own_class=_fraction(crowded.own_class),
        overlap_any=_fraction(crowded.any_class),
        shared_location=_fraction(crowded.location),
    )


def network_boxes(
    dataset: Dataset, chosen: NDArray[np.bool_], short_side: int, long_side: int
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Boxes in network pixels, cut at the border of their picture, and height and width that hold every picture."""
    sizes, which = np.unique(dataset.sizes, axis=0, return_inverse=True)
    rows = [resized(width, height, short_side, long_side) for width, height in sizes.tolist()]
    target = np.array(rows, dtype=np.float64)[:, ::-1]  # width, height
    own = which.reshape(-1)[dataset.image[chosen]]
    boxes = dataset.boxes[chosen] * np.tile(target / sizes, 2)[own]
    limit = np.tile(target, 2)[own]
    width, height = target.max(axis=0)
    return np.clip(boxes, 0, limit).astype(np.float32), (int(height), int(width))


def retinanet_level(side: NDArray[np.float64]) -> NDArray[np.int64]:
    """The level whose anchors, three to an octave, come nearest to √area: ``[object] → [object]``, 0 for P3."""
    with np.errstate(divide="ignore"):
        third = np.rint(3 * np.log2(side / RETINANET))
    return np.clip(np.floor(third / 3), 0, len(LEVELS) - 1).astype(np.int64)


def fcos_level(sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """The level whose range holds the location at the box centre: width and height ``[object, 2] → [object]``."""
    return np.searchsorted(np.array(FCOS, dtype=np.float64), sizes.max(axis=1, initial=0) / 2, side="left")


def _levels(level: NDArray[np.int64]) -> Histogram:
    return Histogram(LEVELS, tuple(np.bincount(level, minlength=len(LEVELS)).tolist()))


def _histogram(values: NDArray[np.generic], ends: Sequence[float], bins: Sequence[str]) -> Histogram:
    """A value at an end belongs to the bin that begins there."""
    places = np.searchsorted(np.array(ends), values, side="right")
    return Histogram(tuple(bins), tuple(np.bincount(places, minlength=len(bins)).tolist()))


def _bins(ends: Sequence[int]) -> tuple[str, ...]:
    inner = (f"{low} – {high}" for low, high in pairwise(ends))
    return (f"< {ends[0]}", *inner, f"≥ {ends[-1]}")


def _count_bins() -> tuple[str, ...]:
    inner = (str(low) if high == low + 1 else f"{low} – {high - 1}" for low, high in pairwise(COUNTS))
    return (*inner, f"≥ {COUNTS[-1]}")


def _classes(names: Sequence[str], image: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[ClassCount, ...]:
    objects = np.bincount(labels, minlength=len(names)).tolist()
    pairs = np.unique(np.stack((image, labels), axis=1), axis=0)
    images = np.bincount(pairs[:, 1], minlength=len(names)).tolist()
    return tuple(ClassCount(*row) for row in zip(names, objects, images, strict=True))


def _even_classes(labels: NDArray[np.int64]) -> float | None:
    if not len(labels):
        return None
    fractions = np.bincount(labels) / len(labels)
    fractions = fractions[fractions > 0]
    return float(np.exp(-(fractions * np.log(fractions)).sum()))


def _fraction(marked: NDArray[np.bool_]) -> float | None:
    return float(marked.mean()) if len(marked) else None
