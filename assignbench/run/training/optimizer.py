"""Learning rate and parameter groups, as pure functions of the recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from assignbench.recipe import TrainSettings
from assignbench.run.training.learner import Learner

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


def learning_rate(iteration: int, train: TrainSettings) -> float:
    """Rate of an iteration, counted from 0: linear warm-up, then steps or half a cosine down to 0."""
    if iteration < train.warmup:
        progress = iteration / train.warmup
        return train.lr * (train.warmup_start + (1 - train.warmup_start) * progress)
    if train.schedule == "step":
        return train.lr * train.gamma ** sum(iteration >= step for step in train.steps)
    progress = (iteration - train.warmup) / max(1, train.iterations - train.warmup)
    return train.lr * (1 + math.cos(math.pi * progress)) / 2


def build_optimizer(learner: Learner, train: TrainSettings) -> Optimizer:
    """SGD or AdamW over groups that carry a multiple of the rate (``scale``) and their own decay.

    Groups: backbone (rate × ``backbone_lr``), the rest of the detector, the strategy's own parameters (rate ×
    ``strategy_lr``, decayed like weights, as AutoAssign's released code does); of the first two, biases and norm
    layers as ``bias_lr``, ``bias_decay`` and ``norm_decay`` say.
    """
    norms = {
        id(parameter)
        for module in learner.modules()
        if isinstance(module, NORMS)
        for parameter in module.parameters(recurse=False)
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            norm, bias = id(parameter) in norms, name.endswith(".bias")
            scale = train.bias_lr if bias and not norm else 1.0
            if name.startswith("detector.backbone."):
                scale *= train.backbone_lr
            elif name.startswith("assigner."):
                scale = train.strategy_lr
            decays = (train.norm_decay or not norm) and (train.bias_decay or not bias)
            groups.setdefault((scale, decays), []).append(parameter)
    listed = [
        {"params": parameters, "scale": scale, "weight_decay": train.weight_decay if decays else 0.0}
        for (scale, decays), parameters in groups.items()
    ]
    return update_rule(listed, train)


def update_rule(groups: Sequence[Mapping[str, Any]], train: TrainSettings) -> Optimizer:
    """SGD or AdamW over groups of parameters; fused, one pass for gradient, state and parameter, where that works."""
    fused = all(fusable(parameter) for group in groups for parameter in group["params"]) or None
    listed = [dict(group) for group in groups]
    if train.optimizer == "sgd":
        return torch.optim.SGD(listed, lr=train.lr, momentum=train.momentum, fused=fused)
    return torch.optim.AdamW(listed, lr=train.lr, betas=(train.momentum, 0.999), fused=fused)


def fusable(parameter: Tensor) -> bool:
    """Whether torch's fused optimizers handle it: they walk memory, not indices, so it must lie there without gaps."""
    dense = torch.empty_like(parameter, device="meta").stride() == parameter.stride()
    return dense and parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda")


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group its multiple of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
