"""POTO: one location an object, in the matching of the largest sum; its orphans; its auxiliary branch."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from assignbench.core import Assignment, Head, PairViews, Predictions, Setting, Targets
from assignbench.core.assigner import assign_branches
from assignbench.core.priors import pyramid_priors
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.poto import POTO

SETTING = Setting(classes=3)


def decide(problem: Problem, **options: object) -> dict[str, Assignment]:
    return dict(assign_branches(POTO(SETTING, **options), problem.branches()))  # type: ignore[arg-type]


def problem_of(counts: tuple[int, ...] = (6, 0, 9), seed: int = 3, **options: object) -> Problem:
    head = POTO(SETTING, **options).head.controlled()  # type: ignore[arg-type]
    return random_problem(head, seed=seed, classes=3, counts=counts)


def totals(record: Assignment, problem: Problem, assigner: POTO) -> float:
    pair = problem.view()(record.pairs.object, record.pairs.location)
    return float(assigner.quality(pair).detach().double().sum())


@pytest.mark.parametrize("options", [{}, {"matching": "argmax"}, {"orphans": "first"}, {"radius": 0.0}], ids=str)
def test_an_object_has_one_location_and_a_location_one_object(options: dict[str, object]) -> None:
    problem = problem_of((12, 0, 30))
    pairs = decide(problem, **options)["main"].pairs
    assert len(pairs.object.unique()) == len(pairs) > 20
    place = problem.targets.image[pairs.object] * len(problem.priors) + pairs.location
    assert len(place.unique()) == len(pairs)
    if options == {"orphans": "first"}:
        assert len(pairs) == len(problem.targets)


@pytest.mark.parametrize("seed", range(5))
def test_the_matching_is_no_worse_than_each_for_itself(seed: int) -> None:
    problem = problem_of((25, 10), seed=seed)
    together, alone = (decide(problem, matching=matching)["main"] for matching in ("hungarian", "argmax"))
    assert totals(together, problem, POTO(SETTING)) >= totals(alone, problem, POTO(SETTING)) - 1e-6
    assert len(together.pairs) >= len(alone.pairs)


@pytest.fixture
def scene() -> Callable[..., PairViews]:
    """One level of 8-pixel cells in 64 × 64, one class probability for all and boxes that are given by location."""

    def make(targets: Targets, boxes: dict[int, list[float]]) -> PairViews:
        priors = pyramid_priors(Head(), 64, 64)
        predicted = torch.zeros(1, len(priors), 4)
        for location, box in boxes.items():
            predicted[0, location] = torch.tensor(box)
        predictions = Predictions(torch.zeros(1, len(priors), 3), predicted, torch.zeros(1, len(priors), 4))
        return PairViews(predictions, priors, targets, Head().coding)

    return make


def test_a_contested_location_goes_where_the_sum_is_largest(scene: Callable[..., PairViews]) -> None:
    """Locations 9 and 18 lie at 12, 12 and 20, 20, in both objects.

    IoU of object 0 with the box of 18 is 1, with that of 9 1/3; of object 1 with them 2/3 and 0. Each for itself, 0
    keeps 18 and 1 has nothing; together 0 gives way, because 1/3^0.8 + 2/3^0.8 > 1.
    """
    boxes = torch.tensor([[8.0, 8, 32, 32], [8.0, 8, 24, 32]])
    view = scene(
        Targets(boxes, torch.tensor([0, 1]), torch.tensor([0, 0]), 1), {18: [8, 8, 32, 32], 9: [24, 8, 32, 32]}
    )
    pairs = assign_branches(POTO(SETTING), {"main": view})["main"].pairs
    assert pairs.object.tolist() == [0, 1]
    assert pairs.location.tolist() == [9, 18]
    pairs = assign_branches(POTO(SETTING, matching="argmax"), {"main": view})["main"].pairs
    assert (pairs.object.tolist(), pairs.location.tolist()) == ([0], [18])


def test_orphans_are_untaught_or_take_the_first_locations_left() -> None:
    problem = problem_of((4, 2))
    boxes = problem.targets.boxes.clone()
    boxes[1], boxes[3] = torch.tensor([[8.1, 8.2, 11.0, 11.5], [50.2, 50.3, 50.9, 51.1]])  # between all locations
    problem = problem.with_targets(replace(problem.targets, boxes=boxes))
    plain, forced = (decide(problem, orphans=which)["main"].pairs for which in ("untaught", "first"))
    assert not {1, 3} & set(plain.object.tolist())
    found = dict(zip(forced.object.tolist(), forced.location.tolist(), strict=True))
    taken = {location for n, location in found.items() if n in (0, 2)}
    assert [found[1], found[3]] == [j for j in range(10) if j not in taken][:2]
    assert {n: j for n, j in found.items() if n not in (1, 3)} == dict(
        zip(plain.object.tolist(), plain.location.tolist(), strict=True)
    )


def slow_many(assigner: POTO, problem: Problem) -> set[tuple[int, int]]:
    """The auxiliary branch, object by object and level by level."""
    view, targets, priors = problem.view(), problem.targets, problem.priors
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for n, box in enumerate(targets.boxes):
        inside = ((priors.points > box[:2]) & (priors.points < box[2:])).all(-1)
        candidates: list[int] = []
        quality = {}
        for level in range(5):
            own = (inside & (priors.level == level)).nonzero()[:, 0]
            values = assigner.quality(view(torch.full_like(own, n), own)).tolist()
            quality |= dict(zip(own.tolist(), values, strict=True))
            candidates += sorted(own.tolist(), key=lambda j: (-quality[j], j))[:9]
        if not candidates:
            continue
        values = torch.tensor([quality[j] for j in candidates], dtype=torch.float64)
        least = float(values.mean() + (values.std() if len(values) > 1 else 0))
        for j in candidates:
            if quality[j] >= least - 1e-12:
                key = (int(targets.image[n]), j)
                best[key] = max(best.get(key, (-1.0, n)), (quality[j], n), key=lambda entry: entry[0])
    return {(n, j) for (_, j), (_, n) in best.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_auxiliary_branch(seed: int) -> None:
    assigner = POTO(SETTING, auxiliary=True)
    problem = random_problem(
        assigner.head.controlled(), seed=seed, classes=3, counts=(5, 0, 4), height=96, width=96, dtype=torch.float64
    )
    records = assign_branches(assigner, problem.branches())
    pairs = records["auxiliary"].pairs
    assert set(zip(pairs.object.tolist(), pairs.location.tolist(), strict=True)) == slow_many(assigner, problem)
    view = problem.branches()["auxiliary"]
    losses = objective(records["auxiliary"], view, ())
    assert losses["box"] == 0
    assert losses["class"] > 0
    assert float(records["auxiliary"].normalisers.positive) == len(pairs) > 0


def test_without_the_auxiliary_branch_the_head_has_one() -> None:
    assert not POTO(SETTING).head.beside
    assert [branch.name for branch in POTO(SETTING, auxiliary=True).head.beside] == ["auxiliary"]
    assert not POTO(SETTING).head.suppress


@pytest.mark.parametrize("wrong", [{"alpha": 1.1}, {"radius": -1.0}])
def test_wrong_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        POTO(SETTING, **wrong)  # type: ignore[arg-type]


def test_alpha_weighs_box_against_class(scene: Callable[..., PairViews]) -> None:
    targets = Targets(torch.tensor([[8.0, 8, 32, 32]]), torch.tensor([0]), torch.tensor([0]), 1)
    view = scene(targets, {9: [8, 8, 32, 32], 18: [8, 8, 32, 20]})
    logits: Tensor = view.predictions.outputs.clone()
    logits[0, 18, 0] = 4.0
    view = replace(view, predictions=replace(view.predictions, outputs=logits))
    for alpha, location in ((1.0, 9), (0.0, 18)):
        pairs = assign_branches(POTO(SETTING, alpha=alpha), {"main": view})["main"].pairs
        assert pairs.location.tolist() == [location]
