"""DDOD: classes and boxes have locations of their own, and levels weigh by what they hold."""

from dataclasses import replace

import pytest
import torch

from assignbench.core import Setting, assign
from assignbench.detector.objective import objective
from assignbench.synthetic import random_problem
from assigners.ddod import DDOD

CLASSES = 3


def test_equal_alphas_give_one_list_of_positives() -> None:
    assigner = DDOD(Setting(classes=CLASSES), class_alpha=0.7, box_alpha=0.7, counts="none")
    problem = random_problem(assigner.head.controlled(), seed=0, classes=CLASSES, counts=(4, 2))
    record = assign(assigner, problem.view())
    assert torch.equal(record.pairs.weight, record.pairs.box_weight)


def test_a_class_and_a_box_may_be_learned_apart() -> None:
    assigner = DDOD(Setting(classes=CLASSES), class_alpha=0.1, box_alpha=1.0)
    problem = random_problem(assigner.head.controlled(), seed=0, classes=CLASSES, counts=(6, 5))
    record = assign(assigner, problem.view())
    assert bool(((record.pairs.weight > 0) & (record.pairs.box_weight == 0)).any())
    assert bool(((record.pairs.weight == 0) & (record.pairs.box_weight > 0)).any())


def test_the_fullest_level_weighs_one_and_the_emptiest_two() -> None:
    assigner = DDOD(Setting(classes=CLASSES))
    weight = assigner.level_weight(torch.tensor([0.0, 8.0, 4.0, 2.0, 2.0]))
    assert weight.tolist() == pytest.approx([2.0, 1.0, 1.5, 1.75, 1.75])
    assert assigner.level_weight(torch.full((5,), 3.0)).tolist() == [2.0] * 5


def test_overlap_is_learned_at_the_box_positives() -> None:
    assigner = DDOD(Setting(classes=CLASSES), class_alpha=0.1, box_alpha=1.0)
    problem = random_problem(assigner.head.controlled(), seed=0, classes=CLASSES, counts=(6, 5))
    view = problem.view()
    record = assign(assigner, view)
    before = objective(record, view, problem.head.extras)["iou"]
    other = replace(record, pairs=replace(record.pairs, weight=torch.zeros_like(record.pairs.weight)))
    assert objective(other, view, problem.head.extras)["iou"].item() == before.item() > 0


def test_options_that_make_no_sense_are_refused() -> None:
    for options in ({"k": 0}, {"class_alpha": 1.5}, {"box_alpha": -0.1}):
        with pytest.raises(ValueError, match="must"):
            DDOD(Setting(classes=CLASSES), **options)  # type: ignore[arg-type]
