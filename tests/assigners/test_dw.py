"""DW's weights on examples worked by hand."""

import math

import pytest
import torch

from assignbench.core import Assignment, Setting, assign, max_by
from assignbench.synthetic import Problem, random_problem
from assigners.dw import DW

CLASSES = 3


def decided(seed: int = 0, **options: object) -> tuple[Assignment, Problem]:
    assigner = DW(Setting(classes=CLASSES), **options)  # type: ignore[arg-type]
    problem = random_problem(assigner.head.controlled(), seed=seed, classes=CLASSES, counts=(4, 2))
    return assign(assigner, problem.view()), problem


def test_equal_exponents_give_weights_that_sum_to_one() -> None:
    record, problem = decided(spread=5.0, center="none")
    sums = torch.zeros(len(problem.targets)).index_add(0, record.pairs.object, record.pairs.weight)
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-5)


def test_a_sharper_numerator_gives_more() -> None:
    record, problem = decided()
    sums = torch.zeros(len(problem.targets)).index_add(0, record.pairs.object, record.pairs.weight)
    assert bool((sums >= 1 - 1e-5).all())


def test_the_best_box_is_no_background_and_a_poor_one_is() -> None:
    record, problem = decided()
    pair = problem.view()(record.pairs.object, record.pairs.location)
    weight = record.discounts.weight
    assert weight is not None
    poor = (pair.overlap < 0.5) & (weight > 0)  # 0: another object's weight counts there
    assert bool((weight[poor] == 1).all())
    best = pair.overlap == max_by(pair.overlap, pair.objects, len(problem.targets))[pair.objects]
    fine = best & (pair.overlap > 0.5)
    assert bool(fine.any())
    assert bool((weight[fine] < 1e-5).all())


def test_a_binary_prior_has_a_radius() -> None:
    record, problem = decided(center="binary")
    offset = problem.view()(record.pairs.object, record.pairs.location).offset
    far = offset.norm(dim=-1) > 1.11 * math.sqrt(-2 * math.log(0.3)) + 1e-4
    assert bool(far.any())
    assert bool((record.pairs.weight[far] == 0).all())


def test_nothing_carries_gradient() -> None:
    record, _ = decided()
    assert not record.pairs.weight.requires_grad
    assert not record.pairs.box_weight.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, "sigma must be at least 0.001"),
        ({"spread": 6.0}, "spread ≤ sharpness"),
        ({"center": "none", "sigma": 2.0}, "would change nothing"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DW(Setting(classes=CLASSES), **options)  # type: ignore[arg-type]
