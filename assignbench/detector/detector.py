"""Images → predictions of the head, or of each of its branches; nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from assignbench.core import Head, Predictions, Priors
from assignbench.core.head import MAIN
from assignbench.core.parts import RawOutputs, predictions_of
from assignbench.core.priors import pyramid_priors
from assignbench.core.tensors import to_device
from assignbench.detector.networks import head_network
from assignbench.detector.pixels import Pixels
from assignbench.detector.pyramid import Pyramid

if TYPE_CHECKING:  # it imports torchvision
    from assignbench.detector.backbone import Backbone


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
        cached_priors.cache_clear()  # whatever the strategy of another run has written into them
        self.spec, self.pixels, self.mask_padding = head, pixels, mask_padding
        self.backbone = backbone
        self.pyramid = pyramid
        self.pyramid.learn_only({level for one in head.by_branch().values() for level in one.levels})
        self.head = head_network(head, classes, channels, depth, deformable=deformable)
        self.branches = nn.ModuleDict(
            {
                branch.name: head_network(branch.head, classes, channels, depth, deformable=deformable)
                for branch in head.beside
                if branch.head is not None
            }
        )
        self.register_buffer("mean", torch.tensor(pixels.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixels.std).view(3, 1, 1), persistent=False)
        self.compiled: Callable[[Tensor], tuple[tuple[Tensor, ...], RawOutputs]] | None = None  # `network`, in training

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Predictions, Priors]:
        """Predict, by the branch that speaks.

        Args:
            images: uint8 RGB ``[image, 3, height, width]``, padded right and bottom to a multiple of 32.
            sizes: height and width of each image without padding, ``[image, 2]``, best in the host's memory.
        """
        predictions, priors = self.predict(self.normalise(images, sizes))
        return predictions, self.told(priors, sizes)

    def every_branch(
        self, images: Tensor, sizes: Tensor, progress: float = 0.0
    ) -> Mapping[str, tuple[Predictions, Priors]]:
        """As `forward`, of all branches of the head, by name; in training networks may ask for its progress."""
        pyramid, priors, raw = self.outputs(self.normalise(images, sizes), progress)
        heads, decoded = self.spec.by_branch(), {MAIN: self.decoded(raw, self.spec, priors, pyramid)}
        for branch, network in self.branches.items():
            own = self.priors(heads[branch], images)
            raw = put_out(network, heads[branch], pyramid, own, progress)
            decoded[branch] = self.decoded(raw, heads[branch], own, pyramid)
        told = {branch: (predictions, self.told(priors, sizes)) for branch, (predictions, priors) in decoded.items()}
        return {branch: told.get(branch, told[MAIN]) for branch in heads}

    def predict(self, x: Tensor, progress: float = 0.0) -> tuple[Predictions, Priors]:
        """As `forward`, for images that are normalised already: float32 ``[image, 3, height, width]``."""
        pyramid, priors, raw = self.outputs(x, progress)
        return self.decoded(raw, self.spec, priors, pyramid)

    def outputs(self, x: Tensor, progress: float = 0.0) -> tuple[tuple[Tensor, ...], Priors, RawOutputs]:
        """Normalised images → P3 … P7, priors, and the raw outputs of the branch that speaks."""
        priors = self.priors(self.spec, x)
        network = self.compiled if self.training else None
        pyramid, raw = self.network(x, priors, progress) if network is None else network(x)
        return pyramid, priors, raw

    def network(
        self, x: Tensor, priors: Priors | None = None, progress: float = 0.0
    ) -> tuple[tuple[Tensor, ...], RawOutputs]:
        """Normalised images → P3 … P7, and the raw outputs of the branch that speaks."""
        pyramid = self.pyramid(self.backbone(x))
        return pyramid, put_out(self.head, self.spec, pyramid, priors, progress)

    def priors(self, head: Head, x: Tensor) -> Priors:
        """The priors of a head for images of this size."""
        if torch.compiler.is_exporting():  # the size may be known only when the exported network is used
            return pyramid_priors(head, x.shape[-2], x.shape[-1], x.device)
        return cached_priors(head, x.shape[-2], x.shape[-1], x.device)

    def decoded(
        self, raw: RawOutputs, head: Head, priors: Priors, pyramid: tuple[Tensor, ...]
    ) -> tuple[Predictions, Priors]:
        """Raw outputs as strategies read them, and the priors in use, in float32."""
        with torch.autocast(raw.logits.device.type, enabled=False):
            priors = priors if raw.priors is None else priors.predicted(raw.priors)
            return predictions_of(raw, head, priors, pyramid), priors

    def told(self, priors: Priors, sizes: Tensor) -> Priors:
        """The priors, told where images end, unless padding is to be taught."""
        return priors.padded(sizes) if self.mask_padding else priors

    def normalise(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Order of colours, minus mean, by deviation; padding becomes 0, the mean colour."""
        x = ((images.flip(1) if self.pixels.bgr else images).float() - self.mean) / self.std
        sizes = to_device(sizes, x.device)
        rows = torch.arange(x.shape[-2], device=x.device) < sizes[:, :1]
        columns = torch.arange(x.shape[-1], device=x.device) < sizes[:, 1:]
        x = x * (rows[:, None, :, None] & columns[:, None, None, :])
        return x.contiguous(memory_format=torch.channels_last)


def put_out(
    network: nn.Module, head: Head, pyramid: tuple[Tensor, ...], priors: Priors | None, progress: float = 0.0
) -> RawOutputs:
    """A head's raw outputs; a network of the strategy's own is told the priors, and the progress if it asks for it."""
    features = tuple(pyramid[level].detach() if head.detached else pyramid[level] for level in head.levels)
    if head.make is None:
        return network(features)
    return (
        network(features, priors, progress=progress) if follows_progress(type(network)) else network(features, priors)
    )


@cache
def follows_progress(network: type[nn.Module]) -> bool:
    """Whether a network's `forward` asks for the progress of training."""
    return "progress" in inspect.signature(network.forward).parameters


@lru_cache(maxsize=64)
def cached_priors(head: Head, height: int, width: int, device: torch.device) -> Priors:
    """`pyramid_priors`, kept for the sizes in use."""
    return pyramid_priors(head, height, width, device)
