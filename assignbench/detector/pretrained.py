"""Initial weights of a backbone: ImageNet's by name, downloaded once, or a file's."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock
from torch import Tensor, nn

from assignbench.detector.pickles import read_checkpoint
from assignbench.errors import AssignbenchWarning, SystemProblem, UsageError

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# Converted by open-mmlab: caffe-style networks, MSRA's (as detectron2 takes them) and Detectron's first; and the
# ResNeXt that mmdetection's X-101-64x4d models start from, which has torchvision's style and pixels.
_CONVERTED = "https://download.openmmlab.com/pretrain/third_party/"
CONVERTED: Mapping[tuple[str, str], str] = {
    ("msra", "resnet50"): f"{_CONVERTED}resnet50_msra-5891d200.pth",
    ("msra", "resnet101"): f"{_CONVERTED}resnet101_msra-6cc46731.pth",
    ("detectron", "resnet50"): f"{_CONVERTED}resnet50_caffe-788b5fa3.pth",
    ("detectron", "resnet101"): f"{_CONVERTED}resnet101_caffe-3ad79236.pth",
    ("openmmlab", "resnext101_64x4d"): f"{_CONVERTED}resnext101_64x4d-ee2c6f71.pth",
}

# Detectron's names (``R-101.pkl``, ``X-101-64x4d.pkl``): "res4_22_branch2b_w", "res4_22_branch2b_bn_s", …
_BLOCK = re.compile(r"res([2-5])_(\d+)_branch(1|2[abc])(_bn)?_([wsb])")
_STEM = {
    "conv1_w": "conv1.weight",
    "res_conv1_bn_s": "bn1.weight",
    "res_conv1_bn_b": "bn1.bias",
}
_EPSILON = 1e-5  # of our batch norms


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


def state_dict(name: str, weights: str, published: WeightsEnum | None) -> dict[str, Tensor]:
    """The tensors of a backbone: published ImageNet weights, or a file's.

    Raises:
        UsageError: there are no such weights.
        SystemProblem: as `weights_file`.
        DataError: the file cannot be read.
        AssignbenchWarning: of a file, which of its weights were taken, and what was left out of their names.
    """
    if weights == "imagenet" and published is not None:
        return downloaded(str(published.url), name)
    if (weights, name) in CONVERTED:
        return downloaded(CONVERTED[weights, name], name)
    path = weights_file(weights)
    if path is None:
        raise UsageError(f"{weights} has no weights of {name}")
    checkpoint = read_checkpoint(path)
    for note in checkpoint.notes:
        warnings.warn(f"{path}: {note}", AssignbenchWarning, stacklevel=2)
    tensors = checkpoint.tensors
    return from_detectron(tensors) if "conv1_w" in tensors else tensors


def weights_file(weights: str) -> Path | None:
    """The file that ``model.weights`` names; None: it names published weights, or none.

    Raises:
        SystemProblem: there is no such file.
    """
    if weights in {"none", "imagenet", *(name for name, _ in CONVERTED)}:
        return None
    path = Path(weights).expanduser()
    if not path.is_file():
        raise SystemProblem(
            f"no weights file at {path}; model.weights is imagenet, msra, detectron, openmmlab, none, or the path of "
            "a file"
        )
    return path


def from_detectron(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detectron's blobs of a residual network → torchvision's names; classifier and the optimizer's blobs left out.

    Its norms are only a scale and a shift: the statistics become 0 and 1 − ε, so that ours compute the same.
    """
    state: dict[str, Tensor] = {}
    for name, value in tensors.items():
        key = _STEM.get(name) or _block_name(name)
        if key is None:
            continue
        state[key] = value.float()
        if name.endswith("_bn_s"):
            module = key.removesuffix("weight")
            state[f"{module}running_mean"] = torch.zeros_like(state[key])
            state[f"{module}running_var"] = torch.full_like(state[key], 1 - _EPSILON)
    return state


def _block_name(name: str) -> str | None:
    """``res2_0_branch1_bn_b`` → ``layer1.0.downsample.1.bias``; None: no part of a residual block."""
    found = _BLOCK.fullmatch(name)
    if found is None:
        return None
    stage, block, branch, norm, kind = found.groups()
    if branch == "1":
        module = f"downsample.{1 if norm else 0}"
    else:
        module = f"{'bn' if norm else 'conv'}{'abc'.index(branch[1]) + 1}"
    return f"layer{int(stage) - 1}.{block}.{module}.{'bias' if kind == 'b' else 'weight'}"


def downloaded(url: str, name: str) -> dict[str, Tensor]:
    """Published weights from torch's cache folder, else downloaded there by one process."""
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
    return read_checkpoint(path).tensors
