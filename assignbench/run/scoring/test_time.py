"""Test-time augmentation: the pictures of a batch in all views of a bag, one view after the other, then merged.

All views of a picture are compared in the pixels of its first and largest one, which so stay as they are: a bag of one
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

from assignbench.data.batch import Batch, padded
from assignbench.data.dataset import Dataset
from assignbench.data.transforms import View
from assignbench.detector.postprocess import ImageDetections
from assignbench.detector.vote import merge
from assignbench.files import sha256_of, write_json_atomic
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.scoring.evaluate import Evaluation
from assignbench.run.scoring.views import Bag, Look

Found = tuple[tuple[int, ...], Tensor, list[ImageDetections]]  # indices of images, scales of their pixels, detections


def merged_views(
    batches: Iterator[Batch], bag: Bag, detect: Callable[[Batch], list[ImageDetections]]
) -> Iterator[Found]:
    """Detections of each group of pictures, in pixels of its first view.

    Of views, only detections are kept, and only those of the group at hand.

    Args:
        batches: of `assignbench.data.streams.view_batches`, for the views of the bag in its order.
        bag: views and rule.
        detect: what is found in a batch before the merge, in pixels of its network input.
    """
    last = len(bag.looks) - 1
    scales = frame = torch.empty(0)
    parts: list[list[ImageDetections]] = []
    for number, batch in enumerate(batches):
        turn = number % len(bag.looks)
        if turn == 0:  # of its pictures nothing is kept: they are the largest
            scales, frame, parts = batch.scales, batch.sizes, [[] for _ in batch.indices]
        for part, found in zip(parts, placed(batch, bag.looks[turn], frame, detect(batch)), strict=True):
            part.append(found)
        if turn == last:
            yield batch.indices, scales, [merge(part, bag.merge) for part in parts]


def placed(batch: Batch, look: Look, frame: Tensor, found: list[ImageDetections]) -> Iterator[ImageDetections]:
    """What a view found of the sizes that count in it, mirrored back, in pixels of the frame.

    Args:
        batch: in this view.
        look: the view and the sizes that count.
        frame: height and width of each picture in the frame, ``[image, 2]``.
        found: in pixels of the batch.
    """
    for (height, width), (frame_height, frame_width), scale, one in zip(
        batch.sizes.tolist(), frame.tolist(), batch.scales, found, strict=True
    ):
        boxes = one.boxes.double()
        if look.view.mirrored:  # about the middle of the picture: padding lies right of it either way
            x0, y0, x1, y1 = boxes.unbind(1)
            boxes = torch.stack((width - x1, y0, width - x0, y1), dim=1)
        size = ((boxes[:, 2:] - boxes[:, :2]) / scale).prod(1).sqrt()
        counts = (size >= look.least) & (size < (math.inf if look.below is None else look.below))
        ratio = boxes.new_tensor([frame_width / width, frame_height / height]).repeat(2)
        boxes = (boxes * ratio).to(one.boxes.dtype)
        counts &= (boxes[:, 2:] > boxes[:, :2]).all(1)  # a box much thinner than a pixel may have been rounded to none
        yield ImageDetections(boxes[counts], one.scores[counts], one.labels[counts])


def pictures_at_once(bag: Bag, data: DataSettings, settings: EvaluateSettings) -> int:
    """`evaluate.batch`, or fewer where the bag's largest view has more pixels than plain evaluation."""
    largest = max(look.view.short_side * look.view.long_side for look in bag.looks)
    return max(1, min(settings.batch, settings.batch * math.prod(data.test_sides) // largest))


def cost(bag: Bag, dataset: Dataset, data: DataSettings) -> str:
    """What a number with this bag costs, in words."""
    sizes, count = np.unique(dataset.sizes, axis=0, return_counts=True)
    plain = View(*data.test_sides)
    pixels = [
        sum(
            times * math.prod(padded([view.geometry(*size)])) for size, times in zip(sizes.tolist(), count, strict=True)
        )
        for view in (plain, *(look.view for look in bag.looks))
    ]
    passes = len(bag.looks)
    share = f", {sum(pixels[1:]) / pixels[0]:.1f} times the pixels of plain evaluation" if pixels[0] else ""
    return f"{passes} forward {'pass' if passes == 1 else 'passes'} a picture{share}"


def stamped(file: Path, bag: Bag | None) -> Path:
    """The name of a detections file with the bag's name and digest: ``a.json`` → ``a.tta-flip-1a2b3c4d.json``."""
    return file if bag is None else file.with_name(f"{file.stem}.tta-{bag.label}{file.suffix}")


def write_bag(bag: Bag | None, file: Path, weights_sha256: str) -> None:
    """Beside a detections file, in ``….bag.json``: what the bag holds, by which weights and which file it made.

    Nothing without a bag.

    Raises:
        SystemProblem: it cannot be written.
    """
    if bag is not None:
        digests = {"weights_sha256": weights_sha256, "detections_sha256": sha256_of(file)}
        content = {"name": bag.name, "digest": bag.digest, **bag.content, **digests}
        write_json_atomic(file.with_suffix(".bag.json"), content)


def said(evaluation: Evaluation, bag: Bag | None) -> Evaluation:
    """An evaluation that says which bag its numbers come from."""
    if bag is None:
        return evaluation
    note = f"with test-time augmentation {bag.label}: not to be held against numbers of a single scale"
    return replace(evaluation, tta=bag.label, notes=(note, *evaluation.notes))
