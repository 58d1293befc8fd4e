"""Predictions → detections: threshold, the best of each level, class-wise suppression, the best of all.

Score: the class probability p, or √(p · quality) when an extra scales scores; the root keeps the scale of a
probability and changes no order. The threshold acts on p, everything after it on the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from assignbench.core import Extra, Predictions, Priors


@dataclass(frozen=True)
class PostprocessRule:
    """The numbers of post-processing."""

    score_threshold: float = 0.05  # strict: p must exceed it
    candidates: int = 1000  # pairs of location and class kept per level and image before suppression
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
    probability = predictions.logits.sigmoid()
    score = probability
    for extra in extras:
        if extra.scales_score:
            score = (score * predictions.extras[extra.name].sigmoid()[..., None]).sqrt()
    score = score.where(probability > rule.score_threshold, 0)
    boxes = clip(predictions.boxes, sizes)
    score = score * ((boxes[..., 2:] > boxes[..., :2]).all(-1))[..., None]

    image, location, label, kept_score = level_candidates(score, priors, rule.candidates)
    kept_boxes = boxes[image, location]
    # Classes are kept apart by shifting each one's boxes beyond all others; float64, so that the shift costs
    # no precision. One call per image: suppression compares every pair of boxes it is given.
    span = float(max(sizes.max().item(), 1)) + 1
    shifted = kept_boxes.double() + (label * span)[:, None]
    found = []
    for index in range(predictions.images):
        mine = (image == index).nonzero()[:, 0]
        mine = mine[nms(shifted[mine], kept_score[mine].double(), rule.nms)][: rule.detections]
        found.append(ImageDetections(kept_boxes[mine], kept_score[mine], label[mine]))
    return found


def level_candidates(score: Tensor, priors: Priors, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best entries above 0 of each level and image: image, location, label and score, ``[entry]`` each."""
    images, _, classes = score.shape
    found = []
    start = 0
    for length in torch.unique_consecutive(priors.level, return_counts=True)[1].tolist():
        flat = score[:, start : start + length].reshape(images, -1)
        top, index = flat.topk(min(count, flat.shape[1]), dim=1)
        image, rank = (top > 0).nonzero(as_tuple=True)
        index = index[image, rank]
        found.append((image, start + index // classes, index % classes, top[image, rank]))
        start += length
    image, location, label, kept = (torch.cat(parts) for parts in zip(*found, strict=True))
    return image, location, label, kept


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes cut at the border of their image: ``[image, location, 4]``."""
    limit = sizes.flip(-1).to(boxes.dtype).repeat(1, 2)[:, None]  # width, height, width, height
    return torch.minimum(boxes.clamp(min=0), limit)
