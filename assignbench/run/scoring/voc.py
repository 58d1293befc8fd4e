"""Pascal VOC's own AP at IoU 0.5: by eleven points (VOC 2007) and by the area under the envelope (since 2010).

As in the development kits, evaluation of the detection task. Difficult objects are neither required nor an error.
The kits count pixels, the last one included, so that a box is ``xmax − xmin + 1`` wide; the
boxes of a `Dataset` begin one pixel earlier, so theirs is ``x1 − x0``, and every overlap is the same number.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset
from assignbench.run.scoring.detections import DetectionRows
from assignbench.run.scoring.matching import envelope, judge

ELEVEN, AREA = "VOC07-AP50", "VOC10-AP50"

POINTS = np.arange(11)  # tenths of recall


def voc_metrics(dataset: Dataset, rows: DetectionRows) -> dict[str, dict[str, float | None]]:
    """AP of each class by either rule: metric → class → fraction, None without an object that is not difficult.

    Every detection of the file counts, however many an image has. Equal scores stand in the order of the file's
    canonical sorting.
    """
    classes = len(dataset.classes)
    numbers = {image.id: index for index, image in enumerate(dataset.images)}
    labels_of = {category: label for label, category in enumerate(dataset.category_ids)}
    image = np.array([numbers[each] for each in rows.image_id.tolist()], dtype=np.int64)
    labels = np.array([labels_of[each] for each in rows.category_id.tolist()], dtype=np.int64)
    by_score = np.argsort(-rows.score, kind="stable")
    image, labels, bbox = image[by_score], labels[by_score], rows.bbox[by_score]

    owners = dataset.image * classes + dataset.labels
    by_owner = np.argsort(owners, kind="stable")
    verdict = judge(
        np.hstack([bbox[:, :2], bbox[:, :2] + bbox[:, 2:]]),
        image * classes + labels,
        dataset.boxes[by_owner],
        owners[by_owner],
        dataset.crowd[by_owner],
    )
    objects = np.bincount(dataset.labels[~dataset.crowd], minlength=classes)
    found: dict[str, dict[str, float | None]] = {ELEVEN: {}, AREA: {}}
    for label, name in enumerate(dataset.classes):
        right = verdict.right[(labels == label) & verdict.counted]
        count = int(objects[label])
        found[ELEVEN][name] = eleven_points(right, count) if count else None
        found[AREA][name] = area(right, count) if count else None
    return found


def mean(values: Mapping[str, float | None]) -> float | None:
    """Over the classes that have objects; None: none has."""
    measured = [value for value in values.values() if value is not None]
    return sum(measured) / len(measured) if measured else None


def eleven_points(right: NDArray[np.bool_], objects: int) -> float:
    """Mean over recall 0, 0.1, …, 1 of the best precision at that recall or a higher one.

    Args:
        right: ``[detection]`` by falling score, without the ignored ones.
        objects: how many there are to find.
    """
    hits = np.cumsum(right)
    best = np.append(envelope(_precision(right)), 0.0)
    # in whole numbers: as a float the fourth point of 0 : 0.1 : 1 is a little more than 3 of 10
    first = np.searchsorted(10 * hits, POINTS * objects, side="left")
    return float(best[first].sum() / len(POINTS))


def area(right: NDArray[np.bool_], objects: int) -> float:
    """Area under the envelope of precision over recall; arguments as for `eleven_points`."""
    return float(envelope(_precision(right))[right].sum() / objects)


def _precision(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.cumsum(right) / np.arange(1, len(right) + 1)
