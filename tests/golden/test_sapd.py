"""SAPD against another reading of its formulas, made independently: there is no reference implementation.

The files lie beside the golden vectors, as `readings/sapd`. What stands for the selection network there is given.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from assignbench.core import Setting, Targets
from assignbench.core.pair_view import PairView
from assignbench.detector.head import flatten
from assignbench.golden.checks import GRADIENT, LOSS, relative
from assignbench.golden.losses import compare, run
from assignbench.golden.reference import Origin
from assignbench.golden.vectors import Tensors, read_tensors, targets_of
from assignbench.run.matrix.protocol import protocol_of
from assigners.sapd import SAPD, selection_cost

CASES = [f"{phase}{case}" for phase in ("", "soft_") for case in ("typical", "one_empty", "tiny", "overlap")]


class Given(nn.Module):
    """Puts out what the file says."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, features: Tensor) -> Tensor:
        assert len(features) == len(self.logits)
        return self.logits


class Chosen(SAPD):
    """SAPD whose selection network is a table, and which keeps what it found."""

    given: Tensor
    losses: Tensor
    cost: Tensor

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.selection = nn.Sequential(Given(type(self).given))

    def level_loss(self, pair: PairView) -> Tensor:
        found = super().level_loss(pair)
        type(self).losses = found
        return found


@pytest.fixture
def file(request: pytest.FixtureRequest, shared: Path) -> Iterator[Tensors]:
    path = shared / "readings" / "sapd" / f"{request.param}.safetensors"
    if not path.exists():
        pytest.skip("there are no readings")
    yield read_tensors(path, torch.device("cpu"))
