"""A detections file of any tool: COCO results format, as pycocotools' ``loadRes`` takes it for boxes.

It passes the gate of our own files, with wider bounds: scores may be any numbers, since only their order counts, and
a box may have a side of 0; it overlaps nothing, so it counts as wrong. Ids may be written 42.0. The order of the
entries does not matter: of equal scores in one picture and class the one with the smaller x, y, width, height comes
first, where pycocotools takes the order of the file. Everything that was passed over, and what a wrong export looks
like, is counted and said.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assignbench.data.caveats import caveats_of_split
from assignbench.data.dataset import Dataset, describe
from assignbench.data.read.findings import ID_NUMBERED
from assignbench.data.read.rules import below_a_pixel, enough_below
from assignbench.data.spec.locate import open_dataset, open_evaluation, states_ids
from assignbench.errors import DataError, RunError, UsageError
from assignbench.files import open_regular, sha256_of
from assignbench.run.scoring.detections import KEYS, LIMIT, Bounds, DetectionRows, in_order, read_entries, rows_of
from assignbench.run.scoring.evaluate import Evaluation, check_dataset, evaluate_rows
from assignbench.run.scoring.remarks import on_data, on_detections, on_pictures

FOREIGN = Bounds(scores=(-LIMIT, LIMIT), empty_boxes=True)
SHOWN = 5  # keys or class names in a remark
_PACKED = {b"\x1f\x8b": "compressed by gzip", b"PK": "a zip archive", b"\x80": "a pickle, which may run code"}


@dataclass(frozen=True)
class ForeignDetections:
    """The content of a detections file, and what its reader has to know."""

    rows: DetectionRows  # in canonical order
    sha256: str  # of the file
    content: str  # digest of the rows: order and notation of the entries and the scale of the scores do not count
    remarks: tuple[str, ...]


def read_foreign(dataset: Dataset, file: Path) -> ForeignDetections:
    """Read a detections file of any tool.

    Args:
        dataset: the split that it is of; its ids are those of the file.
        file: one JSON list.

    Raises:
        UsageError: as `require_plain`.
        DataError: the ids of the data set are no numbers.
        RunError: no JSON list, an entry (counted from 1) with unknown ids, a side below 0 or what is no number, or
            boxes that cannot be meant for these pictures.
    """
    require_plain(file)
    _refuse_invented_ids(dataset)
    digest = sha256_of(file)
    entries = read_entries(file)
    as_written = rows_of(entries, dataset, file, FOREIGN)
    if sha256_of(file) != digest:
        raise RunError(f"{file} changed while it was read")
    rows = in_order(as_written)
    _refuse_other_boxes(dataset, rows, file)
    return ForeignDetections(
        rows,
        digest,
        _digest(rows),
        (
            *on_pictures(dataset, rows),
            *_ignored(entries),
            *on_detections(rows),
            *_odd(dataset, rows),
            *_moved(as_written, rows),
        ),
    )


def evaluate_foreign(dataset: Dataset, file: Path, remarks: Sequence[str] = ()) -> Evaluation:
    """Score a detections file of any tool, by COCO's rules and the data set's own.

    Args:
        dataset: the split that it is of.
        file: as for `read_foreign`.
        remarks: what is to be said of the data, see `open_for_files`.

    Raises:
        As `read_foreign`; DataError: the data set cannot be scored.
    """
    check_dataset(dataset)
    found = read_foreign(dataset, file)
    return evaluate_rows(dataset, found.rows, str(file), (*remarks, "; ".join((told_of(file, found), *found.remarks))))


def told_of(file: Path, found: ForeignDetections) -> str:
    """Which file it is, and how much it holds."""
    return f"{file}, {len(found.rows):,} detections, sha256 {found.sha256[:12]}"


def open_for_files(spec: str, root: Path) -> tuple[Dataset, list[str]]:
    """The evaluation split that detections files are of, and what is to be said of it: which ids they must use, too.

    Args:
        spec: of the data set.
        root: folder of the data sets.

    Raises:
        As `open_dataset`.
    """
    stated = states_ids(spec, root)
    # where classes are numbered here, the training split numbers them
    dataset = open_evaluation(spec, root) if stated else open_dataset(spec, root).evaluation
    notes = (*caveats_of_split(dataset, scored=True), *on_data(dataset))
    remarks = [*describe(dataset), *(f"{dataset.name}: {note}" for note in notes)]
    if not stated:
        remarks.append(f"{dataset.name} states no ids: {_numbers(dataset)}")
    return dataset, remarks


def _numbers(dataset: Dataset) -> str:
    """Which ids a file must use."""
    first, last = dataset.images[0], dataset.images[len(dataset) - 1]
    classes = [f"{number} = {name}" for number, name in zip(dataset.category_ids, dataset.classes, strict=True)]
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return (
        f"pictures are {first.id} = {first.path.name} to {last.id} = {last.path.name}, "
        f"classes {', '.join(classes[:SHOWN])}{more}"
    )


def require_plain(file: Path) -> None:
    """Whether there is a file that could hold plain JSON.

    Raises:
        UsageError: there is none, or it is packed.
    """
    if file.is_dir():
        inside = file / "detections.json"
        which = f"; its detections file is {inside}" if inside.is_file() else ""
        raise UsageError(f"{file} is a folder, not a detections file{which}")
    if not file.is_file():
        raise UsageError(f"there is no detections file {file}")
    with open_regular(file) as opened:
        start = opened.read(2)
    for mark, what in _PACKED.items():
        if start.startswith(mark):
            raise UsageError(f"{file} is {what}; write the detections as plain JSON, in COCO results format")


def _refuse_invented_ids(dataset: Dataset) -> None:
    """Numbers that stand for ids like "a7f3" are ours: another tool's file cannot use them but by accident."""
    own = [one for one in dataset.repairs if one.kind == ID_NUMBERED.done and not len(one.annotations)]
    if own:
        raise DataError(
            f"{dataset.name}: ids of pictures or classes are texts ({own[0].examples[0]}), and a detections file names "
            "them by numbers; assignbench data check --fix writes a copy with numbers, which a tool can use"
        )


def _digest(rows: DetectionRows) -> str:
    digest = hashlib.sha256()
    rank = np.unique(rows.score, return_inverse=True)[1]
    for column in (rows.image_id, rows.category_id, rows.bbox, rank):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _ignored(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Keys that are passed over."""
    keys = Counter(key for entry in entries if len(entry) > len(KEYS) for key in entry if key not in KEYS)
    if not keys:
        return []
    told = [f"{key!r} ({count:,})" for key, count in sorted(keys.items())]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return [f"keys passed over, with the number of entries: {', '.join(told[:SHOWN])}{more}"]


def _outside(dataset: Dataset, rows: DetectionRows) -> int:
    """How many boxes have their centre outside their picture."""
    ids = np.array([image.id for image in dataset.images], dtype=np.int64)
    order = np.argsort(ids)
    sizes = dataset.sizes[order[np.searchsorted(ids[order], rows.image_id)]]
    centre = rows.bbox[:, :2] + rows.bbox[:, 2:] / 2
    return int(((centre < 0) | (centre > sizes)).any(axis=1).sum())


def _refuse_other_boxes(dataset: Dataset, rows: DetectionRows, file: Path) -> None:
    """Boxes that cannot be meant for these pictures would end in a low AP that looks like a bad detector's."""
    if len(rows) and 2 * (outside := _outside(dataset, rows)) > len(rows):
        raise RunError(
            f"{file}: {outside:,} of {len(rows):,} boxes have their centre outside the picture; these are detections "
            "of other pictures, or boxes of another form: COCO's are x, y, width, height in pixels"
        )
    if len(rows) and (rows.bbox[:, 2:] <= 1).all():
        raise RunError(
            f"{file}: no box is larger than a pixel; COCO's boxes are in pixels, not in fractions of the picture"
        )


def _odd(dataset: Dataset, rows: DetectionRows) -> list[str]:
    """What is no error, and often is one of the program that wrote the file."""
    remarks = []
    if empty := int((rows.bbox[:, 2:] == 0).any(axis=1).sum()):
        boxes = "1 box has" if empty == 1 else f"{empty:,} boxes have"
        remarks.append(f"{boxes} a side of 0: wrong, as in pycocotools")
    corners = np.hstack((rows.bbox[:, :2], rows.bbox[:, :2] + rows.bbox[:, 2:]))
    if enough_below(below := below_a_pixel(corners)):
        remarks.append(
            f"{int(below.sum()):,} of {len(rows):,} boxes have both sides below a pixel: are these fractions of the "
            "picture? COCO's boxes are in pixels"
        )
    if int(((rows.score < 0) | (rows.score > 1)).sum()):
        remarks.append(
            f"scores go from {rows.score.min():.4g} to {rows.score.max():.4g}; only their order counts, across pictures"
        )
    if outside := _outside(dataset, rows):
        boxes = "1 box has its" if outside == 1 else f"{outside:,} boxes have their"
        remarks.append(f"{boxes} centre outside the picture; COCO's boxes are x, y, width, height")
    return remarks


def _moved(as_written: DetectionRows, rows: DetectionRows) -> list[str]:
    """Detections of equal score that pycocotools would look at in another order."""
    order = np.lexsort((-as_written.score, as_written.category_id, as_written.image_id))  # stable
    moved = int((as_written.bbox[order] != rows.bbox).any(axis=1).sum())
    told = f"{moved:,} detections of equal picture, class and score stand in another order than in the file"
    return [f"{told}; pycocotools, which keeps the file's, may give another AP"] if moved else []
