"""The transport of all images at once, against Sinkhorn's iterations on the whole matrix of each image."""

import pytest
import torch
from torch import Tensor

from assignbench.core import Priors, Targets, inside_pairs, transport
from assignbench.synthetic import random_problem
from assigners.ota import OTA

FORBIDDEN = 1e6


def whole_plan(cost: Tensor, background: Tensor, supply: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Log of the plan ``[object + 1, location]``, background last, each row by its largest entry."""
    cost = torch.cat((cost, background[None]))
    rows = torch.cat((supply, (cost.shape[1] - supply.sum()).clamp(min=0)[None]))
    u, v = torch.ones_like(rows), torch.ones_like(cost[0])
    for _ in range(iterations):
        v = epsilon * (-((u[:, None] + v - cost) / epsilon).logsumexp(0)) + v
        u = epsilon * ((rows + 1e-8).log() - ((u[:, None] + v - cost) / epsilon).logsumexp(1)) + u
    plan = (u[:, None] + v - cost) / epsilon
    return plan - plan.amax(1, keepdim=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("counts", [(5, 0, 2), (1,), (30, 1)])
def test_transport(seed: int, padded: bool, counts: tuple[int, ...]) -> None:
    problem = random_problem(OTA.head.controlled(), seed=seed, classes=3, counts=counts, height=64, width=96)
    priors: Priors = problem.priors
    if padded:
        priors = priors.padded(torch.tensor([[64, 64]]).repeat(len(counts), 1))
    targets: Targets = problem.targets
    generator = torch.Generator().manual_seed(seed)
    objects, locations = inside_pairs(targets, priors, radius=2.5)
    shared = torch.rand(len(counts), len(priors), generator=generator, dtype=torch.float64)
    cost = 6 * torch.rand(len(objects), generator=generator, dtype=torch.float64) - 1
    supply = torch.randint(1, 4, (len(targets),), generator=generator).double()
    supply *= torch.bincount(objects, minlength=len(targets)) > 0
    share, background = transport(cost, supply, objects, locations, targets, priors, epsilon=0.1, iterations=50)
    for image in range(len(counts)):
        own = ((targets.image == image) & (supply > 0)).nonzero()[:, 0]
        inside = torch.ones(len(priors), dtype=torch.bool) if priors.inside is None else priors.inside[image]
        table = torch.full((len(targets), len(priors)), FORBIDDEN, dtype=torch.float64)
        mine = targets.image[objects] == image
        table[objects[mine], locations[mine]] = cost[mine] + shared[image, locations[mine]]
        plan = torch.full((len(own) + 1, len(priors)), torch.nan, dtype=torch.float64)
        plan[:, inside] = whole_plan(table[own][:, inside], shared[image, inside], supply[own], 0.1, 50)
        row = torch.searchsorted(own, objects[mine])
        torch.testing.assert_close(share[mine], plan[row, locations[mine]], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(background[mine], plan[-1, locations[mine]], rtol=1e-5, atol=1e-5)


def test_without_pairs_there_is_nothing_to_say() -> None:
    problem = random_problem(OTA.head.controlled(), seed=0, classes=3, counts=(0, 0), height=64, width=96)
    nothing = torch.zeros(0, dtype=torch.int64)
    empty = torch.zeros(0)
    for one in transport(empty, empty, nothing, nothing, problem.targets, problem.priors, epsilon=0.1, iterations=3):
        assert one.shape == (0,)
