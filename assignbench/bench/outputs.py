"""Raw outputs like those of a network that knows something, and of one that does not yet."""

from __future__ import annotations

from typing import Literal

import torch

from assignbench.bench.problem import Case, random_objects, random_outputs
from assignbench.core import Head, centers, smallest_k
from assignbench.core.fast.rows import object_chunks
from assignbench.core.parts import RawOutputs
from assignbench.detector.detector import cached_priors

Stage = Literal["trained", "untrained"]

FOUND = 30  # locations that find an object in a trained network, the nearest of all levels
SILENT = -7.0  # logit of all else: p = 0.001
UNDECIDED = -3.0  # logit of a network early in training: p = 0.05, about where thresholds are


@torch.no_grad()
def outputs_like(stage: Stage, head: Head, case: Case, device: torch.device) -> RawOutputs:
    """Raw outputs of a head.

    ``trained``: the `FOUND` locations nearest to each object score about ½ for its class, with boxes a few percent
    off; all else is silent. ``untrained``: scores lie around the threshold everywhere, so that every level fills its
    candidates and little is suppressed: the slowest case.
    """
    raw = random_outputs(head, case, device, mean=UNDECIDED if stage == "untrained" else SILENT)
    for tensor in (raw.logits, raw.regression, *raw.extras.values()):
        tensor.requires_grad_(False)
    if stage == "untrained":
        return raw
    targets = random_objects(case).to(device)
    priors = cached_priors(head, case.height, case.width, device)
    generator = torch.Generator(device).manual_seed(1)
    for chunk in object_chunks(len(targets), len(priors)):
        boxes = targets.boxes[chunk]
        distance = (priors.points - centers(boxes)[:, None]).square().sum(-1)
        objects, location = smallest_k(distance, FOUND).nonzero(as_tuple=True)
        image, label, box = targets.image[chunk][objects], targets.labels[chunk][objects], boxes[objects]
        noise = torch.randn(len(objects), 4, device=device, generator=generator)
        box = box + 0.03 * noise * (box[:, 2:] - box[:, :2]).repeat(1, 2)
        raw.logits[image, location, label] = noise[:, 0]
        raw.regression[image, location] = head.coding.encode(box, priors.boxes[location], priors.stride[location])
        for extra in raw.extras.values():
            extra[image, location] = 2 + noise[:, 1]
    return raw
