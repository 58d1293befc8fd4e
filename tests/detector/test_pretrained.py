"""Detectron's names of a residual network, and which published weights there are."""

import pickle  # noqa: TID251 - to write what Detectron wrote
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import FrozenBatchNorm2d

from assignbench.config import load_recipe
from assignbench.detector.backbone import BACKBONES
from assignbench.detector.pixels import PIXELS
from assignbench.detector.pretrained import CONVERTED, from_detectron, load_weights, state_dict
from assignbench.errors import UsageError


def blobs(sizes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Names as in Detectron's files, for the tensors of torchvision's network; scale and shift are all of a norm."""
    found = {}
    for key, size in sizes.items():
        parts = key.split(".")
        kind = "b" if parts[-1] == "bias" else "w" if len(size) == 4 else "s"
        if key == "conv1.weight":
            name = "conv1_w"
        elif parts[0] == "bn1":
            name = f"res_conv1_bn_{kind}"
        else:
            stage, block, module = int(parts[0][5:]) + 1, parts[1], parts[2]
            branch = "1" if module == "downsample" else "2" + "abc"[int(module[-1]) - 1]
            name = f"res{stage}_{block}_branch{branch}{'' if len(size) == 4 else '_bn'}_{kind}"
        found[name] = torch.randn(size) * 0.1 + (kind == "s")
    return found


@pytest.mark.parametrize("name", ["resnet101", "resnext101_64x4d"])
def test_detectrons_names_are_those_of_the_network(name: str) -> None:
    build, _ = BACKBONES[name]
    with torch.device("meta"):
        net = build(norm_layer=FrozenBatchNorm2d)
        sizes = {
            key: value.shape
            for key, value in net.state_dict().items()
            if not key.startswith("fc.") and not key.endswith(("running_mean", "running_var"))
        }
        theirs = blobs(sizes)
        state = from_detectron({**theirs, "pred_w": torch.zeros(1000, 2048), "lr": torch.zeros(1)})
        load_weights(net, state, "weights")  # nothing is missing, left over or misshapen
    assert len(theirs) == len(sizes)


def test_a_norm_of_detectrons_computes_the_same() -> None:
    theirs = {"res_conv1_bn_s": torch.rand(8) + 0.5, "res_conv1_bn_b": torch.randn(8)}
    state = from_detectron(theirs)
    assert set(state) == {f"bn1.{part}" for part in ("weight", "bias", "running_mean", "running_var")}
    norm = FrozenBatchNorm2d(8)
    norm.load_state_dict({key.removeprefix("bn1."): value for key, value in state.items()})
    x = torch.randn(2, 8, 3, 3)
    scale, shift = (theirs[f"res_conv1_bn_{kind}"].view(-1, 1, 1) for kind in "sb")
    torch.testing.assert_close(norm(x), x * scale + shift, rtol=1e-6, atol=1e-6)


def test_detectrons_file_is_read(tmp_path: Path) -> None:
    arrays = {"conv1_w": np.ones((2, 3, 1, 1), np.float32), "res2_0_branch2b_bn_b": np.arange(3, dtype=np.float32)}
    file = tmp_path / "X-101-64x4d.pkl"
    file.write_bytes(pickle.dumps({"blobs": {**arrays, "weight_order": 1}, "cfg": "text"}, protocol=2))
    _, published = BACKBONES["resnext101_64x4d"]
    state = state_dict("resnext101_64x4d", str(file), published)
    assert set(state) == {"conv1.weight", "layer1.0.bn2.bias"}
    assert torch.equal(state["layer1.0.bn2.bias"], torch.arange(3.0))


@pytest.mark.parametrize(("weights", "backbone"), CONVERTED)
def test_every_published_file_has_settings_that_fit(weights: str, backbone: str) -> None:
    style = "pytorch" if weights == "openmmlab" else "caffe"
    fitting = [name for name, pixels in PIXELS.items() if pixels.bgr == (style == "caffe")]
    common = [f"model.backbone={backbone}", f"model.weights={weights}"]
    for pixels in fitting:
        load_recipe("2x", [*common, f"model.style={style}", f"model.pixels={pixels}", "model.deformable=2"])
    for pixels in PIXELS.keys() - fitting:
        with pytest.raises(UsageError, match=r"were trained on model\.pixels = "):
            load_recipe("2x", [*common, f"model.style={style}", f"model.pixels={pixels}"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.pixels=caffe"], "imagenet were trained on model.pixels = torchvision, not caffe; choose these pixels"),
        (["model.weights=openmmlab"], "openmmlab exist for resnext101_64x4d, not resnet50; choose other weights"),
        (
            ["model.backbone=resnext101_64x4d", "model.weights=detectron", "model.style=caffe", "model.pixels=caffe"],
            "detectron exist for resnet50 and resnet101, not resnext101_64x4d",
        ),
        (
            ["model.backbone=resnext101_64x4d", "model.weights=openmmlab", "model.style=caffe"],
            "openmmlab are of style pytorch, but model.style = caffe",
        ),
    ],
)
def test_combinations_that_nobody_published_are_refused(changes: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("2x", changes)
    assert message in str(caught.value)


def test_detectrons_resnext_goes_with_bgr_and_the_stride_in_the_3x3() -> None:
    settings = ("backbone=resnext101_64x4d", "weights=X-101-64x4d.pkl", "style=pytorch", "pixels=detectron")
    model = load_recipe("2x", [f"model.{one}" for one in settings]).recipe.model
    assert PIXELS[model.pixels].std == (1.0, 1.0, 1.0)
