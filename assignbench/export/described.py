"""The post-processing that the JSON file describes, read off it alone: outputs of the file → detections of one picture.

Plain and slow, level by level and class by class, so that it can be held against `assignbench.detector.postprocess`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from assignbench.detector.postprocess import ImageDetections
from assignbench.detector.score_voting import voted


def detections_of(outputs: Mapping[str, Tensor], about: Mapping[str, Any], height: int, width: int) -> ImageDetections:
    """Detections of one picture, best first.

    Args:
        outputs: of the file, by name, of one picture: ``[location, 4]`` and ``[location, class]``.
        about: the JSON file.
        height: of the padded input, pixels.
        width: as above.
    """
    from torchvision.ops import nms  # here, since it takes long to import

    rule = about["postprocessing"]
    boxes, scores, ranks = (outputs[name] for name in ("boxes", "scores", rule["rank_by"]))
    ranks = ranks.where(outputs[rule["threshold_on"]] > rule["score_threshold"], -1)
    classes, start, chosen = ranks.shape[1], 0, []
    for level in about["levels"]:
        stride = level["stride"]
        length = (height + stride - 1) // stride * ((width + stride - 1) // stride) * level["priors_per_cell"]
        chosen.append(start * classes + _best(ranks[start : start + length], rule))
        start += length
    place = torch.cat(chosen)
    location, label, score = place // classes, place % classes, scores.flatten()[place]
    box = boxes[location]
    sized = (box[:, 2:] >= box[:, :2] if rule["keep_flat"] else box[:, 2:] > box[:, :2]).all(1)
    score, order = score[sized].sort(descending=True, stable=True)
    box, label = box[sized][order], label[sized][order]
    stays = torch.ones_like(label, dtype=torch.bool)
    if rule["nms"] is not None:
        stays[:] = False
        for one in label.unique():
            own = (label == one).nonzero()[:, 0]
            stays[own[nms(box[own].double(), score[own].double(), rule["nms"])]] = True
    stays &= stays.cumsum(0) <= rule["detections"]
    if rule["voting"] is not None:
        box = voted(box, score, label, stays, rule["voting"])
    return ImageDetections(box[stays], score[stays], label[stays])


def _best(ranks: Tensor, rule: Mapping[str, Any]) -> Tensor:
    """Places of the candidates of a level, best first, of ``[location, class]``; −1: not one."""
    most = rule["candidates"]
    if rule["candidates_of"] != "pair":  # of a location all classes, or the best one
        first = ranks.amax(1).sort(descending=True, stable=True).indices[:most]
        taken = torch.zeros_like(ranks, dtype=torch.bool)
        if rule["candidates_of"] == "location":
            taken[first] = True
            most = ranks.numel()
        else:
            taken[first, ranks[first].argmax(1)] = True
        ranks = ranks.where(taken, -1)
    if rule["candidates_per_location"]:
        most = min(most, len(ranks))
    best, place = ranks.flatten().sort(descending=True, stable=True)
    return place[:most][best[:most] >= 0]
