"""SAPD by hand: cells, weights, levels, and what learns from what."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assignbench.core import Setting, Targets, assign
from assignbench.core.parts import PairLoss
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.sapd import SAPD


def built(**options: Any) -> SAPD:
    torch.manual_seed(0)
    return SAPD(Setting(classes=3), **options)


def problem_of(*boxes: list[float], seed: int = 0) -> Problem:
    """Objects of one image of 128 × 160 pixels, of the classes 0, 1, …."""
    problem = random_problem(SAPD.head.controlled(), seed=seed, classes=3, counts=(len(boxes),))
    problem.targets.boxes[:] = torch.tensor(boxes)
    problem.targets.labels[:] = torch.arange(len(boxes)) % 3
    return problem


def easiest_on(problem: Problem, level: int) -> PairLoss:
    """Makes the network know the first class on one level; boxes hardly count."""
    with torch.no_grad():
        problem.raw.logits.fill_(-4.0)
        problem.raw.logits[:, problem.priors.level == level, 0] = 4.0
    return PairLoss().weighing_boxes(1e-3)


@pytest.mark.parametrize(("eta", "power"), [(1.0, 1.0), (0.5, 0.5), (2.0, 2.0)])
def test_a_cell_weighs_a_power_of_its_centerness(eta: float, power: float) -> None:
    problem = problem_of([20.0, 20, 100, 100])
    record = assign(built(core=1.0, eta=eta), problem.view(easiest_on(problem, 0)), 0.0)
    (location,) = (problem.priors.points == torch.tensor([36.0, 44])).all(1).nonzero()[:, 0].tolist()
    weight = record.pairs.weight[record.pairs.location == location]
    assert weight.item() == pytest.approx((16 * 24 / (64 * 56)) ** power)  # l, r = 16, 64; t, b = 24, 56


def test_without_eta_all_cells_in_the_box_weigh_the_same() -> None:
    problem = problem_of([20.0, 20, 99, 99])
    record = assign(built(core=1.0, eta=0.0), problem.view(easiest_on(problem, 0)), 0.0)
    fine = problem.priors.level[record.pairs.location] == 0
    outside = (problem.priors.points[record.pairs.location] > 99).any(1)  # their cells are met, they lie outside
    assert outside[fine].any()
    assert torch.equal(record.pairs.weight, (fine & ~outside & (record.pairs.weight > 0)).float())
    inside = (problem.priors.points[record.pairs.location] > 20).all(1) & ~outside
    assert torch.equal(record.pairs.weight > 0, fine & inside)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_early_on_an_object_is_on_the_level_that_costs_it_least(level: int) -> None:
    problem = problem_of([20.0, 20, 100, 100])
    record = assign(built(), problem.view(easiest_on(problem, level)), 0.0)
    taught = record.pairs.weight > 0
    assert problem.priors.level[record.pairs.location[taught]].unique().tolist() == [level]
    # on the other levels its cells are not taught that it is background
    assert torch.equal(record.discounts.location, record.pairs.location)
    assert record.background is not None
    assert torch.equal(record.background[0, record.pairs.location[taught]], record.pairs.weight[taught])
    assert record.background[0, record.pairs.location[~taught]].unique().tolist() == [1.0]
    assert record.normalisers.positive == record.pairs.weight.sum()


def test_later_it_is_on_the_likeliest_levels_by_how_likely_they_are() -> None:
    problem = problem_of([20.0, 20, 100, 100])
    assigner, likely = built(eta=0.0), torch.tensor([0.0, 2.0, 1.0, 3.0, -1.0])
    last = assigner.selection[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(likely)
    for progress in (0.5, 0.99):
        record = assign(assigner, problem.view(), progress)
        level, weight = problem.priors.level[record.pairs.location], record.pairs.weight
        assert level.unique().tolist() == [0, 1, 2, 3, 4]
        for one, share in enumerate(likely.softmax(0).tolist()):
            wanted = share if one in (1, 2, 3) else 0.0
            assert [weight[level == one].min(), weight[level == one].max()] == pytest.approx([wanted] * 2, abs=1e-6)


def test_levels_can_be_chosen_one_by_one_all_along() -> None:
    problem = problem_of([20.0, 20, 100, 100])
    early, late = (assign(built(soft_from=1.0), problem.view(), progress).pairs.weight for progress in (0.0, 0.99))
    assert torch.equal(early, late)


def losses_of(assigner: SAPD, problem: Problem, progress: float) -> dict[str, Tensor]:
    view = problem.view()
    return dict(objective(assign(assigner, view, progress), view, ()))


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_the_selection_learns_from_its_own_loss_alone_and_teaches_nothing_else(progress: float) -> None:
    assigner, problem = built(), problem_of([20.0, 20, 100, 100], [90.0, 10, 150, 60])
    losses = losses_of(assigner, problem, progress)
    parameters = list(assigner.parameters())
    detector = losses["class"] + losses["box"] + losses["background"]
    found = torch.autograd.grad(detector, parameters, allow_unused=True, retain_graph=True)
    assert found == (None,) * len(parameters)
    found = torch.autograd.grad(losses["selection"], problem.leaves(), allow_unused=True, retain_graph=True)
    assert all(one is None for one in found)
    assert all(one.abs().sum() > 0 for one in torch.autograd.grad(losses["selection"], parameters))


def test_an_object_without_a_cell_of_its_own_does_not_count_in_the_selections_loss() -> None:
    """Two equal objects: the second has won no cell."""
    two = problem_of([20.0, 20, 100, 100], [20.0, 20, 100, 100])
    first = Targets(two.targets.boxes[:1], two.targets.labels[:1], two.targets.image[:1], two.targets.images)
    found = [losses_of(built(), problem, 0.9)["selection"].item() for problem in (two.with_targets(first), two)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize(
    "options", [{"core": 0.0}, {"core": 1.1}, {"eta": -1.0}, {"levels": 0}, {"levels": 6}, {"soft_from": 1.1}]
)
def test_values_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        built(**options)


def test_a_number_of_levels_that_is_never_used_is_refused() -> None:
    with pytest.raises(ValueError, match="levels=2 would change nothing: with soft_from=1"):
        built(levels=2, soft_from=1.0)
