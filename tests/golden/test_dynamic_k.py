"""SimOTA and dynamic soft labels: losses, gradients, assignments and detections of mmdetection's YOLOX and RTMDet."""

from pathlib import Path

import pytest
import torch

from assignbench.golden.vectors import find
from assignbench.golden.verify import installed, replay

CASES = {"typical", "one_empty", "all_empty", "tiny", "crowded", "overlap"}


@pytest.mark.parametrize(("strategy", "cases"), [("simota", CASES | {"l1_typical"}), ("dsl", CASES)])
def test_losses_and_detections_are_the_references(shared: Path, strategy: str, cases: set[str]) -> None:
    seen, groups = set(), set()
    for one in find(shared):
        if one.strategy != strategy or one.kind not in ("losses", "detections"):
            continue
        checks, notes = replay(one, shared, installed(strategy, "mmdet"), torch.device("cpu"))
        assert [check for check in checks if not check.passed] == [], one
        assert notes == []
        seen.add(one.case)
        groups |= {check.group for check in checks}
    assert seen == cases | {"images"}
    assert groups >= {"losses", "gradients", "assigned", "soft labels", "detections", "boxes", "scores"}
