"""The losses of VFNet, as a preset of ATSS, against mmdetection: losses, gradients, assignments."""

from pathlib import Path

import torch

from assignbench.golden.vectors import find
from assignbench.golden.verify import installed, replay


def test_vectors_pass(shared: Path) -> None:
    cases = [one for one in find(shared) if one.strategy == "vfnet"]
    assert {one.case for one in cases} == {"all_empty", "crowded", "one_empty", "overlap", "tiny", "typical"}
    for one in cases:
        checks, _ = replay(one, shared, installed("vfnet", "mmdet"), torch.device("cpu"))
        assert {check.group for check in checks} == {"losses", "gradients", "assigned"}
        assert [check for check in checks if not check.passed] == [], one
