"""Predictions → detections: threshold, the best of each level, class-wise suppression, the best of all.

Score: the class probability p, or √(p · quality) when an extra scales scores; the root keeps the scale of a
probability and changes no order. By default the threshold acts on p, everything after it on the score; published
detectors differ in that, and the rule says how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import nms

from assignbench.core import Extra, Predictions, Priors

# the class output alone; the class probability, implicit objectness included; the final score
Measure = Literal["output", "class", "score"]


@dataclass(frozen=True)
class PostprocessRule:
    """The numbers of post-processing."""

    score: Literal["root", "product"] = "root"  # √(p · quality) or p · quality
    score_threshold: float = 0.05  # strict: it must be exceeded
    threshold_on: Measure = "class"
    candidates: int = 1000  # pairs of location and class kept per level and image before suppression
    rank_by: Measure = "score"
    candidates_per_location: bool = False  # of a level, at most as many as it has locations
    nms: float = 0.6  # IoU above which the weaker of two boxes of a class goes
    detections: int = 100  # kept per image


@dataclass(frozen=True)
class ImageDetections:
    """What was found in one image, best first."""

    boxes: Tensor  # [detection, 4], pixels of the network input, clipped to the image
    scores: Tensor  # [detection]
    labels: Tensor  # [detection]


@torch.no_grad()
def detect(
    predictions: Predictions, priors: Priors, sizes: Tensor, extras: tuple[Extra, ...], rule: PostprocessRule
) -> list[ImageDetections]:
    """Detections of each image of a batch.

    Args:
        predictions: of the batch.
        priors: of the batch; their level bounds the candidates.
        sizes: height and width of each image without padding, ``[image, 2]``.
        extras: those in use; which of them scale the score.
        rule: numbers.
    """
    score = probability = predictions.logits.sigmoid()
    quality = [predictions.extras[extra.name].sigmoid() for extra in extras if extra.scales_score]
    for factor in quality:
        score = score * factor[..., None]
    if quality and rule.score == "root":
        score = score.sqrt()
    alone = probability if predictions.joined is None else predictions.outputs.sigmoid()
    measures = {"output": alone, "class": probability, "score": score}
    passed = measures[rule.threshold_on] > rule.score_threshold
    image, location, label = best_of_levels(measures[rule.rank_by].where(passed, -1), priors, rule)
    kept_score = score[image, location, label]
    kept_boxes = clip(predictions.boxes, sizes)[image, location]

    # Classes are kept apart by shifting each one's boxes beyond all others; float64, so that the shift costs
    # no precision. One call per image: suppression compares every pair of boxes it is given.
    span = float(max(sizes.max().item(), 1)) + 1
    shifted = kept_boxes.double() + (label * span)[:, None]
    sized = (kept_boxes[:, 2:] > kept_boxes[:, :2]).all(-1)
    found = []
    for index in range(predictions.images):
        mine = (sized & (image == index)).nonzero()[:, 0]
        mine = mine[nms(shifted[mine], kept_score[mine].double(), rule.nms)][: rule.detections]
        found.append(ImageDetections(kept_boxes[mine], kept_score[mine], label[mine]))
    return found


def best_of_levels(measure: Tensor, priors: Priors, rule: PostprocessRule) -> tuple[Tensor, Tensor, Tensor]:
    """The best entries of each level and image that are not negative: image, location and label, ``[entry]`` each."""
    images, _, classes = measure.shape
    found = []
    start = 0
    for length in torch.unique_consecutive(priors.level, return_counts=True)[1].tolist():
        flat = measure[:, start : start + length].reshape(images, -1)
        count = min(rule.candidates, length if rule.candidates_per_location else flat.shape[1])
        top, index = flat.topk(count, dim=1)
        image, rank = (top >= 0).nonzero(as_tuple=True)
        index = index[image, rank]
        found.append((image, start + index // classes, index % classes))
        start += length
    image, location, label = (torch.cat(parts) for parts in zip(*found, strict=True))
    return image, location, label


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes cut at the border of their image: ``[image, location, 4]``."""
    limit = sizes.flip(-1).to(boxes.dtype).repeat(1, 2)[:, None]  # width, height, width, height
    return torch.minimum(boxes.clamp(min=0), limit)
