"""One loss that is the same for all strategies: what a run's final scores and boxes cost, object by object.

    class        ¼ Σ_objects (1 − s)² · −ln s               s: final score of the object's class at its best location
    box          5 Σ_objects (1 − GIoU)                     of the decoded box there
    background   ¾ Σ_entries s² · −ln(1 − s)                of all (location, class) that could be false detections

all divided by the number of objects, at least 1. The best location of an object is the one where class and box together
cost it least. An entry could be a false detection where it passes the recipe's threshold and answers no object: its
box overlaps no object of its class by half or more, and does not lie in a crowd by half or more.

Scores are the final ones that detections are ranked by, with all their factors (centerness, predicted IoU, implied
objectness); boxes are decoded and cut to the picture. So nothing is asked of how a strategy teaches: a fixed assignment
would charge a strategy for answering elsewhere than that assignment expects, and one that answers at one location for
not answering at its neighbours. The numbers are those of focal loss and the controlled protocol: α = ¼, γ = 2, λ = 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assignbench.core import Extra, Predictions, Priors, Targets
from assignbench.core.box_loss import GIoU
from assignbench.core.class_loss import Focal
from assignbench.core.fast.giou import giou
from assignbench.core.geometry import area, iou_matrix
from assignbench.detector.postprocess import PostprocessRule, clip, measured, of_extras

OVERLAP = 0.5  # from which on a box answers an object, or lies in a crowd
LEAST = 1e-6  # a score counts as no less, nor as closer to 1: logarithms stay finite
AT_ONCE = 1 << 22  # pairs of object and location that are looked at together


@dataclass(frozen=True)
class CommonCharges:
    """Sums over objects and entries: those of several batches add up."""

    class_: float
    box: float
    background: float
    objects: int

    def __add__(self, other: CommonCharges) -> CommonCharges:
        return CommonCharges(
            self.class_ + other.class_,
            self.box + other.box,
            self.background + other.background,
            self.objects + other.objects,
        )

    def losses(self) -> dict[str, float]:
        """Name → mean over the objects."""
        count = max(1, self.objects)
        return {"class": self.class_ / count, "box": self.box / count, "background": self.background / count}


@torch.no_grad()
def common_charges(
    predictions: Predictions,
    priors: Priors,
    sizes: Tensor,
    targets: Targets,
    extras: tuple[Extra, ...],
    rule: PostprocessRule,
) -> CommonCharges:
    """What a batch costs.

    Args:
        predictions: of the branch that speaks.
        priors: its locations; those in a picture's padding have no part.
        sizes: height and width of each image without padding, ``[image, 2]``.
        targets: objects, in pixels of the network input.
        extras: of the head, those that are factors of the score among them.
        rule: how scores are made, and the threshold.
    """
    boxes = clip(predictions.boxes, sizes) if rule.clip else predictions.boxes
    inside = priors.padded(sizes).inside
    assert inside is not None  # noqa: S101 - for the type checker: they are told where images end
    total = CommonCharges(0.0, 0.0, 0.0, 0)
    for image in range(predictions.images):
        kept = inside[image].nonzero()[:, 0]
        own = slice(image, image + 1)
        values = {name: extra[own, kept] for name, extra in predictions.extras.items()}
        joins, quality, shut = of_extras(values, predictions.joined, extras)
        score, rank = measured(predictions.outputs[own, kept], joins, quality, rule)
        if shut is not None:
            score, rank = score.masked_fill(shut[..., None], 0), rank.masked_fill(shut[..., None], -1)
        found = boxes[image, kept], score[0], rank[0] >= 0
        if not len(kept):  # of a head of coarse levels alone, in a small picture: its objects are answered by nothing
            found = (
                boxes.new_zeros(1, 4),
                score.new_zeros(1, score.shape[-1]),
                rank.new_zeros(1, rank.shape[-1], dtype=torch.bool),
            )
        total += _of_image(*found, targets.of_image(image))
    return total


def _of_image(boxes: Tensor, score: Tensor, passed: Tensor, targets: Targets) -> CommonCharges:
    """Boxes ``[location, 4]``, scores and whether they pass the threshold ``[location, class]``, of one picture."""
    focal, box_loss = Focal(), GIoU()
    logit = score.clamp(LEAST, 1 - LEAST).logit()
    flat = ~(boxes[:, 2:] > boxes[:, :2]).all(-1)
    answers = torch.zeros_like(passed)
    class_sum, box_sum = 0.0, 0.0
    step = max(1, AT_ONCE // max(1, len(boxes)))
    for start in range(0, len(targets), step):
        some = slice(start, start + step)
        true, labels = targets.boxes[some], targets.labels[some]
        own = logit[:, labels].t()  # [object, location]
        by_class = focal.positive_weight * focal.positive(own, torch.ones_like(own))
        by_box = box_loss.weight * (1 - giou(true[:, None], boxes[None]))
        best = (by_class + by_box).argmin(1, keepdim=True)
        class_sum += by_class.gather(1, best).double().sum().item()
        box_sum += by_box.gather(1, best).double().sum().item()
        overlaps = iou_matrix(true, boxes) >= OVERLAP
        answers |= torch.zeros_like(answers.t(), dtype=torch.int32).index_add_(0, labels, overlaps.int()).t() > 0
    wrong = passed & ~answers & ~flat[:, None] & ~in_crowds(boxes, targets.ignore.boxes)[:, None]
    background = focal.negative_weight * focal.background(logit[wrong]).double().sum().item()
    return CommonCharges(class_sum, box_sum, background, len(targets))


def in_crowds(boxes: Tensor, crowds: Tensor) -> Tensor:
    """Whether half of a box or more lies in one of the crowds: ``[location, 4], [crowd, 4] → bool [location]``."""
    least = torch.maximum(boxes[:, None, :2], crowds[None, :, :2])
    most = torch.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    common = (most - least).clamp(min=0).prod(-1)
    return (common >= OVERLAP * area(boxes)[:, None]).any(1)
