"""AP of a written detections file: a gate, and behind it pycocotools or what equals it.

pycocotools is the evaluator of record, and it answers odd input with a wrong number instead of an error: an
annotation id 0 or a repeated one counts as missed, unknown images and classes vanish, an empty list of
detections crashes it, and −1 stands for "no ground truth". The gate renumbers annotations, refuses what is
inconsistent and turns −1 into None. The reported number always comes from the file as it lies on the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assignbench.data.dataset import Dataset
from assignbench.errors import DataError
from assignbench.run.scoring.detections import DetectionRows, Detections, read_detections, write_detections
from assignbench.run.scoring.evaluators import METRICS, Evaluator, score
from assignbench.run.scoring.remarks import on_data, on_detections, on_pictures
from assignbench.run.scoring.voc import mean, voc_metrics
from assignbench.run.scoring.widerface import read_lists, widerface_metrics

__all__ = ["METRICS", "Detections", "Evaluation", "check_dataset", "evaluate", "write_detections"]


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one detections file; fractions in [0, 1], None where there is no ground truth."""

    metrics: Mapping[str, float | None]  # METRICS, then the data set's own → value
    per_class: Mapping[str, float | None]  # class name → AP, every class of the data set
    detections: int  # entries of the file
    evaluator: str  # what made the numbers, with its version
    notes: tuple[str, ...]  # what a reader of the numbers has to know
    # own metric of the data set → class → value; {}: it has none that is stated by class
    official_per_class: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    tta: str | None = None  # name and digest of the views of test-time augmentation; None: one look at every picture

    def __post_init__(self) -> None:
        official = (pair for values in self.official_per_class.values() for pair in values.items())
        for name, value in (*self.metrics.items(), *self.per_class.items(), *official):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} = {value} is not a fraction")


def evaluate(dataset: Dataset, file: Path, evaluator: Evaluator = "pycocotools") -> Evaluation:
    """Score a detections file against a data set.

    Crowd regions are ignored as in COCO: a detection in one is neither right nor wrong. VOC and WIDER FACE get their
    own metrics, too, by their own rules.

    Raises:
        RunError: the file is missing, damaged or belongs to another data set, or evaluators disagree on it.
        SystemProblem: the evaluator is not installed.
        DataError: the data set contradicts itself (repeated ids, orphans, impossible boxes).
    """
    _check(dataset)
    rows = read_detections(dataset, file)
    notes = (*on_pictures(dataset, rows), *on_data(dataset), *on_detections(rows))
    return evaluate_rows(dataset, rows, str(file), notes, evaluator)


def evaluate_rows(
    dataset: Dataset, rows: DetectionRows, where: str, notes: Sequence[str], evaluator: Evaluator = "pycocotools"
) -> Evaluation:
    """Score what a detections file holds.

    Args:
        dataset: what the file is of.
        rows: as a reader of such files gives them.
        where: name of the file, for messages.
        notes: what a reader of the numbers has to know of the rows.
        evaluator: which of the two.

    Raises:
        As `evaluate`.
    """
    truth = _ground_truth(dataset)
    scores, who = score(evaluator, truth, _results(truth, rows), where)
    column = {category: index for index, category in enumerate(sorted(dataset.category_ids))}
    per_class = {
        name: _mean_of_measured(scores.precision[:, :, column[category], 0, -1])
        for name, category in zip(dataset.classes, dataset.category_ids, strict=True)
    }
    metrics = {name: None if value < 0 else float(value) for name, value in zip(METRICS, scores.stats, strict=True)}
    official, official_per_class, remarks = _official(dataset, rows)
    return Evaluation(
        metrics={**metrics, **official},
        per_class=per_class,
        detections=len(rows),
        evaluator=who,
        notes=(
            *([] if evaluator == "pycocotools" else [f"scored by {who}"]),
            *notes,
            *remarks,
        ),
        official_per_class=official_per_class,
    )


def check_dataset(dataset: Dataset) -> None:
    """Refuse a data set that cannot be scored; to be asked before training, not hours later.

    Raises:
        DataError: as `evaluate`.
    """
    _check(dataset)
    if dataset.official is not None and dataset.official.protocol == "widerface":
        read_lists(dataset)


def _official(
    dataset: Dataset, rows: DetectionRows
) -> tuple[Mapping[str, float | None], Mapping[str, Mapping[str, float | None]], tuple[str, ...]]:
    """What the data set's own protocol says: its metrics, those stated by class, and notes."""
    if dataset.official is None:
        return {}, {}, ()
    if dataset.official.protocol == "voc":
        by_class = voc_metrics(dataset, rows)
        return {name: mean(values) for name, values in by_class.items()}, by_class, ()
    metrics, notes = widerface_metrics(dataset, rows)
    return metrics, {}, notes


def _ground_truth(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """The data set as a COCO document: original image and category ids, annotations numbered from 1."""
    _check(dataset)
    image_ids = [image.id for image in dataset.images]
    annotations = [
        {
            "id": number,
            "image_id": image_ids[image],
            "category_id": dataset.category_ids[label],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": area,
            "iscrowd": int(crowd),
        }
        for number, (image, label, (x0, y0, x1, y1), area, crowd) in enumerate(
            zip(
                dataset.image.tolist(),
                dataset.labels.tolist(),
                dataset.boxes.tolist(),
                dataset.area.tolist(),
                dataset.crowd.tolist(),
                strict=True,
            ),
            start=1,
        )
    ]
    return {
        "images": [{"id": image_id} for image_id in image_ids],
        "categories": [{"id": category} for category in dataset.category_ids],
        "annotations": annotations,
    }


def _check(dataset: Dataset) -> None:
    _check_ids(dataset)
    _check_objects(dataset)


def _check_ids(dataset: Dataset) -> None:
    named = {
        "image id": [image.id for image in dataset.images],
        "category id": list(dataset.category_ids),
        "annotation id": dataset.annotation_ids.tolist(),
    }
    for kind, ids in named.items():
        if odd := [each for each in ids if type(each) is not int or abs(each) >= 2**63]:
            raise DataError(f"{dataset.name}: {kind} {odd[0]!r} is not an integer of 64 bits")
    for kind, values in {**named, "class": list(dataset.classes)}.items():
        if repeated := [value for value, count in Counter(values).items() if count > 1]:
            raise DataError(f"{dataset.name}: {kind} {repeated[0]} occurs more than once; ids and names must be unique")
    if len(dataset.classes) != len(dataset.category_ids):
        raise DataError(f"{dataset.name}: {len(dataset.classes)} classes, but {len(dataset.category_ids)} category ids")


def _check_objects(dataset: Dataset) -> None:
    """Refuse objects that pycocotools would drop or count as missed without a word."""
    columns = (dataset.boxes, dataset.labels, dataset.image, dataset.area, dataset.crowd)
    count = len(dataset.annotation_ids)
    if any(len(column) != count for column in columns) or dataset.boxes.shape != (count, 4):
        raise DataError(f"{dataset.name}: the lists of boxes, labels, images, areas and crowds differ in length")
    size = dataset.boxes[:, 2:] - dataset.boxes[:, :2]
    checks = (
        ((dataset.image < 0) | (dataset.image >= len(dataset.images)), "belongs to no image"),
        ((dataset.labels < 0) | (dataset.labels >= len(dataset.classes)), "belongs to no class"),
        (~np.isfinite(dataset.boxes).all(axis=1), "has a coordinate that is not finite"),
        (~(size > 0).all(axis=1), "has a box without positive size"),
        (~(np.isfinite(dataset.area) & (dataset.area >= 0)), "has an impossible area"),
    )
    for bad, problem in checks:
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            index = int(dataset.image[first])
            where = f" of image id {dataset.images[index].id}" if 0 <= index < len(dataset.images) else ""
            raise DataError(f"{dataset.name}: annotation id {dataset.annotation_ids[first]}{where} {problem}")


def _results(truth: dict[str, list[dict[str, Any]]], rows: DetectionRows) -> dict[str, list[dict[str, Any]]]:
    """What `COCO.loadRes` would build of the rows."""
    columns = zip(
        rows.image_id.tolist(),
        rows.category_id.tolist(),
        rows.bbox.tolist(),
        rows.score.tolist(),
        strict=True,
    )
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": bbox,
            "score": score,
            "area": bbox[2] * bbox[3],
            "iscrowd": 0,
        }
        for number, (image_id, category_id, bbox, score) in enumerate(columns, start=1)
    ]
    return {**truth, "annotations": annotations}


def _mean_of_measured(precision: np.ndarray) -> float | None:
    measured = precision[precision > -1]
    return float(measured.mean()) if measured.size else None
