"""An exported file held against the run's own detector, on pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assignbench.detector.postprocess import ImageDetections, clip
from assignbench.errors import RunError
from assignbench.export.described import detections_of
from assignbench.export.formats import Run
from assignbench.export.network import BOXES, NAMES, Exported
from assignbench.recipe import EvaluateSettings
from assignbench.run.scoring.detect import detect_images

BOX_TOLERANCE = 0.1  # pixels of the input
SCORE_TOLERANCE = 1e-4
UNPAIRED = 0.01  # share of detections that may have no partner: sums in another order turn a tie or a threshold


@dataclass(frozen=True)
class Checked:
    """What was compared, and the largest differences."""

    pictures: int
    boxes: float  # pixels of the input, at all locations, in the picture
    scores: float  # of all measures that are put out, at all locations
    detections: int  # of the run's own detector
    # detections of either side without a partner in the other: same class, box and score within tolerance
    unpaired: int

    def as_json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "pictures": self.pictures,
            "largest_difference": {"boxes": self.boxes, "scores": self.scores},
            "tolerance": {"boxes": BOX_TOLERANCE, "scores": SCORE_TOLERANCE, "unpaired": UNPAIRED},
            "detections": self.detections,
            "unpaired": self.unpaired,
        }


@torch.no_grad()
def check(
    run: Run,
    network: Exported,
    inputs: Iterable[tuple[Tensor, Tensor]],
    about: Mapping[str, Any],
    settings: EvaluateSettings,
) -> Checked:
    """Hold a file against the network that it was made of, and its described post-processing against `detect`.

    Args:
        run: the file, opened.
        network: what was exported.
        inputs: images and sizes of one picture each.
        about: the JSON file.
        settings: the run's post-processing.

    Raises:
        RunError: a difference exceeds its tolerance.
    """
    names = (BOXES, *(NAMES[one] for one in network.outputs))
    boxes = scores = 0.0
    pictures = detections = unpaired = 0
    for images, sizes in inputs:
        found, wanted = run(images, sizes), network(images, sizes)
        if [each.shape for each in found] != [each.shape for each in wanted]:
            raise RunError(f"the exported network puts out other shapes than the run's: {[*map(_shape, found)]}")
        boxes = float(np.maximum(boxes, _apart(clip(found[0], sizes), clip(wanted[0], sizes))))  # nan stays nan
        scores = float(np.max([scores, *(_apart(*pair) for pair in zip(found[1:], wanted[1:], strict=True))]))
        # written so that what is not a number fails, too
        if not (boxes <= BOX_TOLERANCE and scores <= SCORE_TOLERANCE):
            raise RunError(
                f"the exported network is not the run's: boxes differ by up to {boxes:.3g} pixels (allowed: "
                f"{BOX_TOLERANCE:g}), scores by up to {scores:.3g} (allowed: {SCORE_TOLERANCE:g}); nothing was written"
            )
        (own,) = detect_images(network.detector, images, sizes, settings)
        outputs = {name: each[0] for name, each in zip(names, found, strict=True)}
        described = detections_of(outputs, about, *images.shape[-2:])
        pictures, detections = pictures + 1, detections + len(own.scores)
        unpaired += without_partner(own, described) + without_partner(described, own)
    if unpaired > UNPAIRED * detections:
        raise RunError(
            f"{unpaired} of {detections} detections of the run and the exported network have no partner in the other; "
            "nothing was written"
        )
    return Checked(pictures, boxes, scores, detections, unpaired)


def without_partner(some: ImageDetections, others: ImageDetections) -> int:
    """How many detections of ``some`` are not in ``others``."""
    apart = (some.boxes[:, None] - others.boxes).abs().amax(-1) if len(others.boxes) else some.boxes.new_zeros(0)
    if not apart.numel():
        return len(some.scores)
    near = (apart <= BOX_TOLERANCE) & ((some.scores[:, None] - others.scores).abs() <= SCORE_TOLERANCE)
    return int((~(near & (some.labels[:, None] == others.labels)).any(1)).sum())


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference; nan where one is not a number."""
    return float((one - other).abs().max())


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
