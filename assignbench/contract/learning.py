"""What learns: parameters that no optimizer sees, gradients that never come, and the networks that heads make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from assignbench.contract.comparison import require
from assignbench.core import Head, Setting
from assignbench.core.head import MAIN
from assignbench.core.priors import pyramid_priors
from assignbench.detector.detector import put_out
from assignbench.detector.networks import head_network
from assignbench.synthetic import Problem


def finite_gradients(
    losses: Mapping[str, Tensor], outputs: Mapping[str, Tensor], modules: Mapping[str, nn.Module]
) -> None:
    """Losses and all gradients are finite, and every output and every parameter of the modules has one."""
    for name, value in losses.items():
        require(bool(value.isfinite()), f"loss {name} is {value.item()}")
    leaves = dict(outputs)
    for owner, module in modules.items():
        trained = {name: one for name, one in module.named_parameters() if one.requires_grad}
        leaves |= {f"parameter {name} of {owner}": one for name, one in trained.items()}
    if not leaves:
        return
    total = torch.stack(list(losses.values())).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        require(gradient is not None, f"{name} has no gradient: processes would wait for it")
        require(gradient is None or bool(gradient.isfinite().all()), f"the gradient of {name} is not finite")


def unseen_parameters(module: nn.Module) -> list[str]:
    """Parameters that a module keeps where torch does not look for them, as in a list: their names."""
    seen = {id(parameter) for parameter in module.parameters()}
    found = []
    for prefix, part in module.named_modules():
        own = {name: value for name, value in vars(part).items() if name not in ("_parameters", "_modules", "_buffers")}
        for name, value in leaves_in(own):
            kept = value.parameters() if isinstance(value, nn.Module) else (value,)
            if any(one.requires_grad and one.is_leaf and id(one) not in seen for one in kept):
                found.append(f"{prefix}.{name}" if prefix else name)
    return found


def leaves_in(held: Any, name: str = "") -> Iterator[tuple[str, Tensor | nn.Module]]:
    """Tensors and modules in lists, tuples and dictionaries, with their names: ``scales[0]``."""
    if isinstance(held, Tensor | nn.Module):
        yield name, held
    elif isinstance(held, Mapping):
        for key, value in held.items():
            yield from leaves_in(value, f"{name}[{key!r}]" if name else str(key))
    elif isinstance(held, Sequence) and not isinstance(held, str | bytes):
        for index, value in enumerate(held):
            yield from leaves_in(value, f"{name}[{index}]")


def networks_of(head: Head, setting: Setting) -> nn.ModuleDict:
    """The networks of a head and of its branches, with one convolution in each tower."""
    own = {MAIN: head, **{branch.name: branch.head for branch in head.beside if branch.head is not None}}
    return nn.ModuleDict(
        {name: head_network(one, setting.classes, setting.channels, 1, deformable=False) for name, one in own.items()}
    )


def put_out_by(networks: nn.ModuleDict, problem: Problem, progress: float = 0.0) -> Problem:
    """The problem with what networks put out for its pyramid in place of its own outputs."""

    def seen(one: Problem, network: nn.Module) -> Problem:
        height, width = (8 * side for side in problem.pyramid[0].shape[-2:])
        priors = pyramid_priors(one.head, height, width)
        raw = put_out(network, one.head, problem.pyramid, priors, progress)
        return replace(one, raw=raw, priors=priors if raw.priors is None else priors.predicted(raw.priors))

    main = seen(problem, networks[MAIN])
    beside = {
        name: seen(one, networks[name]) if name in networks else replace(main, beside={})
        for name, one in problem.beside.items()
    }
    return replace(main, beside=beside)


def images_are_apart(networks: nn.ModuleDict, problem: Problem, progress: float) -> None:
    """What networks put out for an image, and the priors they draw, do not depend on the rest of the batch.

    Batch norm is in its mode of evaluation: that it mixes the images of a batch is what it is for.
    """
    for part in networks.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    with torch.no_grad():
        whole = put_out_by(networks, problem, progress)
        for image in range(problem.targets.images):
            alone = put_out_by(networks, problem.of_image(image), progress)
            for branch in networks:
                ours, theirs = whole.of_branch(branch), alone.of_branch(branch)
                pairs = {
                    "logits": (ours.raw.logits, theirs.raw.logits),
                    "regression": (ours.raw.regression, theirs.raw.regression),
                    **{f"extras[{name!r}]": (one, theirs.raw.extras[name]) for name, one in ours.raw.extras.items()},
                }
                if ours.raw.priors is not None and theirs.raw.priors is not None:
                    pairs["priors"] = (ours.raw.priors, theirs.raw.priors)
                for name, (of_batch, of_image) in pairs.items():
                    near = torch.allclose(of_batch[image], of_image[0], rtol=1e-3, atol=1e-4)
                    require(near, f"{name} of branch {branch} differ for image {image}, in a batch and alone")
