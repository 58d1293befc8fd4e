"""Golden vectors of DW (its authors' code) and DDOD (mmdetection) pass; what is not held is said."""

from pathlib import Path

import pytest
import torch

from assignbench.golden.vectors import find
from assignbench.golden.verify import installed, replay


@pytest.mark.parametrize(("strategy", "files"), [("dw", 7), ("ddod", 6)])
def test_losses_pass(shared: Path, strategy: str, files: int) -> None:
    seen = 0
    for one in find(shared):
        if one.strategy != strategy:
            continue
        checks, _ = replay(one, shared, installed(strategy, "mmdet"), torch.device("cpu"))
        assert checks
        assert [check for check in checks if not check.passed] == [], one
        seen += 1
    assert seen == files
