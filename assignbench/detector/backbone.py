"""torchvision's residual networks, and narrow ones of their blocks, as a source of C3, C4, C5.

Two regimes. *Pretrained* (ImageNet weights, or a file): the statistics of batch norm are frozen, its scale and shift
too unless asked for, and so are the stem and the first stage. *From scratch* (``none``): nothing is frozen and batch
norm is trained, because a frozen random batch norm cannot learn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torchvision.models as zoo
from torch import Tensor, nn
from torchvision.models import WeightsEnum
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from assignbench.detector.deformable import make_deformable
from assignbench.detector.narrow import WIDTHS, Narrow
from assignbench.detector.pretrained import load_weights, state_dict
from assignbench.errors import UsageError

BACKBONES: dict[str, tuple[Callable[..., zoo.ResNet | Narrow], WeightsEnum | None]] = {
    **{name: (partial(Narrow, widths), None) for name, widths in WIDTHS.items()},
    "resnet18": (zoo.resnet18, zoo.ResNet18_Weights.IMAGENET1K_V1),
    "resnet34": (zoo.resnet34, zoo.ResNet34_Weights.IMAGENET1K_V1),
    "resnet50": (zoo.resnet50, zoo.ResNet50_Weights.IMAGENET1K_V1),
    "resnet101": (zoo.resnet101, zoo.ResNet101_Weights.IMAGENET1K_V1),
    "resnext101_64x4d": (zoo.resnext101_64x4d, zoo.ResNeXt101_64X4D_Weights.IMAGENET1K_V1),
}


class FixedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that always uses its stored statistics; scale and shift are trained."""

    def train(self, mode: bool = True) -> FixedBatchNorm2d:
        """Stays in evaluation mode."""
        return super().train(mode=False)


class Backbone(nn.Module):
    """A residual network without its classifier.

    Args:
        name: one of `BACKBONES`.
        weights: ``imagenet``, ``msra``, ``detectron``, ``openmmlab``, ``none``, or the path of a checkpoint with
            torchvision's or Detectron's names.
        style: ``pytorch`` or ``caffe``: whether a bottleneck's 3×3 convolution has the stride, or its first 1×1.
        norm_affine: whether scale and shift of a pretrained network's batch norm are trained.
        deformable: of how many last stages the 3×3 convolutions are deformable: 1 is C5, 2 C4 and C5, 3 C3 to C5. The
            first stage never is: it is frozen, and a layer that starts at zero would stay there.
        load: False builds the same layers, frozen as they would be, and leaves their values to the caller.

    Raises:
        UsageError: unknown name, stages that cannot be deformable, or a file whose keys do not fit.
        DataError: a damaged file.
        SystemProblem: the weights are neither on disk nor to be downloaded.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        *,
        style: str = "pytorch",
        norm_affine: bool = False,
        deformable: int = 0,
        load: bool = True,
    ) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise UsageError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
        if not 0 <= deformable <= 3:
            raise UsageError(f"the last 0 to 3 stages of a backbone can be deformable, not {deformable}")
        build, published = BACKBONES[name]
        frozen = weights != "none"
        fixed = FixedBatchNorm2d if norm_affine else FrozenBatchNorm2d
        net = build(norm_layer=fixed if frozen else nn.BatchNorm2d)
        if style == "caffe":
            stride_first(net)
        self.channels = tuple(last_width(stage) for stage in (net.layer2, net.layer3, net.layer4))
        if frozen and load:
            load_weights(net, state_dict(name, weights, published), f"weights {weights!r} of {name}")
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList((net.layer1, net.layer2, net.layer3, net.layer4))
        for stage in self.stages[len(self.stages) - deformable :]:  # once the kernels are loaded: they stay as they are
            make_deformable(stage)
        if frozen:
            self.stem.requires_grad_(requires_grad=False)
            self.stages[0].requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised images → C3, C4, C5 (strides 8, 16, 32)."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[1:])


def stride_first(net: nn.Module) -> None:
    """Give each bottleneck's stride to its first convolution, as in Caffe's models."""
    for block in net.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


def last_width(stage: nn.Module) -> int:
    """Channels that a stage of a residual network puts out."""
    return [module for module in stage.modules() if isinstance(module, nn.Conv2d)][-1].out_channels
