"""The one gate between annotation files and training: every reader ends in `build_dataset`.

What cannot be understood is refused by name (`DataError`); what can be put right is put right, counted
and kept in `Dataset.repairs`:

==============================================  ==================  ===================================
annotation                                      training            evaluation
==============================================  ==================  ===================================
box not finite, unknown image or category       refused             refused
repeated image, annotation or category id       refused             refused
box of zero or negative size                    dropped             dropped
box wholly outside the picture                  dropped             dropped
box partly outside the picture                  clipped             kept: the official scores need it
box thinner than 0.005 pixels (then)            dropped             kept
same box and class twice in one image           dropped             kept
area or iscrowd missing                         filled in           filled in
==============================================  ==================  ===================================
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assignbench.data.annotations import EXAMPLES, Annotations, Ledger, Objects
from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.data.mend import mend
from assignbench.errors import DataError

LARGEST = 1e9  # pixels; a coordinate beyond this is a damaged number, not a place


def build_dataset(
    *,
    name: str,
    split: str,
    source: Path,
    categories: Sequence[tuple[int, str]],
    classes: Sequence[str] | None,
    images: Sequence[ImageInfo],
    annotations: Annotations,
    training: bool,
    offsets: Mapping[str, tuple[float, float]] | None = None,
) -> Dataset:
    """Check, repair and sort what a reader found.

    Args:
        name: canonical spec of the data set.
        split: name of the split.
        source: file or folder to name in messages.
        categories: id and name of every category of this split.
        classes: the classes of the training split, or None to take this split's, ordered by id.
        images: pictures of the split, in any order.
        annotations: objects of the split, in any order.
        training: apply the training column of the table above instead of the evaluation column.
        offsets: class → true offset of its visible mass, when the data set knows.

    Raises:
        DataError: for everything that the table refuses, for missing pictures, and for a split without
            images or classes. The message names ids and file.
    """
    if not images:
        raise DataError(f"{source}: the split has no images")
    _refuse_repeats(source, "image id", [image.id for image in images])
    _refuse_repeats(source, "category id", [number for number, _ in categories])
    _refuse_repeats(source, "category name", [text for _, text in categories])
    _refuse_repeats(source, "annotation id", annotations.ids)
    classes, category_ids = _match_classes(source, categories, classes)
    images = sorted(images, key=lambda image: image.id)
    _refuse_missing_pictures(source, images)

    objects = _read_columns(source, annotations, images, category_ids)
    ledger = Ledger(annotations, [images[index].path.name for index in objects.image])
    ledger.count("iscrowd missing, taken as 0", _absent(annotations.crowd))
    ledger.count("area missing, taken from the box", _absent(annotations.areas))
    size = np.array([(image.width, image.height) for image in images], dtype=np.float64)[objects.image]
    objects, keep = mend(objects, size, training, ledger)

    order = np.lexsort((objects.ids, objects.image))
    objects = objects.take(order[keep[order]])
    return Dataset(
        name=name,
        split=split,
        classes=tuple(classes),
        category_ids=tuple(category_ids),
        images=tuple(images),
        boxes=objects.boxes,
        labels=objects.labels,
        image=objects.image,
        area=objects.area,
        crowd=objects.crowd,
        annotation_ids=objects.ids,
        repairs=tuple(ledger.repairs),
        fingerprint=_fingerprint(classes, category_ids, images, objects),
        offsets=dict(offsets or {}),
    )


def _absent(values: Sequence[object]) -> NDArray[np.bool_]:
    return np.array([value is None for value in values], dtype=np.bool_)


def _read_columns(
    source: Path, annotations: Annotations, images: Sequence[ImageInfo], category_ids: Sequence[int]
) -> Objects:
    """Lists to arrays; ids to positions; area and crowd filled in."""
    image_ids = {image.id: index for index, image in enumerate(images)}
    labels = {number: label for label, number in enumerate(category_ids)}
    for entry, (image, category) in enumerate(zip(annotations.image_ids, annotations.category_ids, strict=True)):
        if image not in image_ids:
            raise DataError(f"{source}: {annotations.named(entry)}: there is no such image")
        if category not in labels:
            raise DataError(f"{source}: {annotations.named(entry)}: there is no category {category}")
    boxes = np.array(annotations.boxes, dtype=np.float64).reshape(-1, 4)
    for entry in np.flatnonzero(~np.all(np.abs(boxes) < LARGEST, axis=1))[:1]:  # NaN compares false
        raise DataError(
            f"{source}: {annotations.named(entry)}: the box {boxes[entry].tolist()} is not finite "
            f"or beyond {LARGEST:g} pixels; correct or remove it"
        )
    area = np.array([np.nan if value is None else value for value in annotations.areas], dtype=np.float64)
    own = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return Objects(
        ids=np.array(annotations.ids, dtype=np.int64),
        image=np.array([image_ids[number] for number in annotations.image_ids], dtype=np.int64),
        labels=np.array([labels[number] for number in annotations.category_ids], dtype=np.int64),
        boxes=boxes,
        area=np.where(np.isnan(area), own, area),
        crowd=np.array([bool(value) for value in annotations.crowd], dtype=np.bool_),
    )


def _refuse_repeats(source: Path, what: str, values: Sequence[int | str]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        first = ", ".join(map(str, repeated[:EXAMPLES]))
        raise DataError(f"{source}: {len(repeated)} repeated {what}s, first {first}; each must be unique")


def _match_classes(
    source: Path, categories: Sequence[tuple[int, str]], classes: Sequence[str] | None
) -> tuple[list[str], list[int]]:
    """Order this split's category ids by class; splits are matched by name, because ids may differ."""
    if not categories:
        raise DataError(f"{source}: no category is defined")
    ids = {text: number for number, text in categories}
    if classes is None:
        classes = sorted(ids, key=lambda text: ids[text])
    unknown = sorted(set(ids) - set(classes))
    if unknown:
        raise DataError(
            f"{source}: the training split does not know the class {unknown[0]!r}"
            + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
            + "; both splits must use the same class names"
        )
    # A class without a category here cannot occur in this split, yet detections of it need an id.
    free = max(ids.values()) + 1
    for text in classes:
        if text not in ids:
            ids[text], free = free, free + 1
    return list(classes), [ids[text] for text in classes]


def _refuse_missing_pictures(source: Path, images: Sequence[ImageInfo]) -> None:
    """Compare with the folders' listings: one call per folder instead of one per picture."""
    listed = {folder: _listing(folder) for folder in {image.path.parent for image in images}}
    missing = [image.path for image in images if image.path.name not in listed[image.path.parent]]
    if missing:
        first = ", ".join(map(str, missing[:EXAMPLES]))
        raise DataError(f"{source}: {len(missing)} of {len(images)} pictures are missing, first {first}")


def _listing(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except (OSError, ValueError):  # no such folder, or a name that no folder can have
        return set()


def _fingerprint(
    classes: Sequence[str], category_ids: Sequence[int], images: Sequence[ImageInfo], objects: Objects
) -> str:
    """Digest of what is taught and scored; folders do not count, so that a data set may move."""
    pictures = [(image.id, image.path.name, image.width, image.height) for image in images]
    digest = hashlib.sha256(json.dumps([list(classes), list(category_ids), pictures]).encode())
    for column in fields(objects):
        array = getattr(objects, column.name)
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
