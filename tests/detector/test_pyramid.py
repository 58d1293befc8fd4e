"""The feature pyramid: what P6 and P7 are computed from, and how its weights start."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assignbench.detector.pyramid import Pyramid

WIDTHS = (6, 12, 24)


@pytest.fixture
def maps() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = zip(WIDTHS, ((8, 10), (4, 5), (2, 3)), strict=True)
    return tuple(torch.randn(1, width, *size, generator=generator) for width, size in sizes)


@pytest.mark.parametrize("form", ["p5_relu", "p5_plain", "c5_relu", "c5_plain"])
def test_what_p6_and_p7_see(maps: tuple[Tensor, ...], form: str) -> None:
    torch.manual_seed(0)
    pyramid = Pyramid(WIDTHS, 32, form)
    with torch.no_grad():
        levels = pyramid(maps)
        source = maps[-1] if form.startswith("c5") else levels[2]
        p6 = F.conv2d(source, pyramid.p6.weight, pyramid.p6.bias, stride=2, padding=1)
        assert bool((p6 < 0).any())  # or the activation could not be seen
        before = p6.relu() if form.endswith("relu") else p6
        p7 = F.conv2d(before, pyramid.p7.weight, pyramid.p7.bias, stride=2, padding=1)
    torch.testing.assert_close(levels[3], p6)
    torch.testing.assert_close(levels[4], p7)


def test_the_default_is_p5_with_an_activation(maps: tuple[Tensor, ...]) -> None:
    torch.manual_seed(0)
    default = Pyramid(WIDTHS, 32)
    torch.manual_seed(0)
    named = Pyramid(WIDTHS, 32, "p5_relu", "kaiming")
    for one, other in zip(default(maps), named(maps), strict=True):
        assert torch.equal(one, other)


def test_coarse_levels_are_added_to_fine_ones(maps: tuple[Tensor, ...]) -> None:
    pyramid = Pyramid(WIDTHS, 32)
    with torch.no_grad():
        for layer in (*pyramid.lateral, *pyramid.smooth):
            layer.weight.zero_()
        pyramid.lateral[2].bias.fill_(1.0)
        pyramid.lateral[0].bias.fill_(0.25)
        for layer in pyramid.smooth:
            layer.weight[:, :, 1, 1] = torch.eye(32)
        levels = pyramid(maps)
    assert [level.unique().tolist() for level in levels[:3]] == [[1.25], [1.0], [1.0]]


@pytest.mark.parametrize("form", ["p5_relu", "c5_relu"])
def test_initial_weights_are_uniform_with_the_bound_that_was_asked_for(form: str) -> None:
    for init in ("kaiming", "xavier"):
        torch.manual_seed(0)
        for layer in (one for one in Pyramid((64, 96, 128), 64, form, init).modules() if isinstance(one, nn.Conv2d)):
            fan_in, fan_out = layer.weight[0].numel(), layer.weight[:, 0].numel()
            # He's bound with a = 1 is √(3 / fan in), Glorot's √(6 / (fan in + fan out))
            bound = (3 / fan_in) ** 0.5 if init == "kaiming" else (6 / (fan_in + fan_out)) ** 0.5
            largest = layer.weight.detach().abs().max().item()
            assert 0.99 * bound < largest <= bound * (1 + 1e-6)
            assert layer.bias is not None
            assert not layer.bias.any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 1), (1, 2), (3, 3)])
def test_gradients_of_narrow_maps_in_bf16(height: int, width: int) -> None:
    torch.manual_seed(0)
    pyramid = Pyramid((8, 8, 8), 32).to(memory_format=torch.channels_last)
    maps = [torch.randn(2, 8, height * scale, width * scale) for scale in (4, 2, 1)]

    def gradients(precision: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision):
            levels = pyramid(tuple(x.contiguous(memory_format=torch.channels_last) for x in maps))
        loss = torch.stack([level.float().square().sum() for level in levels]).sum()
        return list(torch.autograd.grad(loss, (pyramid.p6.weight, pyramid.p7.weight)))

    junk = [torch.full((1 << size,), float("nan")) for size in range(8, 20)]
    del junk  # what is not written to is found out by what it holds
    for coarse, fine in zip(gradients(precision=True), gradients(precision=False), strict=True):
        torch.testing.assert_close(coarse, fine, rtol=0.1, atol=0.1 * fine.abs().max().item())


ALL = {*(f"{part}.{level}" for part in ("lateral", "smooth") for level in range(3)), "p6", "p7"}


@pytest.mark.parametrize(
    ("form", "levels", "frozen"),
    [
        ("p5_relu", (0, 1, 2, 3, 4), set()),
        ("c5_plain", (0, 1, 2, 3, 4), set()),
        ("p5_relu", (2,), {"lateral.0", "lateral.1", "smooth.0", "smooth.1", "p6", "p7"}),
        ("p5_relu", (0,), {"smooth.1", "smooth.2", "p6", "p7"}),
        ("p5_relu", (3,), ALL - {"lateral.2", "smooth.2", "p6"}),
        ("c5_relu", (4,), ALL - {"p6", "p7"}),
        ("c5_relu", (1, 4), {"lateral.0", "smooth.0", "smooth.2"}),
    ],
)
def test_what_no_level_is_made_of_is_frozen(
    maps: tuple[Tensor, ...], form: str, levels: tuple[int, ...], frozen: set[str]
) -> None:
    pyramid = Pyramid(tuple(one.shape[1] for one in maps), 32, form)
    pyramid.learn_only(levels)
    every = pyramid(maps)
    torch.stack([every[level].sum() for level in levels]).sum().backward()
    for name, parameter in pyramid.named_parameters():
        part = name.rpartition(".")[0]
        assert parameter.requires_grad == (part not in frozen), name
        assert (parameter.grad is not None) == (part not in frozen), name
