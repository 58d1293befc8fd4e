"""What the official FCOS, ATSS and FreeAnchor have from maskrcnn-benchmark, on which all three are built."""

from collections.abc import Mapping
from typing import Any

MASKRCNN_BENCHMARK: Mapping[str, Any] = {
    "model.style": "caffe",
    "model.pixels": "detectron",
    "model.pyramid": "p5_relu",
    "train.bias_lr": 2.0,
    "train.bias_decay": False,
    "train.norm_decay": True,
}
MASKRCNN_BENCHMARK_SCHEDULE: Mapping[str, Any] = {
    "model.weights": "detectron",
    "train.warmup": 500,
    "train.warmup_start": 1 / 3,
}
