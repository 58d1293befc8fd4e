"""POTO and OTA against the losses of their authors' code."""

from pathlib import Path

import pytest
import torch

from assignbench.golden.vectors import find
from assignbench.golden.verify import installed, replay

CASES = ("all_empty", "crowded", "one_empty", "overlap", "typical")


@pytest.mark.parametrize("strategy", ["poto", "ota"])
@pytest.mark.parametrize("case", CASES)
def test_the_vectors_pass(shared: Path, strategy: str, case: str) -> None:
    (vectors,) = (one for one in find(shared) if (one.strategy, one.kind, one.case) == (strategy, "losses", case))
    checks, notes = replay(vectors, shared, installed(strategy, "mmdet"), torch.device("cpu"))
    assert {check.group for check in checks} >= {"losses", "gradients", "assigned"}
    assert [check for check in checks if not check.passed] == []
    assert notes == []
