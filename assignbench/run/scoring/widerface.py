"""WIDER FACE's own AP for its easy, medium and hard faces, as the publisher's evaluation tools define it.

Which faces belong to a difficulty stands in files that the publisher gives with those tools: pictures, all their
faces, and the numbers of the faces that count. The other faces are neither required nor an error. A detection
belongs to the face that it overlaps most; boxes are a pixel wider and higher than their corners say. Scores are
stretched to 0 … 1 over the whole set, and precision and recall are taken at 1,000 thresholds: AP is the area under
the envelope through them. Pictures without any face do not count, whatever was detected there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset
from assignbench.errors import DataError
from assignbench.run.scoring.detections import DetectionRows
from assignbench.run.scoring.matching import envelope, judge

METRICS = {"WIDER-easy": "easy", "WIDER-medium": "medium", "WIDER-hard": "hard"}

THRESHOLDS = 1 - np.arange(1, 1001) / 1000  # 0.999 … 0
MARGIN = 1.0  # pixels


@dataclass(frozen=True)
class Faces:
    """One difficulty: every face of the pictures, and which of them count."""

    boxes: NDArray[np.float64]  # [face, 4] x0 y0 x1 y1
    image: NDArray[np.int64]  # [face] index into Dataset.images, ascending
    counts: NDArray[np.bool_]  # [face]
    required: int  # entries of the lists


def file_of(folder: Path, difficulty: str) -> Path:
    """The publisher's file."""
    return folder / f"wider_{difficulty}_val.mat"


def widerface_metrics(dataset: Dataset, rows: DetectionRows) -> tuple[dict[str, float | None], tuple[str, ...]]:
    """AP of each difficulty, fractions, None without a face that counts; and what is to be said of them.

    Without the publisher's files, or when they are of other pictures, there are no numbers, and a note says why.

    Raises:
        DataError: a file is damaged.
    """
    found, reason = read_lists(dataset)
    if found is None:
        return {}, (f"no easy, medium and hard AP: {reason}",)
    return {name: average_precision(dataset, rows, found[difficulty]) for name, difficulty in METRICS.items()}, ()


def read_lists(dataset: Dataset) -> tuple[dict[str, Faces] | None, str]:
    """Difficulty → faces; or None, and the reason.

    Raises:
        DataError: a file is damaged.
    """
    folder = None if dataset.official is None else dataset.official.lists
    if folder is None:
        return None, "the data set's YAML file names no folder of them (lists)"
    files = {difficulty: file_of(folder, difficulty) for difficulty in METRICS.values()}
    if absent := [str(file) for file in files.values() if not file.is_file()]:
        return None, f"{', '.join(absent)} are missing; they come in the publisher's eval_tools.zip"
    names = {f"{image.path.parent.name}/{image.path.stem}": index for index, image in enumerate(dataset.images)}
    found = {}
    for difficulty, file in files.items():
        listed = {name: (boxes, chosen) for name, boxes, chosen in _pictures(file)}
        if listed.keys() != names.keys():
            alone = sorted(listed.keys() ^ names.keys())
            return None, f"{file} and {dataset.name} differ in {len(alone)} pictures, first {alone[0]}"
        found[difficulty] = _faces(listed, names)
    return found, ""


def average_precision(dataset: Dataset, rows: DetectionRows, faces: Faces) -> float | None:
    """AP of one difficulty; None: no face counts."""
    if not faces.required:
        return None
    if not len(rows):
        return 0.0
    numbers = {image.id: index for index, image in enumerate(dataset.images)}
    image = np.array([numbers[each] for each in rows.image_id.tolist()], dtype=np.int64)
    spread = np.ptp(rows.score)
    score = (rows.score - rows.score.min()) / spread if spread > 0 else np.ones(len(rows))
    by_score = np.argsort(-score, kind="stable")
    by_score = by_score[np.isin(image[by_score], faces.image)]
    bbox = rows.bbox[by_score]
    corners = np.hstack([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]])
    verdict = judge(corners, image[by_score], faces.boxes, faces.image, ~faces.counts, MARGIN)

    reached = np.searchsorted(-THRESHOLDS, -score[by_score], side="left")  # the first threshold that lets it in
    right, counted = (
        np.cumsum(np.bincount(reached[some], minlength=len(THRESHOLDS))) for some in (verdict.right, verdict.counted)
    )
    precision = right / np.maximum(counted, 1)
    return float((np.diff(right, prepend=0) * envelope(precision)).sum() / faces.required)


def _faces(listed: dict[str, tuple[NDArray, NDArray]], names: dict[str, int]) -> Faces:
    boxes, image, counts, required = [], [], [], 0
    for name, index in sorted(names.items(), key=lambda item: item[1]):
        own, chosen = listed[name]
        boxes.append(np.hstack([own[:, :2], own[:, :2] + own[:, 2:]]))
        image.append(np.full(len(own), index))
        counts.append(np.isin(np.arange(1, len(own) + 1), chosen))
        required += len(chosen)
    return Faces(np.concatenate(boxes), np.concatenate(image), np.concatenate(counts), required)


def _pictures(file: Path) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.int64]]]:
    """Of each picture its name ("EVENT/NAME"), its faces (x y width height) and the numbers of those that count."""
    import warnings

    from scipy.io import loadmat

    try:
        with warnings.catch_warnings(action="ignore"):  # of a damaged file; it is explained below
            content = loadmat(file, variable_names=("event_list", "file_list", "face_bbx_list", "gt_list"))
        events = [_text(event) for event in _cells(content["event_list"])]
        columns = [[_cells(cell) for cell in _cells(content[key])] for key in ("file_list", "face_bbx_list", "gt_list")]
        for event, *pictures in zip(events, *columns, strict=True):
            for name, faces, numbers in zip(*pictures, strict=True):
                boxes = np.asarray(faces, dtype=np.float64).reshape(-1, 4)
                chosen = np.asarray(numbers, dtype=np.int64).reshape(-1)
                if not np.isfinite(boxes).all() or not np.isin(chosen, np.arange(1, len(boxes) + 1)).all():
                    raise ValueError(f"the faces of {_text(name)} are impossible")
                yield f"{event}/{_text(name)}", boxes, chosen
    except Exception as error:  # scipy's reader fails in many ways, and none is ours
        raise DataError(f"{file} cannot be read: {error!s:.200}; take it from eval_tools.zip again") from error


def _cells(array: Any) -> list[Any]:
    """What the cells of one of MATLAB's cell arrays hold."""
    if not isinstance(array, np.ndarray) or array.dtype != object:
        raise ValueError("a cell array is expected")
    return array.reshape(-1).tolist()


def _text(array: Any) -> str:
    values = np.asarray(array).reshape(-1)
    if values.dtype.kind != "U" or len(values) != 1:
        raise ValueError("a name is expected")
    return str(values[0])
