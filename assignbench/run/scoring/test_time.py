"""Test-time augmentation: the pictures of a batch in all views of a set, one view after the other, then merged.

All views of a picture are compared in the pixels of its first and largest one, which so stay as they are: a set of one
view that is not mirrored, of any size and with rule nms gives, bit for bit, what plain evaluation gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from assignbench.data.dataset import Dataset
from assignbench.data.load.batch import Batch, padded
from assignbench.data.load.transforms import View
from assignbench.detector.postprocess import ImageDetections
from assignbench.detector.vote import merge
from assignbench.files import sha256_of, write_json_atomic
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.scoring.evaluate import Evaluation
from assignbench.run.scoring.views import SizedView, ViewSet

Found = tuple[tuple[int, ...], Tensor, list[ImageDetections]]  # indices of images, scales of their pixels, detections


def merged_views(
    batches: Iterator[Batch], view_set: ViewSet, detect: Callable[[Batch], list[ImageDetections]]
) -> Iterator[Found]:
    """Detections of each group of pictures, in pixels of its first view.

    Of views, only detections are kept, and only those of the group at hand.

    Args:
        batches: of `assignbench.data.load.streams.view_batches`, for the views of the set in its order.
        view_set: views and rule.
        detect: what is found in a batch before the merge, in pixels of its network input.
    """
    last = len(view_set.views) - 1
    scales = frame = torch.empty(0)
    parts: list[list[ImageDetections]] = []
    for number, batch in enumerate(batches):
        place = number % len(view_set.views)
        if place == 0:  # of its pictures nothing is kept: they are the largest
            scales, frame, parts = batch.scales, batch.sizes, [[] for _ in batch.indices]
        for part, found in zip(parts, placed(batch, view_set.views[place], frame, detect(batch)), strict=True):
            part.append(found)
        if place == last:
            yield batch.indices, scales, [merge(part, view_set.merge) for part in parts]


def placed(batch: Batch, sized: SizedView, frame: Tensor, found: list[ImageDetections]) -> Iterator[ImageDetections]:
    """What a view found of the sizes that count in it, mirrored back, in pixels of the frame.

    Args:
        batch: in this view.
        sized: the view and the sizes that count.
        frame: height and width of each picture in the frame, ``[image, 2]``.
        found: in pixels of the batch.
    """
    for (height, width), (frame_height, frame_width), scale, one in zip(
        batch.sizes.tolist(), frame.tolist(), batch.scales, found, strict=True
    ):
        boxes = one.boxes.double()
        if sized.view.mirrored:  # about the middle of the picture: padding lies right of it either way
            x0, y0, x1, y1 = boxes.unbind(1)
            boxes = torch.stack((width - x1, y0, width - x0, y1), dim=1)
        size = ((boxes[:, 2:] - boxes[:, :2]) / scale).prod(1).sqrt()
        counts = (size >= sized.least) & (size < (math.inf if sized.below is None else sized.below))
        ratio = boxes.new_tensor([frame_width / width, frame_height / height]).repeat(2)
        boxes = (boxes * ratio).to(one.boxes.dtype)
        counts &= (boxes[:, 2:] > boxes[:, :2]).all(1)  # a box much thinner than a pixel may have been rounded to none
        yield ImageDetections(boxes[counts], one.scores[counts], one.labels[counts])


def pictures_at_once(view_set: ViewSet, data: DataSettings, settings: EvaluateSettings) -> int:
    """`evaluate.batch`, or fewer where the set's largest view has more pixels than plain evaluation."""
    largest = max(sized.view.short_side * sized.view.long_side for sized in view_set.views)
    return max(1, min(settings.batch, settings.batch * math.prod(data.test_sides) // largest))


def cost(view_set: ViewSet, dataset: Dataset, data: DataSettings) -> str:
    """What a number with these views costs, in words."""
    sizes, count = np.unique(dataset.sizes, axis=0, return_counts=True)
    plain = View(*data.test_sides)
    pixels = [
        sum(
            times * math.prod(padded([view.geometry(*size)])) for size, times in zip(sizes.tolist(), count, strict=True)
        )
        for view in (plain, *(sized.view for sized in view_set.views))
    ]
    passes = len(view_set.views)
    more = f", {sum(pixels[1:]) / pixels[0]:.1f} times the pixels of plain evaluation" if pixels[0] else ""
    return f"{passes} forward {'pass' if passes == 1 else 'passes'} a picture{more}"


def with_views_in_name(file: Path, view_set: ViewSet | None) -> Path:
    """The name of a detections file with the set's name and digest: ``a.json`` → ``a.tta-flip-1a2b3c4d.json``."""
    return file if view_set is None else file.with_name(f"{file.stem}.tta-{view_set.label}{file.suffix}")


def write_views(view_set: ViewSet | None, file: Path, weights_sha256: str) -> None:
    """Beside a detections file, in ``….views.json``: what the set holds, by which weights and which file it made.

    Nothing without a set.

    Raises:
        SystemProblem: it cannot be written.
    """
    if view_set is not None:
        digests = {"weights_sha256": weights_sha256, "detections_sha256": sha256_of(file)}
        content = {"name": view_set.name, "digest": view_set.digest, **view_set.content, **digests}
        write_json_atomic(file.with_suffix(".views.json"), content)


def with_views_noted(evaluation: Evaluation, view_set: ViewSet | None) -> Evaluation:
    """An evaluation that says which set of views its numbers come from."""
    if view_set is None:
        return evaluation
    note = f"with test-time augmentation {view_set.label}: do not compare it with numbers of a single scale"
    return replace(evaluation, tta=view_set.label, notes=(note, *evaluation.notes))
