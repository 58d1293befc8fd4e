"""Images → predictions; nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from assignbench.core import Head, Predictions, Priors, joining
from assignbench.core.priors import pyramid_priors
from assignbench.core.tensors import to_device
from assignbench.detector.backbone import Backbone
from assignbench.detector.head import DenseHead, RawOutputs
from assignbench.detector.pixels import Pixels
from assignbench.detector.pyramid import Pyramid


class Detector(nn.Module):
    """Backbone, pyramid and head, with the head that a strategy asks for.

    Args:
        backbone: network giving C3, C4, C5.
        pyramid: makes P3 … P7 of them.
        head: what to put out.
        pixels: what the backbone expects to see.
        classes: number of classes.
        channels: width of pyramid and towers.
        depth: convolutions in each tower.
        deformable: whether the last of them is deformable.
        mask_padding: whether locations in the batch's padding are marked as outside.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        pyramid: Pyramid,
        head: Head,
        pixels: Pixels,
        *,
        classes: int,
        channels: int,
        depth: int,
        deformable: bool = False,
        mask_padding: bool = True,
    ) -> None:
        super().__init__()
        self.spec, self.pixels, self.mask_padding = head, pixels, mask_padding
        self.backbone = backbone
        self.pyramid = pyramid
        self.head = DenseHead(head, classes, channels, depth, deformable=deformable)
        self.register_buffer("mean", torch.tensor(pixels.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixels.std).view(3, 1, 1), persistent=False)
        self.compiled: Callable[[Tensor], tuple[tuple[Tensor, ...], RawOutputs]] | None = None  # `network`, in training

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Predictions, Priors]:
        """Predict.

        Args:
            images: uint8 RGB ``[image, 3, height, width]``, padded right and bottom to a multiple of 32.
            sizes: height and width of each image without padding, ``[image, 2]``, best in the host's memory.
        """
        predictions, priors = self.predict(self.normalise(images, sizes))
        return predictions, priors.padded(sizes) if self.mask_padding else priors

    def predict(self, x: Tensor) -> tuple[Predictions, Priors]:
        """As `forward`, for images that are normalised already: float32 ``[image, 3, height, width]``."""
        pyramid, raw = self.raw_outputs(x)
        with torch.autocast(x.device.type, enabled=False):
            priors = cached_priors(self.spec, x.shape[-2], x.shape[-1], x.device)
            return predictions_of(raw, self.spec, priors, pyramid), priors

    def raw_outputs(self, x: Tensor) -> tuple[tuple[Tensor, ...], RawOutputs]:
        """`network`, compiled if it was and this is training."""
        return self.compiled(x) if self.compiled is not None and self.training else self.network(x)

    def network(self, x: Tensor) -> tuple[tuple[Tensor, ...], RawOutputs]:
        """Normalised images → P3 … P7, and the head's raw outputs."""
        pyramid = self.pyramid(self.backbone(x))
        return pyramid, self.head(pyramid)

    def normalise(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Order of colours, minus mean, by deviation; padding becomes 0, the mean colour."""
        x = ((images.flip(1) if self.pixels.bgr else images).float() - self.mean) / self.std
        sizes = to_device(sizes, x.device)
        rows = torch.arange(x.shape[-2], device=x.device) < sizes[:, :1]
        columns = torch.arange(x.shape[-1], device=x.device) < sizes[:, 1:]
        x = x * (rows[:, None, :, None] & columns[:, None, None, :])
        return x.contiguous(memory_format=torch.channels_last)


def predictions_of(raw: RawOutputs, head: Head, priors: Priors, pyramid: tuple[Tensor, ...] = ()) -> Predictions:
    """The head's raw outputs as strategies and objective read them: boxes decoded, joining extras joined."""
    return Predictions(
        outputs=raw.logits,
        boxes=head.coding.decode(raw.regression, priors.boxes, priors.stride),
        regression=raw.regression,
        extras=raw.extras,
        joined=joining(head.extras),
        pyramid=pyramid,
    )


@lru_cache(maxsize=64)
def cached_priors(head: Head, height: int, width: int, device: torch.device) -> Priors:
    """`pyramid_priors`, kept for the sizes in use."""
    return pyramid_priors(head, height, width, device)
