"""Deformable convolutions: against a slow reading of their definition, and as parts of backbones and towers."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from assignbench.config import load_recipe
from assignbench.core import Head
from assignbench.detector.backbone import BACKBONES, Backbone
from assignbench.detector.deformable import DeformableConv2d, unrepeatable
from assignbench.detector.head import DenseHead
from assignbench.detector.importers import theirs
from assignbench.detector.names import DETECTRON2, MMDET
from assignbench.errors import UsageError
from assignbench.run.training.checkpoint import load_tensors, save_tensors, total_parameters
from assignbench.run.training.learner import Learner, build_learner
from assignbench.run.training.optimizer import build_optimizer
from assigners.fcos import FCOS


def convolution(channels: int = 4, stride: int = 1, groups: int = 1, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=groups, bias=bias)


def moved(plain: nn.Conv2d, size: float = 1.0) -> DeformableConv2d:
    """As after some training."""
    layer = DeformableConv2d(plain)
    nn.init.normal_(layer.conv_offset.weight, std=0.3 * size)
    nn.init.normal_(layer.conv_offset.bias, std=size)
    return layer


def pixel(image: Tensor, y: int, x: int) -> Tensor:
    inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
    return image[:, y, x] if inside else image.new_zeros(image.shape[0])


def bilinear(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    top, left = math.floor(y.item()), math.floor(x.item())
    down, right = y - top, x - left
    return (
        (1 - down) * (1 - right) * pixel(image, top, left)
        + (1 - down) * right * pixel(image, top, left + 1)
        + down * (1 - right) * pixel(image, top + 1, left)
        + down * right * pixel(image, top + 1, left + 1)
    )


def slow(layer: DeformableConv2d, images: Tensor, stride: int, groups: int) -> Tensor:
    """Location by location, tap by tap, as the paper writes it."""
    said = layer.conv_offset(images)
    kernels = layer.weight.chunk(groups)
    rows = []
    for image, wishes in zip(images, said, strict=True):
        for i in range(wishes.shape[1]):
            for j in range(wishes.shape[2]):
                total = [image.new_zeros(len(kernel)) for kernel in kernels]
                for tap in range(9):
                    y = i * stride - 1 + tap // 3 + wishes[2 * tap, i, j]
                    x = j * stride - 1 + tap % 3 + wishes[2 * tap + 1, i, j]
                    share = 1 / (1 + torch.exp(-wishes[18 + tap, i, j]))
                    values = (share * bilinear(image, y, x)).chunk(groups)
                    for group, kernel in enumerate(kernels):
                        total[group] = total[group] + kernel[:, :, tap // 3, tap % 3] @ values[group]
                rows.append(torch.cat(total) + (0 if layer.bias is None else layer.bias))
    return torch.stack(rows).view(len(images), *said.shape[2:], -1).permute(0, 3, 1, 2)


@settings(max_examples=12, derandomize=True, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2]),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([0.5, 3.0]),
    st.booleans(),
)
def test_outputs_and_gradients_are_those_of_a_slow_reading(
    seed: int, stride: int, groups: int, height: int, width: int, size: float, bias: bool
) -> None:
    torch.manual_seed(seed)
    layer = moved(convolution(4, stride, groups, bias=bias), size).double()
    images = torch.randn(2, 4, height, width, dtype=torch.float64, requires_grad=True)
    fast, reading = layer(images), slow(layer, images, stride, groups)
    torch.testing.assert_close(fast, reading, rtol=1e-10, atol=1e-10)
    direction = torch.randn(fast.shape, dtype=torch.float64)
    leaves = [images, *layer.parameters()]
    ours = torch.autograd.grad(fast, leaves, direction)
    others = torch.autograd.grad(reading, leaves, direction)
    for one, other in zip(ours, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 4), (2, 4)])
def test_a_new_layer_is_half_the_plain_convolution_up_to_rounding(stride: int, groups: int) -> None:
    torch.manual_seed(0)
    plain = convolution(16, stride, groups)
    images = torch.randn(2, 16, 13, 10)
    torch.testing.assert_close(DeformableConv2d(plain)(images), plain(images) / 2, rtol=1e-5, atol=1e-6)


def test_a_bias_is_added_whole() -> None:
    torch.manual_seed(0)
    plain, images = convolution(bias=True), torch.zeros(1, 4, 5, 6)
    layer = DeformableConv2d(plain)
    assert layer.bias is plain.bias
    assert torch.equal(layer(images), plain(images))


def test_it_keeps_the_kernel_and_draws_no_random_number() -> None:
    plain = convolution()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    layer = DeformableConv2d(plain)
    assert torch.equal(torch.get_rng_state(), before)
    assert layer.weight is plain.weight
    assert {name for name, _ in layer.named_parameters()} == {"weight", "conv_offset.weight", "conv_offset.bias"}
    assert not any(one.any() for one in layer.conv_offset.parameters())


def test_another_convolution_is_refused() -> None:
    for other in (nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, dilation=2)):
        with pytest.raises(ValueError, match="3×3 convolution without dilation"):
            DeformableConv2d(other)


def test_under_bf16_the_operator_runs_in_float32() -> None:
    torch.manual_seed(0)
    layer = moved(convolution(8))
    images = torch.randn(2, 8, 9, 7).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        full, half = layer(images.float()), layer(images)
    assert (full.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(full.bfloat16(), half)
    assert not torch.equal(full, layer(images.float()))  # conv_offset follows the autocast
    torch.testing.assert_close(full, layer(images.float()), rtol=0.1, atol=0.1)
    half.float().square().mean().backward()
    assert all(one.grad is not None and one.grad.dtype == torch.float32 for one in layer.parameters())


def test_channels_last_in_channels_last_out_and_the_same_numbers() -> None:
    torch.manual_seed(0)
    layer = moved(convolution(8, 2))
    images = torch.randn(2, 8, 9, 7)
    rows = layer(images)
    torch.testing.assert_close(
        layer.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last)), rows
    )
    mixed = layer(images.to(memory_format=torch.channels_last))
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    mixed.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.stride() == layer.weight.stride()  # fused optimizers walk memory


def test_on_a_cpu_gradients_are_repeatable() -> None:
    torch.manual_seed(0)
    layer, images = moved(convolution(8)), torch.randn(2, 8, 16, 16, requires_grad=True)
    leaves = [images, *layer.parameters()]
    first, second = (torch.autograd.grad(layer(images).square().sum(), leaves) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_offset_that_is_no_number_is_one_in_the_output_and_nothing_worse(bad: float) -> None:
    layer = DeformableConv2d(convolution())
    with torch.no_grad():
        layer.conv_offset.bias[5] = bad
    assert layer(torch.randn(1, 4, 6, 7)).isnan().all()
    assert DeformableConv2d(convolution())(torch.full((1, 4, 6, 7), math.nan)).isnan().all()


def test_taps_far_outside_are_zero() -> None:
    layer = DeformableConv2d(convolution())
    nn.init.constant_(layer.conv_offset.bias[:18], 1e30)
    images = torch.randn(1, 4, 6, 7, requires_grad=True)
    out = layer(images)
    out.sum().backward()
    assert not out.any()
    assert images.grad is not None
    assert not images.grad.any()


def test_it_compiles_into_one_graph() -> None:
    torch.manual_seed(0)
    layer, images = moved(convolution(8)), torch.randn(2, 8, 9, 7)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), layer(images))
    other = torch.randn(2, 8, 6, 11)  # now compiled for any size
    torch.testing.assert_close(compiled(other), layer(other))
    compiled(images).sum().backward()
    assert layer.conv_offset.weight.grad is not None


def deformable_layers(net: Backbone) -> list[str]:
    return [name for name, module in net.named_modules() if isinstance(module, DeformableConv2d)]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("style", ["pytorch", "caffe"])
def test_the_last_stages_of_every_backbone(name: str, style: str) -> None:
    with torch.device("meta"):
        plain, *others = (Backbone(name, "none", style=style, deformable=stages) for stages in range(4))
    blocks = [f"stages.{i}.{j}" for i, stage in enumerate(plain.stages) for j in range(len(stage))]
    assert deformable_layers(plain) == []
    modules = dict(plain.named_modules())
    for number, net in enumerate(others, 1):
        expected = [f"{block}.conv2" for block in blocks if int(block.split(".")[1]) >= 4 - number]
        assert deformable_layers(net) == expected
        assert net.channels == plain.channels
        for layer in expected:
            one, other = net.get_submodule(layer), modules[layer]
            assert isinstance(one, DeformableConv2d)
            assert isinstance(other, nn.Conv2d)
            assert one.stride == one.conv_offset.stride == other.stride
            assert one.weight.shape == other.weight.shape  # groups are in it
        added = {f"{layer}.conv_offset.{kind}" for layer in expected for kind in ("weight", "bias")}
        assert net.state_dict().keys() - plain.state_dict().keys() == added
    first = others[0].stages[3][0]
    if isinstance(first, Bottleneck):
        assert first.conv2.stride == ((2, 2) if style == "pytorch" else (1, 1))


@pytest.mark.parametrize("name", ["resnet18", "resnext101_64x4d"])
def test_maps_have_the_shapes_of_the_plain_network(name: str) -> None:
    with torch.device("meta"):
        net, plain = Backbone(name, "none", deformable=3), Backbone(name, "none")
        images = torch.zeros(1, 3, 64, 96)
        assert [one.shape for one in net(images)] == [one.shape for one in plain(images)]


@pytest.mark.parametrize("stages", [-1, 4])
def test_frozen_stages_cannot_be_deformable(stages: int) -> None:
    with pytest.raises(UsageError, match="last 0 to 3 stages"):
        Backbone("resnet18", "none", deformable=stages)
    with pytest.raises(UsageError, match=r"model\.deformable"):
        load_recipe("tiny", [f"model.deformable={stages}"])


def test_pretrained_kernels_are_unchanged_and_offsets_are_trained(tmp_path: Path) -> None:
    state = BACKBONES["resnet18"][0]().state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    net = Backbone("resnet18", str(tmp_path / "weights.safetensors"), deformable=2)
    for stage in (2, 3):
        for block in (0, 1):
            loaded = net.get_parameter(f"stages.{stage}.{block}.conv2.weight")
            assert torch.equal(loaded, state[f"layer{stage + 1}.{block}.conv2.weight"])
    trained = {name for name, one in net.named_parameters() if one.requires_grad}
    assert {name for name, _ in net.named_parameters() if "conv_offset" in name} <= trained
    assert not any(name.startswith(("stem.", "stages.0.")) for name in trained)


def test_everything_else_starts_from_the_same_numbers() -> None:
    torch.manual_seed(3)
    plain, after = Backbone("resnet18", "none").state_dict(), torch.rand(1)
    torch.manual_seed(3)
    other, later = Backbone("resnet18", "none", deformable=3).state_dict(), torch.rand(1)
    assert torch.equal(after, later)
    assert all(torch.equal(other[name], value) for name, value in plain.items())


def test_parameters_of_a_bottleneck_by_hand() -> None:
    with torch.device("meta"):
        net = Backbone("resnet50", "none", deformable=1)
    reduce, kernel, expand = 2048 * 512, 512 * 512 * 9, 512 * 2048
    norms = 2 * (512 + 512 + 2048)
    offset = 512 * 27 * 9 + 27  # 18 coordinates and 9 masks, with a bias
    assert offset == 124_443
    assert sum(one.numel() for one in net.stages[3][1].parameters()) == reduce + kernel + expand + norms + offset


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("resnet18", 2 * (256 * 243 + 27) + 2 * (512 * 243 + 27)),
        ("resnet50", 6 * (256 * 243 + 27) + 3 * (512 * 243 + 27)),
        ("resnext101_64x4d", 23 * (1024 * 243 + 27) + 3 * (2048 * 243 + 27)),
    ],
)
def test_parameters_that_c4_and_c5_gain(name: str, added: int) -> None:
    with torch.device("meta"):
        plain, net = Backbone(name, "none"), Backbone(name, "none", deformable=2)
    assert total_parameters(net) - total_parameters(plain) == added


def small_learner(stages: int) -> Learner:
    model = load_recipe("tiny", [f"model.deformable={stages}"]).recipe.model
    return build_learner(FCOS, {}, model, classes=3, seed=0)


def test_a_learner_is_built_saved_and_loaded_with_them(tmp_path: Path) -> None:
    learner, plain = small_learner(2), small_learner(0)
    added = total_parameters(learner) - total_parameters(plain)
    assert added == sum(
        one.numel() for name, one in learner.detector.backbone.named_parameters() if "conv_offset" in name
    )
    assert added > 0
    for name, value in plain.state_dict().items():
        assert torch.equal(learner.state_dict()[name], value), name
    with torch.no_grad():
        for name, one in learner.named_parameters():
            if "conv_offset" in name:
                one.add_(0.01)
    save_tensors(tmp_path / "weights.safetensors", learner.state_dict(), {})
    other = small_learner(2).eval()
    other.load_state_dict(load_tensors(tmp_path / "weights.safetensors"))
    images, sizes = torch.full((1, 3, 64, 96), 90, dtype=torch.uint8), torch.tensor([[64, 96]])
    learner.eval()
    with torch.no_grad():
        assert torch.equal(other.detector(images, sizes)[0].outputs, learner.detector(images, sizes)[0].outputs)
    with pytest.raises(RuntimeError, match="conv_offset"):
        plain.load_state_dict(learner.state_dict())


def test_offsets_follow_the_rate_of_the_backbone() -> None:
    learner = small_learner(1)
    train = load_recipe("tiny", ["train.backbone_lr=0.1"]).recipe.train
    groups = build_optimizer(learner, train).param_groups
    layers = [module for module in learner.modules() if isinstance(module, DeformableConv2d)]
    ours = {id(one) for layer in layers for one in layer.conv_offset.parameters()}
    scales = {group["scale"] for group in groups for one in group["params"] if id(one) in ours}
    assert ours
    assert scales == {0.1}


@pytest.mark.parametrize(("head", "last"), [(Head(), 6), (Head(conv_bias=False), 6), (Head(group_norm=False), 4)])
def test_the_last_convolution_of_each_tower(head: Head, last: int) -> None:
    torch.manual_seed(3)
    plain = DenseHead(head, classes=3, channels=64, depth=3)
    torch.manual_seed(3)
    net = DenseHead(head, classes=3, channels=64, depth=3, deformable=True)
    layers = [name for name, one in net.named_modules() if isinstance(one, DeformableConv2d)]
    assert layers == [f"class_tower.{last}", f"box_tower.{last}"]
    state = net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())  # biases included
    added = {f"{layer}.conv_offset.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert state.keys() - plain.state_dict().keys() == added
    assert total_parameters(net) - total_parameters(plain) == 2 * (27 * 9 * 64 + 27)


def test_a_recipe_deforms_the_towers_and_their_outputs_depend_on_it() -> None:
    model = load_recipe("tiny", ["model.deformable_towers=true"]).recipe.model
    learner = build_learner(FCOS, {}, model, classes=3, seed=0).eval()
    images, sizes = torch.randint(256, (1, 3, 64, 96), dtype=torch.uint8), torch.tensor([[64, 96]])
    layers = [one for one in learner.modules() if isinstance(one, DeformableConv2d)]
    assert len(layers) == 2
    with torch.no_grad():
        before = learner.detector(images, sizes)[0]
        for layer in layers:
            layer.conv_offset.bias.fill_(1.5)
        after = learner.detector(images, sizes)[0]
    assert not torch.equal(before.outputs, after.outputs)
    assert not torch.equal(before.boxes, after.boxes)


def test_without_towers_there_is_none_to_deform() -> None:
    with pytest.raises(UsageError, match=r"model\.deformable_towers needs a tower"):
        load_recipe("tiny", ["model.deformable_towers=true", "model.towers=0"])


def test_a_record_says_that_a_gpu_adds_in_no_fixed_order() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    with torch.device("meta"):
        plain, net = Backbone("resnet18", "none"), Backbone("resnet18", "none", deformable=1)
    assert unrepeatable(plain, gpu) == unrepeatable(net, cpu) == ()
    (note,) = unrepeatable(net, gpu)
    assert "no fixed order" in note


def test_names_in_other_toolboxes() -> None:
    name = "detector.backbone.stages.3.2.conv2.conv_offset.weight"
    assert theirs(name, MMDET.shared, MMDET.inner) == [("backbone.layer4.2.conv2.conv_offset.weight",)]
    assert theirs(name, DETECTRON2.shared, DETECTRON2.inner) == [("backbone.bottom_up.res5.2.conv2_offset.weight",)]
    kernel = name.replace("conv_offset.", "")
    assert theirs(kernel, DETECTRON2.shared, DETECTRON2.inner) == [("backbone.bottom_up.res5.2.conv2.weight",)]


def test_names_of_towers_in_mmdetection() -> None:
    names = MMDET.shared | MMDET.normed
    for side, theirs_ in (("class", "cls"), ("box", "reg")):
        expected = f"bbox_head.{theirs_}_convs.3.conv.conv_offset.weight"
        assert theirs(f"detector.head.{side}_tower.9.conv_offset.weight", names, MMDET.inner) == [(expected,)]
