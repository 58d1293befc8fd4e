"""The detections file: COCO results format, checked on the way in and again on the way out.

One JSON list, one entry a line: original image id, original category id, ``bbox`` as x, y, width, height
in pixels of the original picture (0.01 px), score (1e-6). Entries stand in one canonical order, so neither
batch size nor number of processes nor order of arrival can move a number when scores tie. pycocotools accepts
NaN, negative widths and unknown classes without a word; nothing of that kind passes here. Files of other tools are
read by `assignbench.run.scoring.foreign`, through the same gate with wider bounds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from assignbench.data.dataset import Dataset
from assignbench.errors import RunError
from assignbench.files import read_json, read_regular, write_text_atomic

KEYS = ("image_id", "category_id", "bbox", "score")  # of an entry
VAGUE = float(1 << 53)  # from here on, a float stands for several whole numbers
LIMIT = 1e9  # pixels; no picture is larger, and beyond it areas lose their meaning


@dataclass(frozen=True)
class Bounds:
    """What the numbers of a detections file may be."""

    scores: tuple[float, float] = (0.0, 1.0)
    empty_boxes: bool = False  # whether a side may be 0


OURS = Bounds()


@dataclass(frozen=True)
class Detections:
    """What the detector found in one image.

    Raises:
        ValueError: when lengths disagree.
    """

    image: int  # index into Dataset.images
    boxes: np.ndarray  # [detection, 4] float, x0 y0 x1 y1 in pixels of the original picture
    scores: np.ndarray  # [detection] float in [0, 1]
    labels: np.ndarray  # [detection] int, index into Dataset.classes

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.labels.shape != (count,) or self.scores.ndim != 1:
            raise ValueError(
                f"detections of image {self.image}: boxes {self.boxes.shape}, scores {self.scores.shape} "
                f"and labels {self.labels.shape} do not fit each other"
            )


@dataclass(frozen=True)
class DetectionRows:
    """The content of a detections file as columns, in canonical order."""

    image_id: np.ndarray  # [detection] int64, original ids
    category_id: np.ndarray  # [detection] int64, original ids
    bbox: np.ndarray  # [detection, 4] float64, x y width height
    score: np.ndarray  # [detection] float64

    def __len__(self) -> int:
        return len(self.score)


def write_detections(dataset: Dataset, detections: Iterable[Detections], file: Path) -> int:
    """Check, round, sort and write the detections of a data set; images may be missing (nothing found).

    Args:
        dataset: the split that was predicted.
        detections: one entry an image at most, in any order.
        file: where the COCO results go, atomically.

    Returns:
        Number of detections written.

    Raises:
        RunError: an image came twice or is unknown; a box, score or label is impossible. Nothing is written.
    """
    seen: set[int] = set()
    parts = []
    for found in detections:
        if not 0 <= found.image < len(dataset.images):
            raise RunError(f"detections for image index {found.image}, but {dataset.name} has {len(dataset.images)}")
        if found.image in seen:
            raise RunError(f"image id {dataset.images[found.image].id} was predicted twice; each image counts once")
        seen.add(found.image)
        parts.append(_rows_of_image(dataset, found))
    rows = in_order(_concatenate(parts))
    entries = (
        # as json.dumps writes it, in less than half the time; no number here is infinite
        f'{{"image_id": {image}, "category_id": {category}, "bbox": [{x!r}, {y!r}, {w!r}, {h!r}], "score": {score!r}}}'
        for image, category, (x, y, w, h), score in zip(
            rows.image_id.tolist(),
            rows.category_id.tolist(),
            rows.bbox.tolist(),
            rows.score.tolist(),
            strict=True,
        )
    )
    write_text_atomic(file, "[\n" + ",\n".join(entries) + "\n]\n")
    return len(rows)


def read_detections(dataset: Dataset, file: Path) -> DetectionRows:
    """Read a detections file and hold it against the data set that it claims to describe.

    Raises:
        RunError: no JSON list, or an entry (counted from 1) with unknown ids, an impossible box or score.
    """
    return in_order(rows_of(read_entries(file), dataset, file))


def read_entries(file: Path) -> list[Any]:
    """The entries of a detections file, not yet looked at.

    Raises:
        RunError: the file is missing, unreadable, damaged, no JSON list, or an entry gives a key twice.
    """
    entries = read_json(file, finite=False)  # so that a NaN is found in its entry
    if not isinstance(entries, list):
        raise RunError(f"{file} is not a list of detections in COCO results format{_instead(entries)}")
    if (twice := _given_twice(file, entries)) is not None:
        raise RunError(f"{file}, entry {twice[0]}: it gives {twice[1]!r} twice; write it once")
    return entries


def _given_twice(file: Path, entries: Sequence[Any]) -> tuple[int, str] | None:
    """The first entry, counted from 1, that gives one of our keys twice, and which; the `json` module keeps the last.

    Keys are counted in the text first: to look at each of a million entries would take as long as to read them.
    """
    text = read_regular(file)
    if "\\" not in text and all(text.count(f'"{key}"') == len(entries) for key in KEYS):
        return None

    def marked(pairs: list[tuple[str, Any]]) -> str | None:
        keys = [key for key, _ in pairs]
        return next((key for key in KEYS if keys.count(key) > 1), None)

    found = enumerate(json.loads(text, object_pairs_hook=marked), start=1)
    return next(((number, key) for number, key in found if key in KEYS), None)


def rows_of(entries: list[Any], dataset: Dataset, file: Path, bounds: Bounds = OURS) -> DetectionRows:
    """Entries as columns, in their own order.

    Args:
        entries: as `read_entries` gives them; keys beside the four of `DetectionRows` are passed over.
        dataset: whose ids they have.
        file: where they stand, for the message.
        bounds: what the numbers may be.

    Raises:
        RunError: an entry (counted from 1) has unknown ids, an impossible box or score.
    """
    image_ids = {image.id for image in dataset.images}
    category_ids = set(dataset.category_ids)
    rows = _sound_rows(entries, image_ids, category_ids, bounds)
    if rows is None:
        problems = enumerate((_problem(entry, image_ids, category_ids, bounds) for entry in entries), start=1)
        number, problem = next((number, problem) for number, problem in problems if problem)
        raise RunError(f"{file}, entry {number}: {problem}; the file does not belong to {dataset.name} or is damaged")
    return rows


def in_order(rows: DetectionRows) -> DetectionRows:
    """Sorted by image, category, falling score, box; equal rows are interchangeable."""
    x, y, width, height = rows.bbox.T
    order = np.lexsort((height, width, y, x, -rows.score, rows.category_id, rows.image_id))
    return DetectionRows(rows.image_id[order], rows.category_id[order], rows.bbox[order], rows.score[order])


def _rows_of_image(dataset: Dataset, found: Detections) -> DetectionRows:
    boxes, scores = found.boxes.astype(np.float64), found.scores.astype(np.float64)
    size = boxes[:, 2:] - boxes[:, :2]
    image_id = dataset.images[found.image].id
    checks = (
        (~(np.abs(boxes) < LIMIT).all(axis=1), "a coordinate is not finite", found.boxes),
        (~(size > 0).all(axis=1), "the box has no positive size", found.boxes),
        (~((scores >= 0) & (scores <= 1)), "the score is not within 0 and 1", found.scores),
        ((found.labels < 0) | (found.labels >= len(dataset.classes)), "the class is unknown", found.labels),
    )
    for bad, problem, values in checks:
        if bad.any():
            entry = int(np.flatnonzero(bad)[0])
            raise RunError(f"image id {image_id}, detection {entry}: {problem} ({values[entry].tolist()})")
    # A side below half a hundredth of a pixel would round to zero, which no reader may accept.
    bbox = np.hstack([np.round(boxes[:, :2], 2), np.maximum(np.round(size, 2), 0.01)])
    return DetectionRows(
        image_id=np.full(len(scores), image_id, dtype=np.int64),
        category_id=np.array(dataset.category_ids, dtype=np.int64)[found.labels.astype(np.int64)],
        bbox=bbox,
        score=np.round(scores, 6),
    )


def _instead(content: object) -> str:
    """What to do with a file that holds something else."""
    lists = [key for key, value in content.items() if isinstance(value, list)] if isinstance(content, dict) else []
    return f"; it holds lists under {', '.join(lists)}: write that of the detections alone into a file" if lists else ""


def _sound_rows(
    entries: list[Any], image_ids: set[int], category_ids: set[int], bounds: Bounds = OURS
) -> DetectionRows | None:
    """The entries as columns; None: `_problem` finds something. A column at a time, which is several times as fast."""
    try:
        columns = [[entry[key] for entry in entries] for key in KEYS]
        image_id, category_id, bbox, score = columns
        sides = list(chain.from_iterable(bbox))
        kinds = {type(value) for value in (*image_id, *category_id, *sides, *score)}
        if not (
            kinds <= {int, float}
            and {(type(one), len(one)) for one in bbox} <= {(list, 4)}
            and image_ids.issuperset(image_id)
            and category_ids.issuperset(category_id)
            and not any(type(each) is float and abs(each) >= VAGUE for each in (*image_id, *category_id))
        ):
            return None
        rows = DetectionRows(
            image_id=_whole(image_id),
            category_id=_whole(category_id),
            bbox=np.array(sides, dtype=np.float64).reshape(-1, 4),
            score=np.array(score, dtype=np.float64),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    size, (low, high) = rows.bbox[:, 2:], bounds.scores
    sound = all((np.abs(each) < LIMIT).all() for each in (rows.bbox, rows.score))
    sound = sound and (size >= 0 if bounds.empty_boxes else size > 0).all()
    return rows if sound and ((rows.score >= low) & (rows.score <= high)).all() else None


def _whole(ids: list[float]) -> np.ndarray:
    """Known ids as numbers of one kind: other tools write 42.0, too."""
    return np.array([int(each) for each in ids], dtype=np.int64)


def _problem(entry: object, image_ids: set[int], category_ids: set[int], bounds: Bounds = OURS) -> str | None:
    """What is wrong with one entry of a file; `type` and not `isinstance`, because True is an int."""
    if not isinstance(entry, dict):
        return f"it is not an object but {short(entry)}"
    if absent := [key for key in KEYS if key not in entry]:
        return f"{', '.join(absent)} is missing"
    image_id, category_id, bbox, score = (entry[key] for key in KEYS)
    for what, number in (("image", image_id), ("category", category_id)):
        if type(number) is str:
            return f"{what} id {short(number)} is text; write ids as the numbers of the annotation file"
        if type(number) is float and abs(number) >= VAGUE:
            return f"{what} id {number:g} is written with a point or an exponent, and too large for it to be exact"
    if type(image_id) not in (int, float) or image_id not in image_ids:
        return f"image id {short(image_id)} is none of the evaluation pictures{_known(image_ids)}"
    if type(category_id) not in (int, float) or category_id not in category_ids:
        return f"image id {image_id} has the unknown category id {short(category_id)}{_known(category_ids)}"
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_finite(value) for value in bbox):
        return f"image id {image_id} has a box that is not four finite numbers: {short(bbox)}"
    if min(bbox[2:]) < 0 or (min(bbox[2:]) == 0 and not bounds.empty_boxes):
        return f"image id {image_id} has a box without positive size: {bbox!r}"
    low, high = bounds.scores
    if not _is_finite(score) or not low <= score <= high:
        return f"image id {image_id} has a score that is not within {low:,.0f} and {high:,.0f}: {short(score)}"
    return None


def _known(ids: set[int]) -> str:
    """From where to where the known ones go, and how many there are, since there may be others between."""
    return f"; these are {len(ids):,}, from {min(ids)} to {max(ids)}"


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LIMIT


def _concatenate(parts: list[DetectionRows]) -> DetectionRows:
    nothing = np.zeros(0, dtype=np.int64)
    return DetectionRows(
        image_id=np.concatenate([nothing, *(part.image_id for part in parts)]),
        category_id=np.concatenate([nothing, *(part.category_id for part in parts)]),
        bbox=np.concatenate([np.zeros((0, 4)), *(part.bbox for part in parts)]),
        score=np.concatenate([np.zeros(0), *(part.score for part in parts)]),
    )
