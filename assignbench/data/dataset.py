"""One split of a data set in memory: pictures by reference, annotations as flat arrays sorted by image.

Numpy only, so that reading and evaluating need no torch. A `Dataset` is made by
`assignbench.data.build.build_dataset` alone, which keeps the promises stated below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageInfo:
    """One picture, as its annotation describes it; nothing has been decoded yet."""

    id: int  # the original id (COCO), or the running number from 1 (VOC)
    path: Path
    width: int  # pixels of the stored grid; an EXIF rotation is not applied, as in COCO
    height: int


@dataclass(frozen=True)
class Repair:
    """Something that was put right while reading, and how often."""

    kind: str  # "box clipped to the image"
    count: int
    examples: tuple[str, ...]  # the first few: "annotation 12 of image 7 (000007.jpg)"

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.examples) else ""
        return f"{self.count} × {self.kind} ({', '.join(self.examples)}{more})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split.

    Boxes are ``x0 y0 x1 y1`` in pixels of the original picture, finite and of positive size. In a
    training split they also lie inside the picture. Arrays are read-only, ordered by image, then by
    annotation id; images are ordered by id.
    """

    name: str  # what tables print: "shapes", "voc:bccd", "mine.yaml"
    split: str  # "train" or "evaluation", with the split's own name: "train (trainval)"
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]  # the file's own ids, in the order of `classes`; used in files only
    images: tuple[ImageInfo, ...]
    boxes: NDArray[np.float64]  # [object, 4]
    labels: NDArray[np.int64]  # [object], 0 … K−1
    image: NDArray[np.int64]  # [object], index into images, ascending
    area: NDArray[np.float64]  # [object] pixels²: the mask's area where the file states one, else the box's
    crowd: NDArray[np.bool_]  # [object] crowd region or VOC "difficult": neither taught nor required
    annotation_ids: NDArray[np.int64]  # [object]
    repairs: tuple[Repair, ...]
    fingerprint: str  # sha256 over classes, images (without folders) and annotations
    offsets: Mapping[str, tuple[float, float]]  # class → mass from the box centre, in box sizes; or {}

    def __len__(self) -> int:
        return len(self.images)

    def objects_of(self, index: int) -> slice:
        """Where the objects of image ``index`` stand in the flat arrays."""
        first, last = np.searchsorted(self.image, (index, index + 1))
        return slice(int(first), int(last))

    @property
    def images_without_objects(self) -> int:
        """Images that own neither an object nor a crowd region; they are kept."""
        return len(self.images) - len(np.unique(self.image))


@dataclass(frozen=True)
class Splits:
    """The two splits of a data set; same classes in the same order."""

    spec: str  # what opens it again, from any folder: "shapes", "voc:/data/bccd"
    train: Dataset
    evaluation: Dataset


def describe(dataset: Dataset) -> tuple[str, ...]:
    """Counts and repairs of a split, one line each, to be shown before a run."""
    crowd = int(dataset.crowd.sum())
    counts = (
        f"{dataset.name}, {dataset.split}: {len(dataset)} images "
        f"({dataset.images_without_objects} without objects), {len(dataset.boxes) - crowd} objects of "
        f"{len(dataset.classes)} classes, {crowd} crowd or difficult regions"
    )
    return (counts, *(f"repaired: {repair}" for repair in dataset.repairs))
