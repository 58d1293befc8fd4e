"""Batch norm whose statistics are those of the global batch.

torch's SyncBatchNorm works on GPUs only; processes on CPUs get the same arithmetic from torch's kernels for one process
and sums of a few numbers a channel, so that a run means the same on two CPU processes as on one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from accelerate import Accelerator
from torch import Tensor, nn

from assignbench.run.training.learner import Learner

EVERYTHING = [True, True, True]  # gradients that are asked for: input, weight, bias


class CPUSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over all processes, for tensors on the CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As `nn.BatchNorm2d`; in training every process must take part."""
        if not self.training:
            return super().forward(input)
        output, mean, variance, total = _Normalise.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            momentum = self.momentum or 0.0
            assert self.running_mean is not None  # noqa: S101 - for the type checker: statistics are tracked
            assert self.running_var is not None  # noqa: S101
            assert self.num_batches_tracked is not None  # noqa: S101
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), momentum)
            self.num_batches_tracked.add_(1)
        return output


class _Normalise(torch.autograd.Function):
    """Input, weight, bias → output, and mean, variance and count of the global batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        _, mean, inverse, *_ = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        mean, variance = mean.double(), inverse.double().pow(-2) - eps
        count = mean.new_tensor([x.numel() // x.shape[1]])
        sums = summed(torch.cat((count * mean, count * (variance + mean.square()), count)))
        total = sums[-1]
        mean, square = (sums[:-1] / total).chunk(2)
        mean, variance = mean.to(weight.dtype), (square - mean.square()).clamp(min=0).to(weight.dtype)
        output, *_ = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.total = eps, total
        ctx.mark_non_differentiable(mean, variance, total)
        return output, mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance = ctx.saved_tensors
        inverse = (variance + ctx.eps).rsqrt()
        # as if mean and variance were constants …
        plain, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, mean, inverse, False, ctx.eps, EVERYTHING
        )
        # … and what comes back through them: −w/σ · (mean of g + x̂ · mean of g x̂), itself like a batch norm of x
        slope, constant = (summed(torch.cat((of_weight, of_bias)).double()) / ctx.total).to(weight.dtype).chunk(2)
        factor = -weight * inverse
        through, *_ = torch.native_batch_norm(
            x, factor * inverse * slope, factor * constant, mean, torch.ones_like(mean), False, 0.0, 0.0
        )
        return plain.add_(through), of_weight, of_bias, None


def summed(values: Tensor) -> Tensor:
    """Sum over processes."""
    torch.distributed.all_reduce(values)
    return values


def synchronise_batch_norm(learner: Learner, accelerator: Accelerator) -> None:
    """Make trained batch norms share their statistics when there are several processes."""
    if accelerator.num_processes == 1:
        return
    if accelerator.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(learner)  # in place: the learner itself is no batch norm
        return
    for module in learner.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = CPUSyncBatchNorm
