"""The logarithm of a Gaussian and its gradient, against autograd through the formula."""

import pytest
import torch
from torch import Tensor

from assignbench.core import log_gaussian


def plain(offset: Tensor, mu: Tensor, sigma: Tensor, objects: Tensor) -> Tensor:
    return -((offset - mu[objects]) / sigma[objects]).square().sum(-1) / 2


@pytest.mark.parametrize("pairs", [0, 1, 200])
def test_as_the_formula(pairs: int) -> None:
    generator = torch.Generator().manual_seed(pairs)
    offset, grade = (torch.randn(pairs, *tail, generator=generator, dtype=torch.float64) for tail in ((2,), ()))
    objects = torch.randint(9, (pairs,), generator=generator)
    mu = torch.randn(9, 2, generator=generator, dtype=torch.float64).requires_grad_()
    sigma = (torch.rand(9, 2, generator=generator, dtype=torch.float64) + 0.1).requires_grad_()
    for first, second in ((mu, sigma), (mu, sigma.detach()), (mu.detach(), sigma)):
        learned = [each for each in (first, second) if each.requires_grad]
        found, want = (each(offset, first, second, objects) for each in (log_gaussian, plain))
        torch.testing.assert_close(found, want)
        slopes = (torch.autograd.grad(each, learned, grade) for each in (found, want))
        torch.testing.assert_close(*slopes)


def test_an_infinite_width_is_1_everywhere() -> None:
    wide, objects = torch.full((1, 2), float("inf")), torch.tensor([0, 0])
    assert log_gaussian(torch.tensor([[3.0, -4.0], [1e30, 0.0]]), torch.zeros(1, 2), wide, objects).eq(0).all()
