"""The logarithm of a Gaussian around each object, with its gradient in one pass: autograd takes three times as long.

log G = −Σ_xy d² / 2 with d = (offset − μ) / σ;   ∂/∂μ = Σ_pairs d / σ;   ∂/∂σ = Σ_pairs d² / σ
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from assignbench.core.geometry import pick
from assignbench.core.tensors import once_differentiable


def log_gaussian(offset: Tensor, mu: Tensor, sigma: Tensor, objects: Tensor) -> Tensor:
    """Log G of each pair: ``[pair, 2], [object, 2], [object, 2], [pair] → [pair]``.

    It can be differentiated once, by μ and σ.

    Args:
        offset: x and y, without gradient.
        mu: of each object.
        sigma: of each object, positive; infinite: G = 1.
        objects: of each pair.
    """
    return _LogGaussian.apply(offset.detach(), mu, sigma, objects)


class _LogGaussian(Function):
    """See `log_gaussian`."""

    @staticmethod
    def forward(ctx: Any, offset: Tensor, mu: Tensor, sigma: Tensor, objects: Tensor) -> Tensor:
        axes = zip(offset.unbind(1), mu.unbind(1), (1 / sigma).unbind(1), strict=True)
        x, y = (torch.sub(each, pick(m, objects)).mul_(pick(s, objects)) for each, m, s in axes)
        ctx.save_for_backward(x, y, sigma, objects)
        return x.square().addcmul_(y, y).mul_(-0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, y, sigma, objects = ctx.saved_tensors
        by_mu, by_sigma = torch.zeros_like(sigma), torch.zeros_like(sigma)
        for axis, d in enumerate((x, y)):
            part = gradients[0] * d
            by_mu[:, axis].index_add_(0, objects, part)
            by_sigma[:, axis].index_add_(0, objects, part.mul_(d))
        return None, by_mu.div_(sigma), by_sigma.div_(sigma), None
