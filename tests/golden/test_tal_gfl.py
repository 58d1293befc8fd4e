"""TAL and the losses of GFL against TOOD and GFL of mmdetection: losses, gradients, assignments, detections."""

from pathlib import Path

import pytest
import torch

from assignbench.golden.vectors import find
from assignbench.golden.verify import installed, replay

PROVED = {"tood": {"losses", "detections"}, "gfl": {"losses", "network", "detections"}}


@pytest.mark.parametrize("strategy", PROVED)
def test_vectors_pass(shared: Path, strategy: str) -> None:
    seen = set()
    for one in find(shared):
        if one.strategy == strategy and one.kind in PROVED[strategy]:
            checks, _ = replay(one, shared, installed(strategy, "mmdet"), torch.device("cpu"))
            assert checks
            assert [check for check in checks if not check.passed] == [], one
            seen.add(one.kind)
    assert seen == PROVED[strategy]
