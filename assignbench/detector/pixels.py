"""What a backbone's first layer sees: order of the colours, mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pixels:
    """Statistics in 0 … 255, in the order that the network gets its colours."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool  # blue first, as everything that came from Caffe


PIXELS = {
    "torchvision": Pixels(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), bgr=False),
    "caffe": Pixels(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), bgr=True),  # MSRA's models, detectron2
    "detectron": Pixels(mean=(102.9801, 115.9465, 122.7717), std=(1.0, 1.0, 1.0), bgr=True),  # Detectron's first
}
