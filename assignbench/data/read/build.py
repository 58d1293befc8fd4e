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
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset, ImageInfo, Repair
from assignbench.data.images import Images
from assignbench.data.read.annotations import EXAMPLES, Annotations, Objects, RepairLog, areas_of
from assignbench.data.read.mend import mend
from assignbench.errors import DataError

LARGEST = 1e9  # pixels; a coordinate beyond this is a damaged number, not a place
DENSE = 16  # times as many numbers as ids between the first and the last: COCO's image ids take up 5


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
    repairs: Sequence[Repair] = (),
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
        repairs: what the reader itself put right.

    Raises:
        DataError: for everything that the table refuses, for missing pictures, and for a split without
            images or classes. The message names ids and file.
    """
    if not images:
        raise DataError(f"{source}: the split has no images")
    pictures = images if isinstance(images, Images) else Images.of(images)
    _refuse_repeats(source, "image id", pictures.ids)
    _refuse_repeats(source, "category id", [number for number, _ in categories])
    _refuse_repeats(source, "category name", [text for _, text in categories])
    _refuse_repeats(source, "annotation id", annotations.ids)
    known = "the list of classes" if training else "the training split"
    classes, category_ids = _match_classes(source, categories, classes, known)
    if np.any(np.diff(pictures.ids) < 0):
        pictures = pictures.take(np.argsort(pictures.ids))
    refuse_missing_pictures(source, pictures)

    objects = _read_columns(source, annotations, pictures, category_ids)
    log = RepairLog(annotations, lambda entry: _last(pictures.name(int(objects.image[entry]))), list(repairs))
    log.note("iscrowd missing, taken as 0", annotations.crowd < 0)
    log.note("area missing, taken from the box", np.isnan(annotations.areas))
    objects, keep = mend(objects, pictures.sizes[objects.image].astype(np.float64), training, log.note)

    order = np.lexsort((objects.ids, objects.image))
    objects = objects.take(order[keep[order]])
    return Dataset(
        name=name,
        split=split,
        classes=tuple(classes),
        category_ids=tuple(category_ids),
        images=pictures,
        boxes=objects.boxes,
        labels=objects.labels,
        image=objects.image,
        area=objects.area,
        crowd=objects.crowd,
        annotation_ids=objects.ids,
        repairs=tuple(log.repairs),
        fingerprint=_fingerprint(classes, category_ids, pictures, objects),
        offsets=dict(offsets or {}),
        flags=objects.flags,
    )


def _read_columns(source: Path, annotations: Annotations, images: Images, category_ids: Sequence[int]) -> Objects:
    """Ids to positions; area and crowd filled in."""
    by_id = np.argsort(np.array(category_ids, dtype=np.int64))
    image, unknown_image = _positions(annotations.image_ids, images.ids)
    place, unknown_class = _positions(annotations.category_ids, np.array(category_ids, dtype=np.int64)[by_id])
    for entry in np.flatnonzero(unknown_image | unknown_class)[:1].tolist():
        absent = "such image" if unknown_image[entry] else f"category {annotations.category_ids[entry]}"
        raise DataError(f"{source}: {annotations.named(entry)}: there is no {absent}")
    boxes = annotations.boxes
    for entry in np.flatnonzero(~np.all(np.abs(boxes) < LARGEST, axis=1))[:1].tolist():  # NaN compares false
        raise DataError(
            f"{source}: {annotations.named(entry)}: the box {boxes[entry].tolist()} is not finite "
            f"or beyond {LARGEST:g} pixels; correct or remove it"
        )
    return Objects(
        ids=annotations.ids,
        image=image,
        labels=by_id[place] if len(place) else place,
        boxes=boxes,
        area=np.where(np.isnan(annotations.areas), areas_of(boxes), annotations.areas),
        crowd=annotations.crowd > 0,
        flags=annotations.flags,
    )


def _positions(values: NDArray[np.int64], known: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each value stands in the ascending ``known``, and which of them do not."""
    if not len(known):
        return np.zeros_like(values), np.ones(len(values), dtype=np.bool_)
    first, last = int(known[0]), int(known[-1])
    if last - first < DENSE * len(known) + (1 << 16):  # ids mostly are: looked up in a table, ten times as fast
        table = np.zeros(last - first + 1, dtype=np.int64)
        table[known - first] = np.arange(len(known))
        places = table[np.clip(values, first, last) - first]
    else:
        places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return places, known[places] != values


def _refuse_repeats(source: Path, what: str, values: Sequence[int] | Sequence[str] | NDArray[np.int64]) -> None:
    if isinstance(values, np.ndarray):
        ordered = np.sort(values)
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]]).tolist()
    else:
        repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        first = ", ".join(map(str, repeated[:EXAMPLES]))
        raise DataError(f"{source}: {len(repeated)} repeated {what}s, first {first}; each must be unique")


def _match_classes(
    source: Path, categories: Sequence[tuple[int, str]], classes: Sequence[str] | None, known: str
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
            f"{source}: {known} does not know the class {unknown[0]!r}"
            + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
            + "; the names must be the same everywhere"
        )
    # A class without a category here cannot occur in this split, yet detections of it need an id.
    free = max(ids.values()) + 1
    for text in classes:
        if text not in ids:
            ids[text], free = free, free + 1
    return list(classes), [ids[text] for text in classes]


def refuse_missing_pictures(source: Path, images: Images) -> None:
    """Compare with the folders' listings: one call per folder instead of one per picture.

    Raises:
        DataError: pictures are missing; the message counts them and names the first.
    """
    below: defaultdict[str, list[str]] = defaultdict(list)
    for name in images.names():
        folder, _, last = name.rpartition("/")
        below[f"{folder}/" if name.startswith("/") else folder].append(last)
    missing = [
        images.folder / folder / name
        for folder, names in below.items()
        for listed in [_listing(images.folder / folder)]
        for name in names
        if name not in listed
    ]
    if missing:
        first = ", ".join(map(str, missing[:EXAMPLES]))
        raise DataError(f"{source}: {len(missing)} of {len(images)} pictures are missing, first {first}")


def _listing(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except (OSError, ValueError):  # no such folder, or a name that no folder can have
        return set()


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _fingerprint(classes: Sequence[str], category_ids: Sequence[int], images: Images, objects: Objects) -> str:
    """Digest of what is taught and scored; folders do not count, so that a data set may move."""
    digest = hashlib.sha256(f"{json.dumps([list(classes), list(category_ids)])[:-1]}, [".encode())
    for number, block in enumerate(_pictures_as_json(images)):
        digest.update(f"{', ' if number else ''}{block}".encode())
    digest.update(b"]]")
    for array in objects.arrays():
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _pictures_as_json(images: Images, block: int = 10_000) -> Iterator[str]:
    """The rows id, name, width, height as `json.dumps` writes a list of them, without its brackets."""
    rows = zip(images.ids.tolist(), map(_last, images.names()), *images.sizes.T.tolist(), strict=True)
    while some := list(islice(rows, block)):
        yield json.dumps(some)[1:-1]
