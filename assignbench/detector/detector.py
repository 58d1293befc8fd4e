"""Images → predictions; nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from assignbench.core import Head, Predictions, Priors, join_logits
from assignbench.core.priors import inside_image, pyramid_priors
from assignbench.detector.backbone import Backbone, Pyramid
from assignbench.detector.head import DenseHead

MEAN = (123.675, 116.28, 103.53)  # RGB in 0 … 255, as torchvision's weights expect
STD = (58.395, 57.12, 57.375)


class Detector(nn.Module):
    """Backbone, pyramid and head, with the head that a strategy asks for.

    Args:
        backbone: network giving C3, C4, C5.
        head: what to put out.
        classes: number of classes.
        channels: width of pyramid and towers.
        depth: convolutions in each tower.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, head: Head, *, classes: int, channels: int, depth: int) -> None:
        super().__init__()
        self.spec = head
        self.backbone = backbone
        self.pyramid = Pyramid(backbone.channels, channels)
        self.head = DenseHead(head, classes, channels, depth)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Predictions, Priors]:
        """Predict.

        Args:
            images: uint8 RGB ``[image, 3, height, width]``, padded right and bottom to a multiple of 32.
            sizes: height and width of each image without padding, ``[image, 2]``.
        """
        pyramid = self.pyramid(self.backbone(self.normalise(images, sizes)))
        raw = self.head(pyramid)
        with torch.autocast(images.device.type, enabled=False):
            priors = cached_priors(self.spec, images.shape[-2], images.shape[-1], images.device)
            logits = raw.logits
            for extra in self.spec.extras:
                if extra.joins_class:
                    logits = join_logits(logits, raw.extras[extra.name])
            predictions = Predictions(
                logits=logits,
                boxes=self.spec.coding.decode(raw.regression, priors.boxes, priors.stride),
                regression=raw.regression,
                extras=raw.extras,
                pyramid=pyramid,
            )
        return predictions, replace(priors, inside=inside_image(priors, sizes))

    def normalise(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Subtract mean, divide by deviation; padding becomes 0, the mean colour."""
        x = (images.float() - self.mean) / self.std
        rows = torch.arange(x.shape[-2], device=x.device) < sizes[:, :1]
        columns = torch.arange(x.shape[-1], device=x.device) < sizes[:, 1:]
        x = x * (rows[:, None, :, None] & columns[:, None, None, :])
        return x.contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=64)
def cached_priors(head: Head, height: int, width: int, device: torch.device) -> Priors:
    """`pyramid_priors`, kept for the sizes in use."""
    return pyramid_priors(head, height, width, device)
