"""Backbones: what is trained, what is loaded, what is said when weights are missing."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from assignbench.detector import backbone
from assignbench.detector.backbone import BACKBONES, Backbone
from assignbench.detector.pyramid import Pyramid
from assignbench.errors import SystemProblem, UsageError


@pytest.mark.parametrize(("name", "widths"), [("resnet18", (128, 256, 512)), ("resnet50", (512, 1024, 2048))])
def test_maps_have_the_strides_of_c3_to_c5(name: str, widths: tuple[int, ...]) -> None:
    net = Backbone(name, "none").eval()
    assert net.channels == widths
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, 64, 96))
        levels = Pyramid(net.channels, 32)(maps)
    assert [tuple(x.shape[1:]) for x in maps] == [(widths[0], 8, 12), (widths[1], 4, 6), (widths[2], 2, 3)]
    assert [tuple(x.shape[1:]) for x in levels] == [(32, 8, 12), (32, 4, 6), (32, 2, 3), (32, 1, 2), (32, 1, 1)]


def test_from_scratch_nothing_is_frozen() -> None:
    net = Backbone("resnet18", "none")
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert not any(isinstance(module, FrozenBatchNorm2d) for module in net.modules())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_loaded_and_its_first_layers_are_frozen(tmp_path: Path, suffix: str) -> None:
    build, _ = BACKBONES["resnet18"]
    state = build().state_dict()
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, file)  # noqa: TID251 - what a user may have
    else:
        save_file(state, file)
    net = Backbone("resnet18", str(file))
    assert torch.equal(net.stem[0].weight, state["conv1.weight"])
    assert torch.equal(net.stages[3][1].conv2.weight, state["layer4.1.conv2.weight"])
    trained = {name.split(".")[0] + name.split(".")[1] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {"stages1", "stages2", "stages3"}


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    build, _ = BACKBONES["resnet34"]
    save_file(build().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"do not fit: \d+ keys"):
        Backbone("resnet18", str(tmp_path / "other.safetensors"))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemProblem, match=r"no weights file at .*none\.pth"):
        Backbone("resnet18", str(tmp_path / "none.pth"))
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(SystemProblem, match=r"cut\.pth cannot be read"):
        Backbone("resnet18", str(tmp_path / "cut.pth"))


def test_without_a_network_the_message_names_the_file_to_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(SystemProblem) as caught:
        Backbone("resnet18", "imagenet")
    file = backbone.BACKBONES["resnet18"][1].url.rsplit("/", 1)[-1]
    assert str(tmp_path / "checkpoints" / file) in str(caught.value)
    assert "--set model.weights=none" in str(caught.value)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(UsageError, match="resnet18"):
        Backbone("resnet19", "none")
