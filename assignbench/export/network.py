"""The network that is exported: pictures → boxes, and every measure that detections are chosen by, at every location.

Threshold, the best of each level and suppression are left to whoever uses the file: `assignbench.export.described`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from assignbench.core import Extra
from assignbench.detector.detector import Detector
from assignbench.detector.postprocess import Measure, PostprocessRule, clip, measures_of, of_extras

BOXES = "boxes"
NAMES: dict[Measure, str] = {"score": "scores", "class": "class_probabilities", "output": "class_outputs"}


class Exported(nn.Module):
    """A detector with what of its post-processing is the same at every location.

    Args:
        detector: in evaluation mode.
        rule: the run's post-processing.
    """

    def __init__(self, detector: Detector, rule: PostprocessRule) -> None:
        super().__init__()
        self.detector, self.rule = detector, rule
        self.outputs = outputs_of(detector.spec.extras, rule)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Boxes ``[image, location, 4]``, then what `outputs` names, ``[image, location, class]`` each.

        Args:
            images: uint8 RGB ``[image, 3, height, width]``, padded right and bottom to a multiple of 32.
            sizes: int64 height and width of each image without padding, ``[image, 2]``.
        """
        predictions, _ = self.detector.predict(self.detector.normalise(images, sizes))
        joins, quality, shut = of_extras(predictions.extras, predictions.joined, self.detector.spec.extras)
        measures = measures_of(predictions.outputs, joins, quality, self.rule)
        if shut is not None:  # no threshold is exceeded by 0
            measures = {name: values.masked_fill(shut[..., None], 0) for name, values in measures.items()}
        boxes = clip(predictions.boxes, sizes) if self.rule.clip else predictions.boxes
        return boxes, *(measures[name] for name in self.outputs)


def outputs_of(extras: Sequence[Extra], rule: PostprocessRule) -> tuple[Measure, ...]:
    """The measures that are put out: the score, and those others that the rule asks for and that differ from it."""
    asked: tuple[Measure, ...] = ("score", rule.threshold_on, rule.rank_by)
    return tuple(dict.fromkeys(same_as(measure, extras) for measure in asked))


def same_as(measure: Measure, extras: Sequence[Extra]) -> Measure:
    """The score where a measure is equal to it with these extra outputs, else the measure."""
    scaled, joined = any(one.scales_score for one in extras), any(one.joins_class for one in extras)
    differs = {"score": False, "class": scaled, "output": scaled or joined}
    return measure if differs[measure] else "score"
