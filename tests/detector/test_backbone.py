"""Backbones: what is trained, what is loaded, what is said when weights are missing."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from assignbench.detector import backbone
from assignbench.detector.backbone import BACKBONES, Backbone, FixedBatchNorm2d
from assignbench.detector.pyramid import Pyramid
from assignbench.errors import DataError, SystemProblem, UsageError

NETWORKS = [
    ("miniature", (32, 32, 64)),
    ("resnet10_half", (64, 128, 256)),
    ("resnet18", (128, 256, 512)),
    ("resnet50", (512, 1024, 2048)),
]


@pytest.mark.parametrize(("name", "widths"), NETWORKS)
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
    with pytest.raises(DataError, match=r"cut\.pth is damaged"):
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


def pictures() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_style_says_which_convolution_of_a_bottleneck_has_the_stride() -> None:
    for style, first, second in (("pytorch", (1, 1), (2, 2)), ("caffe", (2, 2), (1, 1))):
        net = Backbone("resnet50", "none", style=style)
        strides = [[(block.conv1.stride, block.conv2.stride) for block in stage] for stage in net.stages]
        assert strides[0] == [((1, 1), (1, 1))] * 3
        for stage in strides[1:]:
            assert stage[0] == (first, second)
            assert set(stage[1:]) == {((1, 1), (1, 1))}
        assert all(block.downsample[0].stride == (2, 2) for block in (stage[0] for stage in list(net.stages)[1:]))


def test_both_styles_have_the_same_weights_and_shapes_but_other_outputs() -> None:
    torch.manual_seed(0)
    one, other = Backbone("resnet50", "none").eval(), Backbone("resnet50", "none", style="caffe").eval()
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        for a, b in zip(one(pictures()), other(pictures()), strict=True):
            assert a.shape == b.shape
            assert not torch.allclose(a, b, rtol=1e-3)


def test_a_network_without_bottlenecks_has_no_style() -> None:
    net = Backbone("resnet18", "none", style="caffe")
    assert not any(isinstance(module, Bottleneck) for module in net.modules())
    assert net.stages[1][0].conv1.stride == (2, 2)


def statistics(net: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.clone()
        for name, value in net.state_dict().items()
        if name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }


@pytest.mark.parametrize("norm_affine", [True, False])
def test_pretrained_statistics_never_move_and_scale_and_shift_only_when_asked(norm_affine: bool) -> None:
    torch.manual_seed(0)
    net = Backbone("resnet18", "a file", norm_affine=norm_affine, load=False).train()
    before = statistics(net)
    assert before
    optimizer = torch.optim.SGD([one for one in net.parameters() if one.requires_grad], lr=0.1)
    sum(x.square().mean() for x in net(pictures())).backward()  # type: ignore[union-attr]
    optimizer.step()
    net.eval()
    net.train()
    net(pictures())
    for name, value in statistics(net).items():
        assert torch.equal(value, before[name]), name

    for stage, layers in enumerate((net.stem, *net.stages)):
        norms = [one for one in layers.modules() if isinstance(one, FixedBatchNorm2d | FrozenBatchNorm2d)]
        assert norms
        for norm in norms:
            assert isinstance(norm, FixedBatchNorm2d if norm_affine else FrozenBatchNorm2d)
            assert not norm.training or not norm_affine
            parameters = list(norm.parameters())
            assert len(parameters) == (2 if norm_affine else 0)
            for parameter in parameters:
                trained = stage >= 2  # stem and first stage stay frozen
                assert parameter.requires_grad == trained
                assert (parameter.grad is not None and bool(parameter.grad.any())) == trained


def test_trained_scale_and_shift_compute_what_frozen_ones_do() -> None:
    torch.manual_seed(0)
    fixed = Backbone("resnet18", "a file", norm_affine=True, load=False).train()
    with torch.no_grad():
        for name, value in fixed.state_dict().items():
            if "running" in name:
                value.add_(torch.rand(value.shape))
    frozen = Backbone("resnet18", "a file", load=False).train()
    state = {name: value for name, value in fixed.state_dict().items() if not name.endswith("num_batches_tracked")}
    frozen.load_state_dict(state)
    for one, other in zip(fixed(pictures()), frozen(pictures()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
