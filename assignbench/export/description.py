"""What stands in the JSON file beside an exported network: all that is needed to use it without assignbench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assignbench.core.head import Head
from assignbench.core.priors import STRIDES
from assignbench.core.types import PADDING
from assignbench.detector.pixels import Pixels
from assignbench.detector.postprocess import Measure, PostprocessRule
from assignbench.export.formats import LEAST, MOST
from assignbench.export.network import BOXES, NAMES, outputs_of, same_as
from assignbench.recipe import DataSettings
from assignbench.run.results.record import RunRecord

KIND = "assignbench export"
MEANINGS: dict[Measure, str] = {
    "score": "final score of a detection: the strategy's extra outputs that scale it are multiplied in",
    "class": "probability of the class, implicit objectness included",
    "output": "sigmoid of the class output alone",
}


def describe(
    record: RunRecord,
    head: Head,
    pixels: Pixels,
    data: DataSettings,
    rule: PostprocessRule,
    size: tuple[int, int] | None,
) -> dict[str, Any]:
    """How to use the file; what depends on the file itself, and its check, are added later."""
    short, long = data.test_sides
    sides: list[Any] = [{"least": LEAST, "most": MOST}] * 2 if size is None else list(size)
    named = {BOXES: _boxes(rule), **{NAMES[one]: _measure(one) for one in outputs_of(head.extras, rule)}}
    asked: Mapping[str, Measure] = {"threshold_on": rule.threshold_on, "rank_by": rule.rank_by}
    return {
        "kind": KIND,
        "input": {
            "fixed": size is not None,
            "images": {
                "shape": ["image", 3, "height", "width"],
                "type": "uint8",
                "colours": "RGB, 0 to 255; the network itself subtracts the mean, divides, and orders the colours",
                "mean": list(pixels.mean),
                "std": list(pixels.std),
                "order_inside": "BGR" if pixels.bgr else "RGB",
                "height": sides[0],
                "width": sides[1],
                "multiple": PADDING,
                "padding": "right and bottom, with any colour: what lies beyond sizes is not looked at",
            },
            "sizes": {"shape": ["image", 2], "type": "int64", "holds": "height and width without padding, pixels"},
            "resize": {
                "short_side": short,
                "long_side": long,
                "rule": "scale = min(short_side / shorter side, long_side / longer side); sides are rounded, halves to "
                "even numbers, and are at least 1",
                "interpolation": "bilinear, antialiased",
            },
            "turned_upright": record.dataset.upright,  # as EXIF says
            "bits": record.dataset.bits,  # of grey pictures in 16 bits, which are brought to 8; null: 16
        },
        "outputs": named,
        "locations": (
            "level by level, in each row by row, column by column, prior by prior; "
            "a level has ceil(height / stride) rows and ceil(width / stride) columns"
        ),
        "levels": [{"stride": STRIDES[level], "priors_per_cell": head.priors_per_cell} for level in head.levels],
        "classes": list(record.dataset.classes),
        "postprocessing": {
            "score_threshold": rule.score_threshold,
            **{key: NAMES[same_as(measure, head.extras)] for key, measure in asked.items()},
            "candidates": rule.candidates,
            "candidates_of": rule.candidates_of,
            "candidates_per_location": rule.candidates_per_location,
            "keep_flat": rule.keep_flat,
            "nms": rule.nms,
            "nms_kind": None if rule.nms is None else "greedy, class by class, as torchvision.ops.batched_nms",
            "voting": rule.voting,
            "detections": rule.detections,
        },
        "run": {
            "id": record.run_id,
            "strategy": record.assigner.label,
            "protocol": record.protocol,
            "preset": record.preset,
            "recipe": record.recipe,
            "seed": record.seed,
            "dataset": record.dataset.name,
            "weights_sha256": record.weights_sha256,
        },
    }


def _boxes(rule: PostprocessRule) -> dict[str, Any]:
    where = "cut to the picture" if rule.clip else "not cut to the picture"
    return {
        "shape": ["image", "location", 4],
        "type": "float32",
        "holds": f"x0 y0 x1 y1 in pixels of the input, {where}",
    }


def _measure(measure: Measure) -> dict[str, Any]:
    return {"shape": ["image", "location", "class"], "type": "float32", "holds": f"0 to 1: {MEANINGS[measure]}"}
