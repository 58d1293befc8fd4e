"""The networks of heads: the one that all share, a strategy's own, or one of those that are here by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from assignbench.core import Head
from assignbench.core.parts import Network
from assignbench.detector.generated import GeneratedHead
from assignbench.detector.guided import GuidedHead
from assignbench.detector.head import DenseHead
from assignbench.detector.refined import RefinedHead
from assignbench.detector.task_aligned import TaskAlignedHead

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "generated": GeneratedHead,
    "guided": GuidedHead,
    "refined": RefinedHead,
    "task_aligned": TaskAlignedHead,
}


def head_network(head: Head, classes: int, channels: int, depth: int, *, deformable: bool) -> nn.Module:
    """The network of a head: the strategy's own where it makes one, else `DenseHead`."""
    if isinstance(head.make, Network):
        return NETWORKS[head.make.name](head, classes, channels, depth, **dict(head.make.numbers))
    if head.make is not None:
        return head.make(head, classes, channels, depth)
    return DenseHead(head, classes, channels, depth, deformable=deformable)
