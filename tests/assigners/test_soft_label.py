"""Dynamic soft labels: what an object takes, and what it is worth."""

from dataclasses import replace

import pytest
import torch

from assignbench.core import Setting, assign, sides
from assignbench.core.parts import PairLoss, QualityFocal
from assignbench.detector.objective import objective
from assignbench.synthetic import random_problem
from assigners.soft_label import SoftLabel

CLASSES = 3
ORPHAN = (50.2, 50.3, 50.9, 51.1)  # between all locations


def test_an_orphan_takes_a_location_of_another_object_unless_it_must_not() -> None:
    made = random_problem(SoftLabel.head.controlled(), seed=1, classes=CLASSES, counts=(2,))
    boxes = torch.tensor([(16.0, 16, 100, 100), ORPHAN])
    made = made.with_targets(replace(made.targets, boxes=boxes))
    record = assign(SoftLabel(Setting(CLASSES)), made.view())
    assert (record.pairs.object == 1).sum() <= 1
    free, bound = (
        assign(SoftLabel(Setting(CLASSES), require_inside=inside), made.view()).pairs for inside in (False, True)
    )
    assert bool((sides(boxes[free.object], made.priors.points[free.location]).amin(-1) <= 0).any())
    assert bool((sides(boxes[bound.object], made.priors.points[bound.location]).amin(-1) > 0).all())


def test_without_a_candidate_there_is_background_alone() -> None:
    made = random_problem(SoftLabel.head.controlled(), seed=1, classes=CLASSES, counts=(1,))
    made = made.with_targets(replace(made.targets, boxes=torch.tensor([ORPHAN])))
    record = assign(SoftLabel(Setting(CLASSES)), made.view())
    assert len(record.pairs) == 0


def test_what_overlaps_better_learns_more_and_weighs_more() -> None:
    made = random_problem(SoftLabel.head.controlled(), seed=2, classes=CLASSES, counts=(5, 0, 3))
    with torch.no_grad():
        made.raw.regression.mul_(0.2)
    view = made.view(PairLoss(QualityFocal()))
    record = assign(SoftLabel(Setting(CLASSES)), view)
    overlap = view(record.pairs.object, record.pairs.location).overlap
    assert record.pairs.quality is not None
    assert record.pairs.quality.tolist() == record.pairs.box_weight.tolist() == overlap.tolist()
    assert record.pairs.weight.tolist() == [1] * len(overlap)
    assert record.normalisers.positive.item() == pytest.approx(overlap.sum().item())
    assert not overlap.requires_grad
    assert all(value.isfinite() for value in objective(record, view, ()).values())


def test_a_far_location_is_never_taken() -> None:
    """10^(d − 3) overflows beyond some 41 strides: of a long object only the middle is left."""
    made = random_problem(SoftLabel.head.controlled(), seed=0, classes=CLASSES, counts=(1,), height=32, width=1024)
    made = made.with_targets(replace(made.targets, boxes=torch.tensor([[0.0, 0, 1024, 32]])))
    for seed in range(3):
        torch.manual_seed(seed)
        with torch.no_grad():
            made.raw.logits.normal_()
        pairs = assign(SoftLabel(Setting(CLASSES)), made.view()).pairs
        distance = (made.priors.points[pairs.location] - torch.tensor([512.0, 16])).norm(dim=-1)
        assert len(pairs) > 0
        assert bool((distance / made.priors.stride[pairs.location] < 42).all())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="candidates must be"):
        SoftLabel(Setting(CLASSES), candidates=0)
