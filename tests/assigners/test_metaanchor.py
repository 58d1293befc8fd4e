"""MetaAnchor: RetinaNet's pairs, kernels that depend on the prior, and draws that depend on seed and progress alone."""

import math

import pytest
import torch

from assignbench.core import Setting, assign
from assignbench.core.priors import pyramid_priors
from assignbench.detector.generated import GeneratedHead, drawn, mixed
from assignbench.detector.networks import head_network
from assignbench.synthetic import random_problem
from assigners.metaanchor import MetaAnchor
from assigners.retinanet import RetinaNet

MAPS = ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))


def pyramid_of(seed: int, images: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(images, 16, *size, generator=generator) for size in MAPS)


def network_of(**options: float) -> GeneratedHead:
    torch.manual_seed(0)
    assigner = MetaAnchor(Setting(classes=3), **options)  # type: ignore[arg-type]
    network = head_network(assigner.head.controlled(), 3, 16, 1, deformable=False)
    assert isinstance(network, GeneratedHead)
    return network


@pytest.mark.parametrize("seed", range(4))
def test_its_pairs_are_retinanets(seed: int) -> None:
    problem = random_problem(MetaAnchor.head.controlled(), seed=seed, classes=3, counts=(9, 0, 30))
    mine, theirs = (assign(cls(Setting(classes=3)), problem.view()) for cls in (MetaAnchor, RetinaNet))
    assert torch.equal(mine.pairs.object, theirs.pairs.object)
    assert torch.equal(mine.pairs.location, theirs.pairs.location)
    assert mine.ignored is not None
    assert theirs.ignored is not None
    assert torch.equal(mine.ignored, theirs.ignored)
    assert mine.normalisers == theirs.normalisers


def test_anchors_are_drawn_in_training_and_are_a_function_of_seed_and_progress() -> None:
    network, priors = network_of(), pyramid_priors(MetaAnchor.head.controlled(), 64, 96)
    with torch.no_grad():
        first, later, again = (network(pyramid_of(0), priors, progress).priors for progress in (0.2, 0.2 + 1e-6, 0.2))
        assert torch.equal(first, again)
        assert not torch.equal(first, later)
        assert torch.equal(first, network(pyramid_of(1), priors, 0.2).priors)
        assert torch.equal(first[:1], network(pyramid_of(2, images=1), priors, 0.2).priors)
        network.key += 1
        assert not torch.equal(first, network(pyramid_of(0), priors, 0.2).priors)
        ratio = (first[0, :, 2:] - first[0, :, :2]) / (priors.boxes[:, 2:] - priors.boxes[:, :2])
        assert ratio.log2().abs().max() <= 0.5 + 1e-4
        assert len(ratio.log2().mul(1e3).round().unique()) > 9
        network.eval()
        assert network(pyramid_of(0), priors).priors is None
        assert network_of(spread=0.0)(pyramid_of(0), priors).priors is None


def test_a_kernel_is_the_formula() -> None:
    network, priors = network_of(hidden=4), pyramid_priors(MetaAnchor.head.controlled(), 64, 96)
    network.eval()
    pyramid = pyramid_of(0)
    with torch.no_grad():
        raw = network(pyramid, priors)
        layer = network.class_output
        features = network.class_tower(pyramid[4])
        start = len(priors) - 9
        for anchor in range(9):
            width, height = ((priors.boxes[start + anchor, 2:] - priors.boxes[start + anchor, :2]) / 128).tolist()
            code = torch.tensor([math.log(height / 2.5), math.log(width / 2.5)])
            hidden = (layer.first.weight @ code + layer.first.bias).clamp(min=0)
            kernel = layer.shared.weight + (layer.second.weight @ hidden).view_as(layer.shared.weight)
            wanted = torch.nn.functional.conv2d(features, kernel, layer.shared.bias, padding=1)[:, :, 0, 0]
            torch.testing.assert_close(raw.logits[:, start + anchor], wanted, rtol=1e-4, atol=1e-5)


def test_draws_are_splitmix64_and_uniform() -> None:
    assert [number % (1 << 64) for number in mixed(torch.tensor([1, 2])).tolist()] == [slow(1), slow(2)]
    numbers = torch.stack([drawn(7, step / 500, torch.zeros(9, 2)) for step in range(500)])
    assert numbers.mean().item() == pytest.approx(0.5, abs=0.02)
    assert numbers.std().item() == pytest.approx(12**-0.5, abs=0.02)
    assert (numbers >= 0).all()
    assert (numbers < 1).all()


def slow(number: int) -> int:
    z = number * 0x9E3779B97F4A7C15 % (1 << 64)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % (1 << 64)
    return z ^ (z >> 31)


@pytest.mark.parametrize("options", [{"hidden": 0}, {"spread": -1.0}, {"positive_iou": 0.3}, {"background_iou": 0.0}])
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|does not hold"):
        MetaAnchor(Setting(classes=3), **options)  # type: ignore[arg-type]
