"""The one gate between annotation files and training: what every reader gives goes through `build_dataset`.

A finding that is an error is refused by name (`DataError`); what can be put right is put right, counted and kept in
`Dataset.repairs`:

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
size of a picture missing                       from its header     from its header
==============================================  ==================  ===================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from json.encoder import encode_basestring_ascii
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset, Repair
from assignbench.data.images import Images
from assignbench.data.pictures import picture_size
from assignbench.data.read.annotations import EXAMPLES, Annotations, Objects, areas_of, taken
from assignbench.data.read.findings import SIZE_MISSING, Finding, Severity
from assignbench.data.read.mend import mend
from assignbench.data.read.picture_names import absent, of_that_name
from assignbench.data.read.raw import RawSplit, items, positions
from assignbench.data.read.rules import refusals, repairs
from assignbench.errors import DataError

_PARTS = {"train": "training", "evaluation": "evaluation", "test": "the test"}


def build_dataset(raw: RawSplit, *, name: str, split: str, classes: Sequence[str] | None, training: bool) -> Dataset:
    """Check, repair and sort what a reader found.

    Args:
        raw: the split as its files state it.
        name: canonical spec of the data set.
        split: name of the split.
        classes: the classes of the training split, or None to take this split's, ordered by id.
        training: apply the training column of the table above instead of the evaluation column.

    Raises:
        DataError: for everything that the table refuses, for missing pictures, and for a split without
            images or classes. The message names ids and file.
    """
    _refuse(raw, raw.findings)
    if not len(raw.images):
        raise DataError(f"{raw.source}: there is no picture for {_PARTS[raw.part]}")
    _refuse(raw, refusals(raw))
    classes, category_ids = _match_classes(
        raw.source, raw.categories, classes, "the list of classes" if training else "the training split"
    )
    _refuse_missing(raw)
    raw = _with_sizes(raw)
    objects, keep, done = _mended(raw, category_ids, training)
    pictures, offsets = raw.images, dict(raw.offsets)
    del raw  # millions of annotations, which need not be in memory three times
    if np.any(np.diff(pictures.ids) < 0):
        sequence = np.argsort(pictures.ids)
        pictures = pictures.take(sequence)
        objects = replace(objects, image=np.argsort(sequence)[objects.image])
    order = _order(objects.image, objects.ids, keep)
    columns = objects.columns()
    del objects
    objects = taken(columns, order)
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
        repairs=done,
        fingerprint=_fingerprint(classes, category_ids, pictures, objects),
        offsets=offsets,
        flags=objects.flags,
    )


def _mended(
    raw: RawSplit, category_ids: Sequence[int], training: bool
) -> tuple[Objects, NDArray[np.bool_], tuple[Repair, ...]]:
    """Objects in file order with their mended boxes, ``[object]`` which of them to keep, and all that was repaired."""
    found = [*raw.findings, *repairs(raw)]
    objects, keep = mend(
        _objects(raw, category_ids),
        raw.images.sizes,
        training,
        lambda kind, marked: found.append(raw.finding(kind, "annotations", marked)),
    )
    return objects, keep, tuple(_repair(raw, one) for one in found if one.kind.done and one.count)


def _objects(raw: RawSplit, category_ids: Sequence[int]) -> Objects:
    """Annotations with the places of their images and classes, in file order."""
    annotations = raw.annotations
    by_id = np.argsort(np.array(category_ids, dtype=np.int64))
    place = positions(annotations.category_ids, np.array(category_ids, dtype=np.int64)[by_id])
    return Objects(
        ids=annotations.ids,
        image=raw.owners,
        labels=by_id[place],
        boxes=annotations.boxes,
        area=_areas(annotations),
        crowd=annotations.crowd > 0,
        flags=annotations.flags,
    )


def _refuse(raw: RawSplit, findings: Iterator[Finding] | Sequence[Finding]) -> None:
    """The first finding that is an error, by its first items."""
    for finding in findings:
        if finding.kind.severity is not Severity.ERROR or not finding.count:
            continue
        first = str(next(items(raw, finding)))
        if finding.table == "nothing":  # a sentence of its own, which may name the file
            text = first if first.startswith(str(raw.source)) else f"{raw.source}: {first}"
        else:
            text = f"{raw.source}: {first}" + ("" if finding.details else f": {finding.kind.meaning}")
        more = f" (and {finding.count - 1} more; assignbench data check lists them)" if finding.count > 1 else ""
        raise DataError(text + more)


def _repair(raw: RawSplit, finding: Finding) -> Repair:
    images = annotations = finding.places[:0]
    details = finding.details
    if finding.table == "annotations":
        images, annotations = raw.annotations.image_ids[finding.places], raw.annotations.ids[finding.places]
    elif finding.table == "images":
        images = raw.images.ids[finding.places]
    elif finding.table == "categories":
        details = tuple(str(item.detail) for item in items(raw, finding))
    examples = tuple(map(str, items(raw, finding, EXAMPLES)))
    return Repair(finding.kind.done, finding.count, examples, finding.kind.how, images, annotations, details)


def _with_sizes(raw: RawSplit) -> RawSplit:
    """Sizes that nobody stated, from the pictures' headers."""
    unknown = np.flatnonzero(raw.images.sizes[:, 0] == 0)
    if not len(unknown):
        return raw
    sizes = raw.images.sizes.copy()
    for place in unknown.tolist():
        sizes[place] = picture_size(raw.images[place].path)
    found = [*raw.findings, raw.finding(SIZE_MISSING, "images", unknown)]
    return replace(raw, images=replace(raw.images, sizes=sizes), findings=found)


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


def _areas(annotations: Annotations) -> NDArray[np.float64]:
    """As stated, else of the box."""
    unstated = np.isnan(annotations.areas)
    return np.where(unstated, areas_of(annotations.boxes), annotations.areas) if unstated.any() else annotations.areas


def _order(image: NDArray[np.int64], ids: NDArray[np.int64], keep: NDArray[np.bool_]) -> NDArray[np.int64] | slice:
    """Where the objects to keep stand, by image, then by id; ids are distinct."""
    if len(ids) and ids.min() >= 0 and ids.max() < 1 << 32 and image.max() < 1 << 31:
        both = image << 32 | ids  # one number, which alone is sorted
        if np.all(both[1:] > both[:-1]):  # the file has them so, and millions need not be copied
            return slice(None) if keep.all() else np.flatnonzero(keep)
        order = np.argsort(both)
    else:
        order = np.lexsort((ids, image))
    return order[keep[order]]


def _refuse_missing(raw: RawSplit) -> None:
    missing = raw.missing
    if missing is None:
        missing = absent(raw.images.folder, list(raw.images.names()))
    if missing:
        first = ", ".join(str(raw.images[place].path) for place in missing[:EXAMPLES])
        text = f"{raw.source}: {len(missing)} of {len(raw.images)} pictures are missing, first {first}"
        there = of_that_name(raw.images.folder, raw.images.name(missing[0]))
        if len(there) > 1:
            more = f" and {len(there) - EXAMPLES} more places" if len(there) > EXAMPLES else ""
            text += (
                f"; {raw.images.folder} holds {Path(there[0]).name} {len(there)} times ({', '.join(there[:EXAMPLES])}"
                f"{more}): say in a YAML file which folder of pictures is meant, or write it into the names"
            )
        raise DataError(text)


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
    """The rows id, name, width, height as `json.dumps` writes a list of them, without its brackets, and faster."""
    names = (encode_basestring_ascii(name.rpartition("/")[2]) for name in images.names())
    rows = zip(images.ids.tolist(), names, *images.sizes.T.tolist(), strict=True)
    written = (f"[{number}, {name}, {width}, {height}]" for number, name, width, height in rows)
    while some := ", ".join(islice(written, block)):
        yield some
