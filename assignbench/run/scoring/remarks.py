"""What a reader of the numbers of a detections file has to know: of its pictures, of its data, of its detections."""

from __future__ import annotations

from collections import Counter

import numpy as np

from assignbench.data.dataset import Dataset
from assignbench.run.scoring.detections import DetectionRows
from assignbench.run.scoring.matches import AREAS, CAP

SHOWN = 5  # class names in a note


def on_pictures(dataset: Dataset, rows: DetectionRows) -> list[str]:
    """How many pictures have no detection."""
    silent = len(dataset.images) - len(np.unique(rows.image_id))
    return [f"{silent} of {len(dataset.images)} images have no detection"] if silent else []


def on_data(dataset: Dataset) -> list[str]:
    """Which classes have no objects, and where there are more objects than detections may count."""
    notes = []
    required = ~dataset.crowd & (dataset.area <= AREAS["all"][1])
    counts = np.bincount(dataset.labels[required], minlength=len(dataset.classes))
    if absent := [name for name, count in zip(dataset.classes, counts, strict=True) if not count]:
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        notes.append(f"no ground truth, so not in any mean: {', '.join(absent[:SHOWN])}{more}")
    objects = Counter(zip(dataset.image[~dataset.crowd].tolist(), dataset.labels[~dataset.crowd].tolist(), strict=True))
    if dense := sum(count > CAP for count in objects.values()):
        notes.append(f"{dense} times an image holds more than {CAP} objects of a class: COCO's AP cannot reach 1 there")
    return notes


def on_detections(rows: DetectionRows) -> list[str]:
    """How many detections do not count, and how many are there twice.

    Args:
        rows: in canonical order.
    """
    notes = []
    group = np.cumsum(_changes(rows.image_id, rows.category_id))  # rows stand by image and category
    if beyond := int(np.maximum(np.bincount(group) - CAP, 0).sum()):
        notes.append(f"{beyond} detections beyond the {CAP} best of their image and class do not count")
    order = np.lexsort((*rows.bbox.T, group))
    if copies := int((~_changes(group[order], *rows.bbox[order].T)).sum()):
        notes.append(f"{copies} detections repeat a box of the same image and class")
    return notes


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Where a row differs from the one before; the first does."""
    differ = np.ones(len(columns[0]), dtype=bool)
    differ[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return differ
