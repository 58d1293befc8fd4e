"""Entropic optimal transport between objects and locations by Sinkhorn's iterations, of all images in one go.

    minimise   Σ c_nj π_nj + ε Σ π_nj log π_nj      with row sums s_n, background s_0 = J − Σ s_n, and column sums 1

In log domain, log π_nj = (u_n + v_j − c_nj) / ε, from u = 0; columns are met first, then rows, as often as asked:

    v_j = −ε log Σ_n exp((u_n − c_nj) / ε)          over the objects that have a pair with j, and background
    u_n = ε log s_n − ε log Σ_j exp((v_j − c_nj) / ε)

What all entries of a column have in common changes no plan: v takes it up. So costs are told as what a pair costs
beyond being background there, which itself costs 0. A location without any pair then gives all to the background, and
what the many of them add to its sum is their number. So an iteration costs as much as there are pairs, and no matrix
is made.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assignbench.core.matching import max_by, sum_by
from assignbench.core.types import Priors, Targets

LEAST = 1e-8  # supply whose logarithm stands for that of none


@torch.no_grad()
def transport(
    cost: Tensor,
    supply: Tensor,
    objects: Tensor,
    locations: Tensor,
    targets: Targets,
    priors: Priors,
    *,
    epsilon: float,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Log of the plan, of each object and of background relative to its own largest entry: ``[pair]`` each.

    The first is the object's at the location, the second the background's there: where it is larger, the location is
    background. A GPU is not waited for.

    Args:
        cost: of the object at the location, less that of background there: ``[pair]``.
        supply: s, ``[object]``; 0 of an object without any pair.
        objects: ``[pair]``.
        locations: ``[pair]``.
        targets: the objects.
        priors: the locations; J of an image counts those that are not in its padding.
        epsilon: ε.
        iterations: at least 1.
    """
    images, owner = targets.images, targets.image[objects]
    column, image, taken = columns(owner * len(priors) + locations, owner)
    every = cost.new_full((images,), float(len(priors))) if priors.inside is None else priors.inside.sum(1).to(cost)
    alone = (every - sum_by(taken.to(cost.dtype), image, images)).log()  # of the number of locations without a pair
    rest = (every - sum_by(supply, targets.image, images)).clamp(min=LEAST).log()
    supply, scaled = supply.clamp(min=LEAST).log(), cost / epsilon

    u, u_rest, v, v_alone = torch.zeros_like(supply), torch.zeros_like(rest), scaled, rest  # all by ε
    for _ in range(iterations):
        v_alone = -u_rest
        v = -log_sum_by(u[objects] - scaled, column, u_rest[image])
        v = v.where(taken, -torch.inf)
        u = supply - log_sum_by(v[column] - scaled, objects, torch.full_like(u, -torch.inf))
        u_rest = rest - log_sum_by(v, image, alone + v_alone)

    own, background = v[column] - scaled, v[column]
    most = max_by(own, objects, len(targets))
    most_rest = torch.maximum(max_by(v, image, images), v_alone.where(alone >= 0, -torch.inf))
    return own - most[objects], background - most_rest[owner]


def columns(place: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers for the places that occur: ``[pair]`` → of each pair, and of each number its image and whether it occurs.

    As many numbers as pairs, so that none has to be counted; ``[pair]`` each.
    """
    ordered, order = place.sort()
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    column = torch.zeros_like(place).scatter(0, order, fresh.long().cumsum(0) - 1)
    taken = torch.zeros_like(fresh).scatter(0, column, torch.ones_like(fresh))
    return column, torch.zeros_like(image).scatter(0, column, image), taken


def log_sum_by(values: Tensor, group: Tensor, also: Tensor) -> Tensor:
    """Logarithm of Σ exp of each group's values and one more of its own: ``[entry], [entry], [group] → [group]``."""
    largest = torch.maximum(max_by(values, group, len(also)), also)
    largest = largest.where(largest > -torch.inf, 0.0)
    return largest + (sum_by((values - largest[group]).exp(), group, len(also)) + (also - largest).exp()).log()
