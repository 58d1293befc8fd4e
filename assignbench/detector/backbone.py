"""torchvision's residual networks as a source of C3, C4, C5, and the feature pyramid P3 … P7 on top.

Two regimes. *Pretrained* (torchvision's ImageNet weights, or a file): batch norm is frozen, statistics and
affine, and so are the stem and the first stage. *From scratch* (``none``): nothing is frozen and batch norm is
trained, because a frozen random batch norm cannot learn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision.models as zoo
from filelock import FileLock
from torch import Tensor, nn
from torchvision.models import WeightsEnum
from torchvision.ops import FrozenBatchNorm2d

from assignbench.errors import SystemProblem, UsageError

BACKBONES: dict[str, tuple[Callable[..., zoo.ResNet], WeightsEnum]] = {
    "resnet18": (zoo.resnet18, zoo.ResNet18_Weights.IMAGENET1K_V1),
    "resnet34": (zoo.resnet34, zoo.ResNet34_Weights.IMAGENET1K_V1),
    "resnet50": (zoo.resnet50, zoo.ResNet50_Weights.IMAGENET1K_V1),
    "resnet101": (zoo.resnet101, zoo.ResNet101_Weights.IMAGENET1K_V1),
    "resnext101_64x4d": (zoo.resnext101_64x4d, zoo.ResNeXt101_64X4D_Weights.IMAGENET1K_V1),
}


class Backbone(nn.Module):
    """A residual network without its classifier.

    Args:
        name: one of `BACKBONES`.
        weights: ``imagenet``, ``none``, or the path of a state dict (.pth or .safetensors) with torchvision's names.
        load: False builds the same layers, frozen as they would be, and leaves their values to the caller.

    Raises:
        UsageError: unknown name, or a file whose keys do not fit.
        SystemProblem: ImageNet weights are neither on disk nor to be downloaded.
    """

    def __init__(self, name: str, weights: str, *, load: bool = True) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise UsageError(f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}")
        build, _ = BACKBONES[name]
        frozen = weights != "none"
        net = build(norm_layer=FrozenBatchNorm2d if frozen else nn.BatchNorm2d)
        self.channels = tuple(last_width(stage) for stage in (net.layer2, net.layer3, net.layer4))
        if frozen and load:
            load_weights(net, state_dict(name, weights), f"weights {weights!r} of {name}")
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList((net.layer1, net.layer2, net.layer3, net.layer4))
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


def last_width(stage: nn.Module) -> int:
    """Channels that a stage of a residual network puts out."""
    return [module for module in stage.modules() if isinstance(module, nn.Conv2d)][-1].out_channels


def load_weights(net: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Load all but the classifier, or say which keys do not fit."""
    own = {key: value for key, value in net.state_dict().items() if not key.startswith("fc.")}
    state = {
        key: value
        for key, value in state.items()
        if not key.startswith("fc.") and not key.endswith("num_batches_tracked")
    }
    odd = sorted(own.keys() ^ state.keys()) or [k for k in own if own[k].shape != state[k].shape]
    if odd:
        raise UsageError(f"{what} do not fit: {len(odd)} keys missing, left over or misshapen, e.g. {odd[0]}")
    net.load_state_dict(state, strict=False)


def state_dict(name: str, weights: str) -> dict[str, Tensor]:
    """The tensors of a backbone: torchvision's ImageNet weights (downloaded once), or a file's."""
    if weights == "imagenet":
        return imagenet_state_dict(name)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise SystemProblem(f"no weights file at {path}; model.weights is imagenet, none, or the path of a file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return read_tensors(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A .pth state dict, read by torch's restricted reader: tensors and plain containers, no code runs."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - restricted
    except Exception as error:
        raise SystemProblem(
            f"{path} cannot be read as a state dict ({type(error).__name__}); remove it or place a whole file"
        ) from error


def imagenet_state_dict(name: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet weights: from torch's cache folder, else downloaded there by one process."""
    url: str = BACKBONES[name][1].url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[-1]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.is_file():
            try:
                torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[-1])
            except Exception as error:
                raise SystemProblem(
                    f"the ImageNet weights of {name} are not on this machine and cannot be downloaded "
                    f"({type(error).__name__}).\nFetch {url} and place it at {path}, "
                    "or train from scratch with --set model.weights=none"
                ) from error
    return read_tensors(path)


class Pyramid(nn.Module):
    """P3 … P7 (FPN, arXiv 1612.03144; P6 and P7 after RetinaNet): P6 from P5, ReLU before P7."""

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)
        self.p6 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """C3, C4, C5 → P3, P4, P5, P6, P7."""
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for fine in range(len(merged) - 2, -1, -1):
            merged[fine] = merged[fine] + F.interpolate(merged[fine + 1], size=merged[fine].shape[-2:])
        levels = [smooth(x) for smooth, x in zip(self.smooth, merged, strict=True)]
        p6 = self.p6(levels[-1])
        return (*levels, p6, self.p7(F.relu(p6)))
