"""torch.compile for the network of a training, and what to do where it does not work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from assignbench.detector.detector import Detector
from assignbench.errors import SystemProblem, UsageError
from assignbench.run.training.batch_norm import CPUSyncBatchNorm
from assignbench.run.training.surroundings import REFUSED_WITH_COMPILE, refuse

# Compiled code holds for one size of image, then for any; but the compiler makes decisions by size (how a sum is
# taken, say), so that a few more are needed. Beyond this many torch gives up, which is an error here.
VARIANTS = 32


def compile_network(detector: Detector) -> None:
    """Let training compute backbone, pyramid and head as one compiled function; names of tensors stay as they are.

    Compiled at the first batch; at the second size of image once more, for any size. Evaluation is not compiled:
    its results must not depend on a compiler. Nor are strategies and losses.

    Raises:
        UsageError: processes share the statistics of batch norm, which cannot be compiled, or a variable tells the
            compiler otherwise.
    """
    refuse(os.environ, REFUSED_WITH_COMPILE)
    if any(isinstance(module, nn.SyncBatchNorm | CPUSyncBatchNorm) for module in detector.modules()):
        raise UsageError(
            "train.compile = true does not go with several processes and model.weights = none: "
            "their batch norm talks to the other processes in the middle of the network; set train.compile=false"
        )
    if detector.spec.make is not None:
        raise UsageError(
            "train.compile = true does not go with a strategy that makes the network of its own head; "
            "set train.compile=false"
        )
    from torch import _dynamo  # late: takes seconds

    torch.compiler.reset()  # the limit is on all networks that this process has compiled
    _dynamo.config.recompile_limit = VARIANTS
    detector.compiled = torch.compile(detector.network, fullgraph=True)


@contextmanager
def compiler_advice(asked: bool) -> Iterator[None]:
    """Say what to change where torch was asked to compile, and cannot.

    Raises:
        SystemProblem: in place of torch's error.
    """
    try:
        yield
    except Exception as error:
        if not (asked and from_compiler(error)):
            raise
        cause = getattr(error, "inner_exception", None) or error.__cause__ or error
        reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        raise SystemProblem(
            f"torch cannot compile the network on this machine: {reason}\n"
            "install a C++ compiler that torch finds (g++, or CXX=…), or set train.compile=false"
        ) from error


def from_compiler(error: Exception) -> bool:
    """Whether torch's compiler raised it: not the network that it compiled."""
    from torch._dynamo import exc

    return isinstance(error, exc.TorchDynamoException | exc.FailOnRecompileLimitHit)
