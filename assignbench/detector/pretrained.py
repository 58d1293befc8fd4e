"""Initial weights of a backbone: ImageNet's by name, downloaded once, or a file's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from assignbench.detector.pickles import read_checkpoint
from assignbench.errors import SystemProblem, UsageError

# Caffe-style networks, converted by open-mmlab: MSRA's (as detectron2 takes them) and Detectron's first.
_CONVERTED = "https://download.openmmlab.com/pretrain/third_party/"
CAFFE: Mapping[tuple[str, str], str] = {
    ("msra", "resnet50"): f"{_CONVERTED}resnet50_msra-5891d200.pth",
    ("msra", "resnet101"): f"{_CONVERTED}resnet101_msra-6cc46731.pth",
    ("detectron", "resnet50"): f"{_CONVERTED}resnet50_caffe-788b5fa3.pth",
    ("detectron", "resnet101"): f"{_CONVERTED}resnet101_caffe-3ad79236.pth",
}


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


def state_dict(name: str, weights: str, published: WeightsEnum) -> dict[str, Tensor]:
    """The tensors of a backbone: published ImageNet weights, or a file's."""
    if weights == "imagenet":
        return downloaded(str(published.url), name)
    if (weights, name) in CAFFE:
        return downloaded(CAFFE[weights, name], name)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise SystemProblem(
            f"no weights file at {path}; model.weights is imagenet, msra, detectron, none, or the path of a file"
        )
    return read_checkpoint(path).tensors


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
