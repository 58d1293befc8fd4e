"""Reader of COCO instance annotations (https://cocodataset.org/#format-data), however large the file."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from assignbench.data.dataset import Dataset, Repair
from assignbench.data.images import Images
from assignbench.data.read.annotations import EXAMPLES, Annotations
from assignbench.data.read.build import build_dataset
from assignbench.data.read.cache import remembered
from assignbench.data.read.coco_entries import annotations_in, categories_in, images_in, joined
from assignbench.data.read.scan import Digest, Piece, Value, scan
from assignbench.errors import DataError


@dataclass(frozen=True)
class Parsed:
    """What a file states, with every type checked."""

    categories: list[tuple[int, str]]
    offsets: dict[str, tuple[float, float]]
    images: Images
    annotations: Annotations

    def without(self, names: frozenset[str]) -> tuple[Parsed, list[Repair]]:
        """The same without some pictures and their objects, and a count of them."""
        out = np.array([name in names for name in self.images.names()], dtype=np.bool_)
        if not out.any():
            return self, []
        removed = [self.images.name(index) for index in np.flatnonzero(out).tolist()]
        kind = "picture left out with its objects, as the specification says"
        repair = Repair(kind, len(removed), tuple(removed[:EXAMPLES]))
        kept = ~np.isin(self.annotations.image_ids, self.images.ids[out])
        return Parsed(self.categories, self.offsets, self.images.take(~out), self.annotations.take(kept)), [repair]


def read_coco(
    file: Path,
    pictures: Path,
    *,
    name: str,
    split: str,
    training: bool,
    classes: Sequence[str] | None = None,
    labelled: bool = True,
    folders: int | None = None,
    left_out: Sequence[str] = (),
) -> Dataset:
    """Read one split.

    Args:
        file: ``instances_*.json``, or ``image_info_*.json`` of a split whose objects are secret.
        pictures: folder that every ``file_name`` is relative to.
        name: canonical spec of the data set.
        split: name of the split.
        training: repair for training, or keep what an official evaluation counts (see `build`).
        classes: classes of the training split, for an evaluation split; category ids may differ
            between the two files, names may not.
        labelled: whether there must be annotations; otherwise there must be none.
        folders: how many folders of a ``file_name`` count; None: all of them.
        left_out: pictures that are dropped with their objects, counted and named.

    Raises:
        DataError: naming the file and the place, for anything missing, malformed or inconsistent.
    """
    choices = {
        "training": training,
        "classes": None if classes is None else list(classes),
        "labelled": labelled,
        "folders": folders,
        "left_out": sorted(left_out),
    }

    def read(digest: Digest) -> Dataset:
        parsed, repairs = _parse(file, pictures, digest, labelled, folders).without(frozenset(left_out))
        return build_dataset(
            name=name,
            split=split,
            source=file,
            categories=parsed.categories,
            classes=classes,
            images=parsed.images,
            annotations=parsed.annotations,
            training=training,
            offsets=parsed.offsets,
            repairs=repairs,
        )

    return remembered(file, choices, read, name=name, split=split, pictures=pictures)


def _parse(file: Path, pictures: Path, digest: Digest, labelled: bool, folders: int | None) -> Parsed:
    """Read every list piece by piece; a piece in which anything is odd is read again with care, to name it."""
    keys = ("images", "categories", *(["annotations"] if labelled else []))
    found: dict[str, list[Any]] = {}
    readers: dict[str, Callable[[Piece], Any]] = {
        "images": partial(images_in, file, folders),
        "categories": partial(categories_in, file),
        "annotations": partial(annotations_in, file),
    }
    with _no_garbage_collection():
        for part in scan(file, digest):
            if isinstance(part, Value):
                continue
            if part.key == "annotations" and not labelled and part.entries:
                raise DataError(f"{file}: it holds annotations, but this split is known for having none")
            if part.key in keys:
                found.setdefault(part.key, []).append(readers[part.key](part))
    for key in keys:
        if key not in found:
            raise DataError(f"{file}: {key!r} is missing or not a list")
    rows = [row for piece in found["categories"] for row in piece]
    names = [text for piece in found["images"] for text in piece[2]]
    ids, sizes = (np.concatenate([piece[column] for piece in found["images"]]) for column in (0, 1))
    return Parsed(
        categories=[(number, text) for number, text, _ in rows],
        offsets={text: offset for _, text, offset in rows if offset is not None},
        images=Images.named(pictures, ids, sizes, names),
        annotations=joined(found.get("annotations", [])),
    )


@contextlib.contextmanager
def _no_garbage_collection() -> Generator[None]:
    """Millions of short-lived objects without cycles: looking for some would take a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
