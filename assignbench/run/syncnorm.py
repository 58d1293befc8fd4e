"""Batch norm whose statistics are those of the global batch.

torch's SyncBatchNorm works on GPUs only; processes on CPUs get the same arithmetic through differentiable
collectives, so that a run means the same on two CPU processes as on one.
"""

from __future__ import annotations

import torch
import torch.distributed
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from assignbench.run.learner import Learner


class CPUSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over all processes, for tensors on the CPU."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As `nn.BatchNorm2d`; in training every process must take part."""
        if not self.training:
            return super().forward(input)
        count = input.new_tensor([float(input.numel() // input.shape[1])])
        sums = torch.cat((input.sum((0, 2, 3)), input.square().sum((0, 2, 3)), count))
        sums = all_reduce(sums)
        total = sums[-1].detach()
        mean, square = (sums[:-1] / total).chunk(2)
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            momentum = self.momentum or 0.0
            assert self.running_mean is not None  # noqa: S101 - for the type checker: statistics are tracked
            assert self.running_var is not None  # noqa: S101
            assert self.num_batches_tracked is not None  # noqa: S101
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return input * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]


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
