"""Dual: one metric, two heads; the scores that are learned; no suppression, and no gradient from one location."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from assignbench.core import Assigner, Assignment, Setting, Targets, assign, iou, sides
from assignbench.core.assigner import assign_branches
from assignbench.core.parts import PairLoss
from assignbench.detector.objective import objective
from assignbench.recipe import ModelSettings
from assignbench.run.training.learner import build_learner
from assignbench.synthetic import Problem, random_problem
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.dual import Dual
from assigners.poto import POTO
from assigners.retinanet import RetinaNet

SETTING = Setting(classes=3)


def problem_of(counts: tuple[int, ...] = (6, 0, 9), seed: int = 3, dtype: torch.dtype = torch.float32) -> Problem:
    return random_problem(Dual.head.controlled(), seed=seed, classes=3, counts=counts, dtype=dtype)


def decide(problem: Problem, **options: object) -> Mapping[str, Assignment]:
    return assign_branches(Dual(SETTING, **options), problem.branches())  # type: ignore[arg-type]


def pairs_of(record: Assignment) -> set[tuple[int, int]]:
    return set(zip(record.pairs.object.tolist(), record.pairs.location.tolist(), strict=True))


def slow(problem: Problem, k: int, alpha: float, beta: float) -> dict[tuple[int, int], float]:
    """Pair → score to learn, object by object."""
    targets, priors = problem.targets, problem.priors
    probability, boxes = problem.predictions.logits.sigmoid().detach(), problem.predictions.boxes.detach()
    chosen: dict[tuple[int, int], tuple[int, float, float]] = {}  # (image, location) → object, metric, overlap
    for n, (box, label, image) in enumerate(zip(targets.boxes, targets.labels, targets.image.tolist(), strict=True)):
        found = []
        for j, point in enumerate(priors.points):
            if sides(box, point).min() > 0:
                overlap = float(iou(boxes[image, j], box))
                found.append((float(probability[image, j, label]) ** alpha * overlap**beta, j, overlap))
        for metric, j, overlap in sorted(found, key=lambda one: (-one[0], one[1]))[:k]:
            if metric > 0 and overlap > chosen.get((image, j), (0, 0, -1.0))[2]:
                chosen[image, j] = n, metric, overlap
    scores = {}
    for n in range(len(targets)):
        own = {j: (metric, overlap) for (_, j), (m, metric, overlap) in chosen.items() if m == n}
        for j, (metric, _) in own.items():
            most, nearest = (max(one[part] for one in own.values()) for part in (0, 1))
            scores[n, j] = metric / most * nearest
    return scores


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [{}, {"k": 3, "alpha": 1.0, "one_alpha": 2.0, "one_beta": 4.0}], ids=str)
def test_both_heads_by_the_formulas(seed: int, options: dict[str, float]) -> None:
    problem = problem_of((5, 0, 8), seed=seed, dtype=torch.float64)
    records = decide(problem, **options)
    many = slow(problem.beside["one_to_many"], int(options.get("k", 13)), options.get("alpha", 0.5), 6.0)
    one = slow(problem, 1, options.get("one_alpha", 0.5), options.get("one_beta", 6.0))
    for branch, wanted in (("main", one), ("one_to_many", many)):
        pairs = records[branch].pairs
        assert pairs.quality is not None
        found = dict(
            zip(zip(pairs.object.tolist(), pairs.location.tolist(), strict=True), pairs.quality.tolist(), strict=True)
        )
        assert found == pytest.approx(wanted, rel=1e-9)
        assert float(records[branch].normalisers.box) == pytest.approx(sum(wanted.values()))
        torch.testing.assert_close(pairs.box_weight, pairs.quality)


def test_what_is_best_for_many_is_best_for_one_where_both_heads_agree() -> None:
    """With equal outputs and consistent metrics the one location is the first of the many."""
    problem = problem_of((5, 4))
    same = replace(problem, beside={"one_to_many": replace(problem, beside={})})
    for power in (1, 2):
        records = decide(same, one_alpha=0.5 * power, one_beta=6.0 * power)
        assert pairs_of(records["main"]) <= pairs_of(records["one_to_many"])
    many, one = (decide(same)[name].pairs for name in ("one_to_many", "main"))
    assert many.quality is not None
    assert one.quality is not None
    top = torch.zeros(9).scatter_reduce(0, many.object, many.quality, "amax")
    assert bool((one.quality <= top[one.object] + 1e-6).all())


def test_one_head_gives_an_object_one_location() -> None:
    pairs = decide(problem_of((20, 3)))["main"].pairs
    assert len(pairs.object.unique()) == len(pairs)


def test_the_head_of_one_neither_suppresses_nor_teaches_the_pyramid() -> None:
    assert not Dual.head.suppress
    model = ModelSettings(backbone="miniature", weights="none", channels=32, towers=0)
    images, sizes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.tensor([[64, 64]])
    for stop in (True, False):
        learner = build_learner(Dual, {"stop_gradient": stop}, model, classes=2, seed=0)
        seen = learner.detector.every_branch(images, sizes)
        weight = learner.detector.pyramid.p7.weight
        for name, taught in (("main", not stop), ("one_to_many", True)):
            outputs = seen[name][0].outputs.sum()
            (gradient,) = torch.autograd.grad(outputs, [weight], allow_unused=True, retain_graph=True)
            assert (gradient is not None) == taught


def test_where_nothing_overlaps_nothing_is_taught() -> None:
    problem = problem_of((2,))
    with torch.no_grad():
        problem.raw.regression[..., :2] = 500.0  # all boxes far away
    record = decide(problem)["main"]
    assert len(record.pairs) == 0
    losses = objective(record, problem.view(PairLoss()), ())
    assert all(bool(value.isfinite()) for value in losses.values())


def test_equal_objects_share_a_location_and_the_first_has_it() -> None:
    problem = problem_of((2,))
    boxes = torch.tensor([[20.0, 24, 84, 72]]).repeat(2, 1)
    problem = problem.with_targets(Targets(boxes, torch.tensor([1, 1]), torch.tensor([0, 0]), 1))
    assert {n for record in decide(problem).values() for n in record.pairs.object.tolist()} == {0}


@pytest.mark.parametrize("wrong", [{"k": 0}, {"alpha": -1.0}, {"one_beta": -0.5}], ids=str)
def test_wrong_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Dual(SETTING, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("many", "one"), [(ATSS, POTO), (RetinaNet, AutoAssign)])
def test_any_two_strategies_decide_each_for_its_own_head(many: type[Assigner], one: type[Assigner]) -> None:
    dual = Dual(SETTING, many=many(SETTING), one=one(SETTING))
    assert dual.head.detached
    assert not dual.head.suppress
    assert dual.head.by_branch()["one_to_many"] == many(SETTING).head
    problem = random_problem(dual.head.controlled(), seed=2, classes=3, counts=(6, 0, 9))
    views = problem.branches()
    for name, record in assign_branches(dual, views).items():
        alone = assign({"main": one, "one_to_many": many}[name](SETTING), views[name])
        assert pairs_of(record) == pairs_of(alone)
        assert torch.equal(record.pairs.weight, alone.pairs.weight)
        assert record.losses.keys() == alone.losses.keys()


def test_what_both_have_learned_is_told_apart() -> None:
    both = Dual(SETTING, many=AutoAssign(SETTING, mu=0.5), one=AutoAssign(SETTING))
    assert both.learned()["mu_x"].tolist() == [0.0] * 3
    assert both.learned()["many_mu_x"].tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"many": Dual(SETTING)}, "many must be a strategy of one head, Dual has more"),
        ({"one": Dual(SETTING)}, "one must be a strategy of one head, Dual has more"),
        ({"many": ATSS(SETTING), "k": 5}, "k, alpha or beta would change nothing: many has a strategy"),
        ({"one": ATSS(SETTING), "one_beta": 1.0}, "one_alpha or one_beta would change nothing: one has a strategy"),
    ],
    ids=["two heads of many", "two heads of one", "idle k", "idle one_beta"],
)
def test_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Dual(SETTING, **options)  # type: ignore[arg-type]
