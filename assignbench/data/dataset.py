"""One split of a data set in memory: pictures by reference, annotations as flat arrays sorted by image.

Numpy only, so that reading and evaluating need no torch. A `Dataset` is made by
`assignbench.data.read.build.build_dataset` alone, which keeps the promises stated below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from assignbench.data.images import AS_STORED, ImageInfo, Images, Stored

__all__ = ["Dataset", "ImageInfo", "Repair", "Splits", "describe"]


def _none() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


How = Literal["repaired", "left aside", "noted"]  # whole pictures are left aside; what is noted stays as it was


@dataclass(frozen=True)
class Repair:
    """Something that was put right or left aside while reading, and how often."""

    kind: str  # "box clipped to the image"
    count: int
    examples: tuple[str, ...]  # the first few: "annotation 12 of image 7 (000007.jpg)"
    how: How = "repaired"
    # All of it, each ``[item]`` or empty: ids of pictures and of annotations, and what else there is to say.
    images: NDArray[np.int64] = field(default_factory=_none, compare=False, repr=False)
    annotations: NDArray[np.int64] = field(default_factory=_none, compare=False, repr=False)
    details: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.examples) else ""
        return f"{self.count} × {self.kind} ({', '.join(self.examples)}{more})"


@dataclass(frozen=True)
class Shared:
    """How another process gets the arrays of a data set without a copy of its own."""

    open: Callable[..., Dataset]
    file: Path  # its first argument
    names: tuple[Any, ...]  # its other arguments


@dataclass(frozen=True)
class Official:
    """Whose own metrics are given beside COCO's numbers."""

    protocol: Literal["voc", "widerface"]
    lists: Path | None = None  # folder of WIDER FACE's easy, medium and hard lists


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
    images: Sequence[ImageInfo]  # `Images` when it was read
    boxes: NDArray[np.float64]  # [object, 4]
    labels: NDArray[np.int64]  # [object], 0 … K−1
    image: NDArray[np.int64]  # [object], index into images, ascending
    area: NDArray[np.float64]  # [object] pixels²: the mask's area where the file states one, else the box's
    crowd: NDArray[np.bool_]  # [object] crowd region or VOC "difficult": neither taught nor required
    annotation_ids: NDArray[np.int64]  # [object]
    repairs: tuple[Repair, ...]
    fingerprint: str  # sha256 over classes, images (without folders) and annotations
    offsets: Mapping[str, tuple[float, float]]  # class → mass from the box centre, in box sizes; or {}
    # What else a format says of its objects, name → [object]; WIDER FACE's "blur", "pose", … (see `read_widerface`)
    flags: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    official: Official | None = None  # None: COCO's numbers alone
    remarks: tuple[str, ...] = ()  # about the reading, not the data: "the cache was damaged …"
    shared: Shared | None = field(default=None, init=False, repr=False)  # set by `cache` alone; `replace` drops it

    def __len__(self) -> int:
        return len(self.images)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled for a worker: where the arrays lie in a file, if they do, and not the arrays."""
        if self.shared is None or not self.shared.file.exists():
            return super().__reduce_ex__(protocol)
        return self.shared.open, (self.shared.file, *self.shared.names)

    @property
    def stored(self) -> Stored:
        """How the files hold their pictures."""
        return self.images.stored if isinstance(self.images, Images) else AS_STORED

    @property
    def sizes(self) -> NDArray[np.int64]:
        """``[image, 2]`` width and height of every picture."""
        if isinstance(self.images, Images):
            return self.images.sizes
        return np.array([(image.width, image.height) for image in self.images], dtype=np.int64).reshape(-1, 2)

    def size_of(self, index: int) -> tuple[int, int]:
        """Width and height of the picture at ``index``; quicker than its `ImageInfo`, which needs a path."""
        if isinstance(self.images, Images):
            width, height = self.images.sizes[index].tolist()
            return width, height
        return self.images[index].width, self.images[index].height

    def objects_of(self, index: int) -> slice:
        """Where the objects of image ``index`` stand in the flat arrays."""
        first, last = np.searchsorted(self.image, (index, index + 1))
        return slice(int(first), int(last))

    def scored_by(self, official: Official | None) -> Dataset:
        """The same split with metrics of its own; other processes get its arrays as before."""
        return self if official == self.official else self._changed(official=official)

    def remarked(self, *remarks: str) -> Dataset:
        """The same split with more remarks."""
        return self._changed(remarks=(*self.remarks, *remarks)) if remarks else self

    def _changed(self, **fields: Any) -> Dataset:
        changed = replace(self, **fields)
        object.__setattr__(changed, "shared", self.shared)
        return changed

    @property
    def images_without_objects(self) -> int:
        """Images that own neither an object nor a crowd region; they are kept."""
        owners = np.count_nonzero(np.diff(self.image, prepend=-1))  # ascending
        return len(self.images) - int(owners)


@dataclass(frozen=True)
class Splits:
    """The two splits of a data set; same classes in the same order."""

    spec: str  # what opens it again, from any folder: "shapes", "voc:/data/bccd"
    train: Dataset
    evaluation: Dataset


def describe(dataset: Dataset, name: str | None = None) -> tuple[str, ...]:
    """Counts and repairs of a split, one line each, to be shown before a run; ``name``: instead of its own."""
    crowd = int(dataset.crowd.sum())
    counts = (
        f"{name or dataset.name}, {dataset.split}: {len(dataset)} images "
        f"({dataset.images_without_objects} without objects), {len(dataset.boxes) - crowd} objects of "
        f"{len(dataset.classes)} classes, {crowd} crowd or difficult regions"
    )
    remarks = (f"note: {remark}" for remark in dataset.remarks)
    return (counts, *(f"{repair.how}: {repair}" for repair in dataset.repairs), *remarks)
