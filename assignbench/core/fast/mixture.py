"""Two normal distributions fitted to the numbers of each group, all groups at once.

    f(x) = Σ_c w_c N(x; m_c, v_c),  c = 0, 1           start: w = ½, m = (min x, max x), v = 1
    E      r_c(x) = w_c N(x; m_c, v_c) / f(x)
    M      n_c = Σ r_c + 10 ε,  w_c = n_c / (n_0 + n_1),  m_c = Σ r_c x / n_c,  v_c = Σ r_c x² / n_c − m_c² + 10⁻⁶
    end    when the mean of log f over the group changes by less than 10⁻³, or after 100 steps

These are scikit-learn's rules for a `GaussianMixture` of two one-dimensional components. All is computed in float64,
whatever the numbers are: in float32 the densities of near values change places, and with them what is easy. ε is
float64's. The variance is summed from distances to the mean, which is the same number without its cancellation: no
variance can come out negative. A group is a row of a matrix and stops for itself, so that it gets what it gets alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEPS = 100
CHANGE = 1e-3  # of the mean log f
LEAST_VARIANCE = 1e-6
LOOKS = 5  # steps between two looks which groups go on: each look makes the host wait for a GPU


@torch.no_grad()
def two_gaussians(values: Tensor, group: Tensor, groups: int, most: int) -> tuple[Tensor, Tensor]:
    """Which values belong to the first component, and log f of each: bool ``[pair]`` and float64 ``[pair]``.

    The first component starts at the group's least value. A value with r_0 = r_1 belongs to it.

    Args:
        values: finite numbers, ``[pair]``.
        group: of each value, in ascending order: ``[pair]``.
        groups: their number.
        most: values of a group at most.
    """
    count = group.new_zeros(groups).index_add(0, group, torch.ones_like(group))
    rank = torch.arange(len(group), device=group.device) - (count.cumsum(0) - count)[group]
    place = group * most + rank
    x = values.new_zeros(groups * most, dtype=torch.float64).index_copy(0, place, values.double()).view(groups, most)
    valid = torch.arange(most, device=group.device) < count[:, None]
    joint = _fitted(x, valid, count.clamp(min=1))
    low = joint[0] >= joint[1]
    return low.view(-1).index_select(0, place), joint.logsumexp(0).view(-1).index_select(0, place)


def _fitted(x: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """Log w_c N(x; m_c, v_c) after the fit: ``[group, value] → [component, group, value]``."""
    ends = x.masked_fill(~valid, math.inf).amin(1), x.masked_fill(~valid, -math.inf).amax(1)
    mean = torch.stack(ends).nan_to_num(posinf=0.0, neginf=0.0)  # [component, group]; 0 in a group without values
    share, variance = torch.full_like(mean, 0.5), torch.ones_like(mean)
    bound = torch.full_like(mean[0], -math.inf)
    going = torch.ones_like(bound, dtype=torch.bool)
    little = 10 * torch.finfo(x.dtype).eps
    ended = torch.stack((share, mean, variance))  # of all groups; those that go on are taken out of it
    rows = torch.arange(len(x), device=x.device)
    every = x
    for step in range(STEPS):
        if step % LOOKS == LOOKS - 1:
            ended[:, :, rows] = torch.stack((share, mean, variance))
            on = going.nonzero()[:, 0]
            rows, x, valid, count, bound, going = (one[on] for one in (rows, x, valid, count, bound, going))
            share, mean, variance = ended[:, :, rows]
            if not len(rows):
                break
        joint = _joint(x, share, mean, variance)
        density = joint.logsumexp(0)
        belongs = (joint - density).exp() * valid
        mass = belongs.sum(-1) + little
        center = (belongs * x).sum(-1) / mass
        spread = (belongs * (x - center[..., None]).square()).sum(-1) + little * center.square()
        share = torch.where(going, mass / mass.sum(0), share)
        mean = torch.where(going, center, mean)
        variance = torch.where(going, spread / mass + LEAST_VARIANCE, variance)
        before, bound = bound, (density * valid).sum(-1) / count
        going = going & ((bound - before).abs() >= CHANGE)
    ended[:, :, rows] = torch.stack((share, mean, variance))
    return _joint(every, *ended)


def _joint(x: Tensor, share: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log w_c N(x; m_c, v_c): ``[component, group, value]``."""
    distance = (x - mean[..., None]).square() / variance[..., None]
    return (share.log() - 0.5 * (2 * math.pi * variance).log())[..., None] - 0.5 * distance
