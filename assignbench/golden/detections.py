"""Replay of post-processing: from raw head outputs to detections in original pixels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from assignbench.core import Assigner, Setting
from assignbench.detector.postprocess import PostprocessRule, detect
from assignbench.errors import DataError
from assignbench.golden.checks import BOX, SCORE, Check, Quantity, worst
from assignbench.golden.reference import Origin
from assignbench.golden.vectors import Tensors, predictions_from, priors_in_use, priors_of
from assignbench.plugins import construct
from assignbench.run.matrix.protocol import Protocol


@torch.no_grad()
def replay_detections(
    file: Tensors,
    cls: type[Assigner],
    options: Mapping[str, Any],
    protocol: Protocol,
    rule: PostprocessRule,
    origin: Origin,
) -> Iterator[Check]:
    """Detections of every image: how many differ, and how far the others are."""
    classes = int(file.setting("num_classes"))
    head = protocol.head(construct(cls, options, Setting(classes=classes)).head)
    priors = priors_in_use(file.tensors, head, priors_of(file, head), origin)
    predictions = predictions_from(file.tensors, head, priors, classes, file, origin)
    try:
        metas = json.loads(file.setting("metas"))
        sizes = torch.tensor([meta["img_shape"][:2] for meta in metas], device=predictions.boxes.device)
        scales = [meta["scale_factor"] for meta in metas]  # x, y: network pixels for one original pixel
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file.path}: its metas cannot be read: {error}") from error
    found = detect(predictions, priors, sizes, head.extras, rule)

    missed, boxes, scores = [], [], []
    for image, (one, scale) in enumerate(zip(found, scales, strict=True)):
        ours = one.boxes / one.boxes.new_tensor(scale).repeat(2)
        golden = [file[f"det_{name}.{image}"] for name in ("boxes", "scores", "labels")]
        match = matches(ours, one.scores, one.labels, golden[0], golden[1], golden[2])
        lost = int((match < 0).sum()) + len(ours) - len(match.unique()) + int((match < 0).any())
        missed.append(Quantity(f"image {image}", float(lost)))
        kept = match >= 0
        if bool(kept.any()):
            boxes.append(Quantity(f"image {image}", float((ours[match[kept]] - golden[0][kept]).abs().max())))
            scores.append(Quantity(f"image {image}", float((one.scores[match[kept]] - golden[1][kept]).abs().max())))
    yield from worst("detections", missed, 0.0)
    yield from worst("boxes", boxes, BOX)
    yield from worst("scores", scores, SCORE)


def matches(
    boxes: Tensor, scores: Tensor, labels: Tensor, golden_boxes: Tensor, golden_scores: Tensor, golden_labels: Tensor
) -> Tensor:
    """For every golden detection ours that is the same, each used once; −1 where there is none.

    By value, not by place: equal scores may stand in either order.
    """
    free = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    found = torch.full((len(golden_boxes),), -1, device=boxes.device)
    for index in range(len(golden_boxes)):
        distance = (boxes - golden_boxes[index]).abs().amax(-1)
        same = free & (labels == golden_labels[index]) & ((scores - golden_scores[index]).abs() <= SCORE)
        distance = distance.where(same & (distance <= BOX), math.inf)
        if len(distance) and bool(distance.isfinite().any()):
            best = int(distance.argmin())
            found[index], free[best] = best, False
    return found
