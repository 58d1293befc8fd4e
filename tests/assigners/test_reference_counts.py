"""Positives per object and level on a fixed scene, as mmdetection 3.3.0's assigners count them.

Where our rule differs on purpose the difference is written beside the number.
"""

from dataclasses import replace

import pytest
import torch

from assignbench.core import Assignment, Priors, Setting, Targets
from assigners.atss import ATSS
from assigners.fcos import FCOS
from assigners.plain import Plain
from assigners.retinanet import RetinaNet

POINTS = {
    "plain": [[135, 35, 8, 4, 1], [279, 70, 17, 3, 3], [4, 0, 1, 0, 0], [0, 0, 0, 0, 0]],
    "centre": [[9, 9, 6, 4, 1], [9, 9, 9, 3, 3], [4, 0, 1, 0, 0], [0, 0, 0, 0, 0]],
    "scale": [[7, 32, 0, 0, 0], [0, 48, 8, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    "both": [[3, 6, 0, 0, 0], [0, 9, 0, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
}


def positives(record: Assignment, priors: Priors, objects: int) -> list[list[int]]:
    """Pairs of each object on each level."""
    counts = torch.zeros(objects, 5, dtype=torch.int64)
    level = priors.level[record.pairs.location]
    counts.index_put_((record.pairs.object, level), torch.ones_like(level), accumulate=True)
    return counts.tolist()


def point_strategy(name: str, setting: Setting) -> Plain | FCOS:
    match name:
        case "plain":
            return Plain(setting)
        case "centre":
            return FCOS(setting, scale_ranges=False)
        case "scale":
            return FCOS(setting, radius=0)
        case _:
            return FCOS(setting)


@pytest.mark.parametrize("name", POINTS)
def test_points(name: str, ask, scene: Targets, setting: Setting) -> None:
    assigner = point_strategy(name, setting)
    record, priors = ask(assigner, assigner.head, scene)
    assert positives(record, priors, 4) == POINTS[name]


def test_fcos_without_its_parts_is_plain(ask, scene: Targets, setting: Setting) -> None:
    bare = FCOS(setting, radius=0, scale_ranges=False)
    assert positives(*ask(bare, bare.head, scene), 4) == POINTS["plain"]


ATSS_COUNTS = {
    0.0: [[0, 6, 0, 0, 0], [0, 9, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    0.5: [[0, 9, 0, 0, 0], [0, 9, 0, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
}


@pytest.mark.parametrize("offset", ATSS_COUNTS)
def test_atss(offset: float, ask, scene: Targets, setting: Setting) -> None:
    record, priors = ask(ATSS(setting), replace(ATSS.head, offset=offset), scene)
    assert positives(record, priors, 4) == ATSS_COUNTS[offset]


RETINA_COUNTS = {
    0.0: ([[0, 34, 5, 0, 0], [0, 0, 27, 0, 0], [9, 0, 0, 0, 0], [25, 0, 0, 0, 0]], 129, 12047),
    0.5: ([[0, 30, 4, 0, 0], [0, 0, 24, 0, 0], [12, 0, 0, 0, 0], [17, 0, 0, 0, 0]], 153, 12036),
}


@pytest.mark.parametrize("offset", RETINA_COUNTS)
def test_retinanet(offset: float, ask, scene: Targets, setting: Setting) -> None:
    counts, ignored, negative = RETINA_COUNTS[offset]
    record, priors = ask(RetinaNet(setting), replace(RetinaNet.head, offset=offset), scene)
    assert positives(record, priors, 4) == counts
    assert record.background is None
    assert int(record.ignored.sum()) == ignored
    assert int((~record.ignored).sum()) - len(record.pairs) == negative


def test_an_object_that_no_anchor_reaches_claims_none(ask, setting: Setting) -> None:
    boxes = torch.tensor([[10.0, 10, 60, 60], [900.0, 900, 920, 920]])
    targets = Targets(boxes, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64), 1)
    record, priors = ask(RetinaNet(setting), RetinaNet.head, targets)
    first, second = positives(record, priors, 2)
    assert sum(first) >= 1
    assert sum(second) == 0
