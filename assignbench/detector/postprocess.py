"""Predictions → detections: threshold, the best of each level, class-wise suppression, the best of all.

All images of a batch together, after one pass over the class outputs. Equal scores stand in the order of their
levels, then of their rank there; of one rank the lower location comes first, then the lower class.

Score: the class probability p, or √(p · quality) when an extra scales scores; the root keeps the scale of a
probability and changes no order. By default the threshold acts on p, everything after it on the score; published
detectors differ in that, and the rule says how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from assignbench.core import Extra, Predictions, Priors
from assignbench.core.fast.class_outputs import ROWS, join_logits
from assignbench.core.tensors import to_device
from assignbench.detector.score_voting import voted
from assignbench.detector.suppress import best_apart

# the class output alone; the class probability, implicit objectness included; the final score
Measure = Literal["output", "class", "score"]


@dataclass(frozen=True)
class PostprocessRule:
    """The numbers of post-processing."""

    score: Literal["root", "product"] = "root"  # √(p · quality) or p · quality
    score_threshold: float = 0.05  # strict: it must be exceeded
    threshold_on: Measure = "class"
    candidates: int = 1000  # kept per level and image before suppression
    # what that counts: pairs of location and class, locations with all their classes, or with their best one alone
    candidates_of: Literal["pair", "location", "best_class"] = "pair"
    rank_by: Measure = "score"
    candidates_per_location: bool = False  # of a level, at most as many as it has locations
    clip: bool = True  # boxes to their image, before suppression
    nms: float | None = 0.6  # IoU above which the weaker of two boxes of a class goes; None: none goes
    detections: int = 100  # kept per image
    voting: float | None = None  # σ of score voting, see `score_voting`; None: boxes stay as they are
    keep_flat: bool = False  # also boxes that clipping leaves without area


@dataclass(frozen=True)
class ImageDetections:
    """What was found in one image, best first."""

    boxes: Tensor  # [detection, 4], pixels of the network input, clipped to the image unless the rule says otherwise
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
    boxes, scores, labels = ranked(predictions, priors, sizes, extras, rule)
    found = scores >= 0
    if rule.nms is None:
        stays = found & (torch.arange(found.shape[1], device=found.device) < rule.detections)
    else:
        stays = best_apart(boxes, labels, found, rule.nms, rule.detections)
    if rule.voting is not None:
        means = [
            voted(boxes[image, own], scores[image, own], labels[image, own], stays[image, own], rule.voting)
            for image, own in enumerate(found)
        ]
        boxes = boxes.index_put(found.nonzero(as_tuple=True), torch.cat(means))
    return by_image(boxes, scores, labels, stays)


@torch.no_grad()
def before_suppression(
    predictions: Predictions, priors: Priors, sizes: Tensor, extras: tuple[Extra, ...], rule: PostprocessRule
) -> list[ImageDetections]:
    """As `detect`, but all that suppression would choose from."""
    boxes, scores, labels = ranked(predictions, priors, sizes, extras, rule)
    return by_image(boxes, scores, labels, scores >= 0)


def ranked(
    predictions: Predictions, priors: Priors, sizes: Tensor, extras: tuple[Extra, ...], rule: PostprocessRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Clipped boxes, scores and labels of the candidates, best first: ``[image, entry]``; score −1: not one."""
    location, labels, scores = candidates_of(predictions, priors, extras, rule)
    image = torch.arange(predictions.images, device=scores.device)[:, None]
    boxes = predictions.boxes[image, location]
    boxes = clip(boxes, sizes) if rule.clip else boxes
    least, most = boxes[..., :2], boxes[..., 2:]
    sized = (most >= least if rule.keep_flat else most > least).all(-1)
    scores, order = scores.where(sized, -1).sort(dim=1, descending=True, stable=True)
    return boxes[image, order], scores, labels[image, order]


def by_image(boxes: Tensor, scores: Tensor, labels: Tensor, stays: Tensor) -> list[ImageDetections]:
    """The entries that stay, ``[image, entry]`` bool, image by image."""
    counts = stays.sum(1).tolist()
    kept = stays.nonzero(as_tuple=True)
    found = (column[kept].split(counts) for column in (boxes, scores, labels))
    return [ImageDetections(*one) for one in zip(*found, strict=True)]


def candidates_of(
    predictions: Predictions, priors: Priors, extras: tuple[Extra, ...], rule: PostprocessRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Location, label and score of the best entries, level by level, ``[image, entry]`` each; score −1: not one.

    At one location every measure grows with the class output. So the k best entries of a level lie at those k
    locations whose largest output measures best, and nothing else has to be looked at twice.
    """
    outputs = predictions.outputs
    joins, quality, shut = of_extras(predictions.extras, predictions.joined, extras)
    _, rank = measured(outputs.amax(-1, keepdim=True), joins, quality, rule)
    if shut is not None:
        rank = rank.masked_fill(shut[..., None], -1)
    lengths = torch.unique_consecutive(priors.level, return_counts=True)[1].tolist()
    chosen, start = [], 0
    for length in lengths:
        places = highest(rank[:, start : start + length, 0], min(rule.candidates, length))
        chosen.append(start + places.sort(dim=1).values)
        start += length
    # whole vector units: the last entries would be rounded in another way, and with them the images of a batch
    location = torch.cat(chosen, dim=1)
    location = F.pad(location, (0, -location.shape[1] % ROWS))

    at = torch.arange(predictions.images, device=outputs.device)[:, None], location
    score, rank = measured(outputs[at], None if joins is None else joins[at], [each[at] for each in quality], rule)
    if rule.candidates_of == "best_class":
        best = outputs[at].argmax(-1, keepdim=True)
        rank = torch.full_like(rank, -1).scatter(-1, best, rank.gather(-1, best))
    if shut is not None:
        rank = rank.masked_fill(shut[at][..., None], -1)
    classes, places, start = outputs.shape[2], [], 0
    for length, part in zip(lengths, chosen, strict=True):
        level = rank[:, start : start + part.shape[1]].flatten(1)
        most = level.shape[1] if rule.candidates_of == "location" else min(rule.candidates, level.shape[1])
        most = min(most, length) if rule.candidates_per_location else most
        places.append(start * classes + highest(level, most))
        start += part.shape[1]
    place = torch.cat(places, dim=1)
    passed = rank.flatten(1).gather(1, place) >= 0
    score = score.flatten(1).gather(1, place).where(passed, -1)
    return location.gather(1, place // classes), place % classes, score


def measured(
    outputs: Tensor, joins: Tensor | None, quality: Sequence[Tensor], rule: PostprocessRule
) -> tuple[Tensor, Tensor]:
    """Scores of entries, and what they are ranked by: −1 where the threshold is not exceeded.

    Args:
        outputs: class outputs, ``[image, location, class]``.
        joins: logit of the extra that joins the class probability, ``[image, location]``; None: there is none.
        quality: logits of the factors of the score, ``[image, location]`` each.
        rule: numbers.
    """
    measures = measures_of(outputs, joins, quality, rule)
    return measures["score"], measures[rule.rank_by].where(measures[rule.threshold_on] > rule.score_threshold, -1)


def measures_of(
    outputs: Tensor, joins: Tensor | None, quality: Sequence[Tensor], rule: PostprocessRule
) -> dict[Measure, Tensor]:
    """Every measure of entries, ``[image, location, class]`` in 0 … 1; arguments as those of `measured`."""
    alone = outputs.sigmoid()
    score = probability = alone if joins is None else join_logits(outputs, joins).sigmoid()
    for factor in quality:
        score = score * factor.sigmoid()[..., None]
    if quality and rule.score == "root":
        score = score.sqrt()
    return {"output": alone, "class": probability, "score": score}


def of_extras(
    values: Mapping[str, Tensor], joined: str | None, extras: Sequence[Extra]
) -> tuple[Tensor | None, list[Tensor], Tensor | None]:
    """What a score needs of the extras: ``joins`` and ``quality`` of `measured`; and where they allow no detection.

    Args:
        values: name of an extra → its logits, ``[image, location]``.
        joined: name of the one that joins the class probability; None: none does.
        extras: those in use.

    Returns:
        The last of the three is bool ``[image, location]``, or None: all locations may make a detection.
    """
    joins = None if joined is None else values[joined]
    quality = [values[extra.name] for extra in extras if extra.scales_score]
    shut = [values[extra.name].sigmoid() < extra.least for extra in extras if extra.least > 0]
    return joins, quality, torch.stack(shut).any(0) if shut else None


def highest(values: Tensor, count: int) -> Tensor:
    """Places of the highest values, best first, of equal ones the first: ``[image, place] → [image, count]``.

    Values are at least 0, or −1. The bits of a float that is not negative count as it does, so that value and place
    make one number and no two are equal.
    """
    bits = values.float().view(torch.int32).long() << 32
    return (bits - torch.arange(values.shape[1], device=values.device)).topk(count, dim=1).indices


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes cut at the border of their image: ``[image, location, 4]``."""
    height_width = to_device(sizes, boxes.device).to(boxes.dtype)
    limit = height_width.flip(-1).repeat(1, 2)[:, None]  # width, height, width, height
    return torch.minimum(boxes.clamp(min=0), limit)
