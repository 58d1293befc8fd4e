"""OTA: dynamic supply, who wins a location, orphans, and its cost without what all classes share."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from assignbench.core import Assignment, Head, PairViews, Predictions, Setting, Targets, assign, inside_pairs
from assignbench.core.parts import PairLoss, QualityFocal
from assignbench.core.priors import pyramid_priors
from assignbench.synthetic import Problem, random_problem
from assigners.ota import OTA

SETTING = Setting(classes=3)


def problem_of(counts: tuple[int, ...] = (6, 0, 9), seed: int = 3) -> Problem:
    return random_problem(OTA.head.controlled(), seed=seed, classes=3, counts=counts)


def decide(problem: Problem, **options: object) -> Assignment:
    return assign(OTA(SETTING, **options), problem.view())  # type: ignore[arg-type]


@pytest.fixture
def scene() -> Callable[..., PairViews]:
    """64 × 64 pixels; every location predicts the box of its object, or nothing."""

    def make(targets: Targets, boxes: dict[int, list[float]]) -> PairViews:
        priors = pyramid_priors(Head(), 64, 64)
        predicted = torch.zeros(1, len(priors), 4)
        for location, box in boxes.items():
            predicted[0, location] = torch.tensor(box)
        extras = {"iou": torch.zeros(1, len(priors))}
        predictions = Predictions(torch.zeros(1, len(priors), 3), predicted, torch.zeros(1, len(priors), 4), extras)
        return PairViews(predictions, priors, targets, Head().coding)

    return make


def test_supply_is_the_sum_of_the_best_overlaps_cut_to_a_whole_number(scene: Callable[..., PairViews]) -> None:
    box = [8.0, 8, 40, 40]
    targets = Targets(torch.tensor([box, [0.0, 0, 1, 1]]), torch.tensor([0, 1]), torch.tensor([0, 0]), 1)
    view = scene(targets, {9: box, 10: box, 18: [8, 8, 40, 36], 27: [8, 8, 40, 24]})  # overlaps 1, 1, 7/8, 1/2
    pair = view(*inside_pairs(targets, view.priors, radius=2.5))
    assert OTA(SETTING).supply(pair).tolist() == [3, 0]
    assert OTA(SETTING, best=1).supply(pair).tolist() == [1, 0]
    assert OTA(SETTING, k=5).supply(pair).tolist() == [5, 0]


def test_an_object_gets_the_locations_that_fit_it(scene: Callable[..., PairViews]) -> None:
    box = [8.0, 8, 40, 40]
    targets = Targets(torch.tensor([box]), torch.tensor([0]), torch.tensor([0]), 1)
    pairs = assign(OTA(SETTING), scene(targets, {9: box, 10: box, 18: box, 27: [8, 8, 40, 24]})).pairs
    assert pairs.location.tolist() == [9, 10, 18]


@pytest.mark.parametrize("seed", range(3))
def test_as_many_locations_as_are_supplied_about(seed: int) -> None:
    """Where the plan is nearly whole, as with little smoothing, an object's locations are as many as it supplies."""
    problem = problem_of((2, 2), seed=seed)
    for k in (1, 3):
        pairs = decide(problem, k=k, gamma=0.02, iterations=500).pairs
        objects, _ = inside_pairs(problem.targets, problem.priors, 0.01, 2.5)
        candidates = torch.bincount(objects, minlength=4)
        found = torch.bincount(pairs.object, minlength=4)
        assert bool(((found - candidates.clamp(max=k)).abs() <= 1).all())


def test_an_object_without_candidates_is_not_taught_and_takes_nothing() -> None:
    problem = problem_of((4, 3))
    boxes = problem.targets.boxes.clone()
    boxes[1] = torch.tensor([50.2, 50.3, 50.9, 51.1])
    with_orphan = decide(problem.with_targets(replace(problem.targets, boxes=boxes))).pairs
    rest = [n for n in range(7) if n != 1]
    targets = problem.targets
    fewer = Targets(targets.boxes[rest], targets.labels[rest], targets.image[rest], 2)
    without = decide(problem.with_targets(fewer)).pairs
    assert 1 not in with_orphan.object.tolist()
    assert torch.equal(with_orphan.location, without.location)
    assert torch.equal(with_orphan.object, torch.tensor(rest)[without.object])


def test_two_equal_objects_share_what_there_is_and_the_first_has_it() -> None:
    problem = problem_of((2,))
    boxes = torch.tensor([[20.0, 24, 84, 72]]).repeat(2, 1)
    problem = problem.with_targets(Targets(boxes, torch.tensor([1, 1]), torch.tensor([0, 0]), 1))
    assert set(decide(problem).pairs.object.tolist()) == {0}


def test_its_cost_follows_the_class_loss_of_the_detector() -> None:
    problem = problem_of()
    pair = problem.view(PairLoss(QualityFocal()))(*inside_pairs(problem.targets, problem.priors))
    p = pair.logit.sigmoid()
    wanted = -((1 - p) ** 2) * p.log() + p**2 * (1 - p).log()
    torch.testing.assert_close(OTA(SETTING, alpha=0.0).cost(pair), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"radius": -1.0}, {"alpha": -0.1}, {"best": 0}, {"k": -1}, {"gamma": 0.0}, {"iterations": 0}], ids=str
)
def test_wrong_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        OTA(SETTING, **wrong)  # type: ignore[arg-type]


def test_idle_options_are_refused() -> None:
    with pytest.raises(ValueError, match="would change nothing"):
        OTA(SETTING, k=3, best=10)
