"""TAL on scenes that are worked by hand."""

import pytest
import torch

from assignbench.core import Assignment, Head, Setting, Targets, assign
from assignbench.core.parts import GIoU, PairLoss, QualityFocal
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.atss import ATSS
from assigners.tal import EPSILON, TAL

CLASSES = 2


def scene(*boxes: tuple[float, float, float, float]) -> Problem:
    """One image of 64 × 64 pixels; probabilities are next to 0 and boxes outside, until `says` is called."""
    problem = random_problem(Head(), seed=0, classes=CLASSES, counts=(1,), height=64, width=64)
    count = len(boxes)
    targets = Targets(
        torch.tensor(boxes), torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64), 1
    )
    problem = problem.changed(lambda raw: torch.full_like(raw, -50.0), targets=targets)
    return says_boxes(problem, torch.tensor([[1000.0, 1000, 1010, 1010]]).expand(len(problem.priors), 4))


def says_boxes(problem: Problem, boxes: torch.Tensor) -> Problem:
    raw = problem.head.coding.encode(boxes, problem.priors.boxes, problem.priors.stride)
    problem.raw.regression.data[0] = raw
    return problem


def says(problem: Problem, location: int, probability: float, box: tuple[float, float, float, float]) -> None:
    with torch.no_grad():
        problem.raw.logits[0, location, 0] = torch.tensor(probability).logit()
        raw = problem.head.coding.encode(
            torch.tensor([box]), problem.priors.boxes[location, None], problem.priors.stride[location, None]
        )
        problem.raw.regression[0, location] = raw[0]


def at(x: float, y: float) -> int:
    """The location of the finest level whose cell holds a point."""
    return int(y // 8) * 8 + int(x // 8)


def pairs(assignment: Assignment) -> dict[tuple[int, int], float]:
    listed = zip(assignment.pairs.object.tolist(), assignment.pairs.location.tolist(), strict=True)
    assert assignment.pairs.quality is not None
    return dict(zip(listed, assignment.pairs.quality.tolist(), strict=True))


def test_the_best_candidates_learn_their_share_of_the_best() -> None:
    problem = scene((8.0, 8, 40, 40))
    says(problem, at(20, 20), 0.5, (8.0, 8, 40, 40))  # IoU 1, t = 1/2
    says(problem, at(28, 20), 0.8, (8.0, 8, 40, 24))  # IoU 1/2, t = 0.8 / 64
    found = pairs(assign(TAL(Setting(CLASSES)), problem.view(), progress=0.5))
    assert set(found) == {(0, at(20, 20)), (0, at(28, 20))}
    assert found[0, at(20, 20)] == pytest.approx(1.0, rel=1e-5)
    assert found[0, at(28, 20)] == pytest.approx(0.8 / 64 / 0.5, rel=1e-4)


def test_who_lies_outside_takes_a_place_and_is_not_replaced() -> None:
    problem = scene((8.0, 8, 24, 24))
    says(problem, at(44, 44), 0.9, (8.0, 8, 24, 24))  # better, outside
    says(problem, at(12, 12), 0.5, (8.0, 8, 24, 24))
    view = problem.view()
    assert set(pairs(assign(TAL(Setting(CLASSES), k=2), view, progress=0.5))) == {(0, at(12, 12))}
    none = assign(TAL(Setting(CLASSES), k=1), view, progress=0.5)
    assert len(none.pairs) == 0
    assert none.normalisers.positive == 0


def test_a_location_of_several_goes_to_the_highest_overlap_and_maxima_follow() -> None:
    problem = scene((8.0, 8, 40, 40), (8.0, 8, 40, 24), (8.0, 8, 40, 24))
    says(problem, at(20, 12), 0.5, (8.0, 8, 40, 24))  # IoU 1/2, 1, 1
    says(problem, at(20, 28), 0.5, (8.0, 8, 40, 32))  # IoU 3/4 with the first; outside the others
    found = pairs(assign(TAL(Setting(CLASSES)), problem.view(), progress=0.5))
    assert set(found) == {(1, at(20, 12)), (0, at(20, 28))}  # of two equal objects the first
    assert found[0, at(20, 28)] == pytest.approx(0.75, rel=1e-4)


def test_of_equal_alignment_the_lower_location() -> None:
    problem = scene((8.0, 8, 40, 40))
    for x in (12, 20, 28):
        says(problem, at(x, 20), 0.5, (8.0, 8, 40, 40))
    found = pairs(assign(TAL(Setting(CLASSES), k=2), problem.view(), progress=0.5))
    assert set(found) == {(0, at(12, 20)), (0, at(20, 20))}


def test_alignment_that_underflows_teaches_nothing() -> None:
    problem = scene((8.0, 8, 40, 40))
    record = assign(TAL(Setting(CLASSES)), problem.view(), progress=0.5)
    assert len(record.pairs) == 0
    assert all(term.isfinite() for term in objective(record, problem.view(), ()).values())
    assert EPSILON > 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_part_is_atss(seed: int) -> None:
    """But for what ATSS rescues, which no reference does."""
    problem = random_problem(Head(), seed=seed, classes=CLASSES, counts=(5, 0, 3))
    setting = Setting(CLASSES)
    ours = assign(TAL(setting), problem.view(), progress=0.3333)
    atss = assign(ATSS(setting), problem.view())
    theirs = dict(
        zip(
            zip(atss.pairs.object.tolist(), atss.pairs.location.tolist(), strict=True),
            atss.pairs.box_weight,
            strict=True,
        )
    )
    mine = dict(
        zip(
            zip(ours.pairs.object.tolist(), ours.pairs.location.tolist(), strict=True),
            ours.pairs.box_weight,
            strict=True,
        )
    )
    assert mine.items() <= theirs.items()
    taught = {owner for owner, _ in mine}
    assert mine == {pair: weight for pair, weight in theirs.items() if pair[0] in taught}
    after = assign(TAL(setting), problem.view(), progress=1 / 3)
    never = assign(TAL(setting, atss_until=0.0), problem.view(), progress=0.0)
    assert torch.equal(after.pairs.location, never.pairs.location)


def test_a_quality_focal_loss_becomes_the_focal_loss() -> None:
    problem = random_problem(Head(), seed=4, classes=CLASSES, counts=(4, 0, 3))
    quality = problem.view(PairLoss(QualityFocal(), GIoU(weight=5.0), weight=0.25))
    as_focal = objective(assign(TAL(Setting(CLASSES), atss_focal=True), quality), quality, ())
    focal = problem.view(PairLoss())
    for name, term in objective(assign(TAL(Setting(CLASSES)), focal), focal, ()).items():
        assert as_focal[name].item() == pytest.approx(term.item(), rel=1e-5), name


def test_nothing_of_the_alignment_carries_gradient() -> None:
    problem = random_problem(Head(), seed=4, classes=CLASSES, counts=(4, 3))
    record = assign(TAL(Setting(CLASSES)), problem.view(), progress=0.9)
    assert len(record.pairs) > 0
    assert record.pairs.quality is not None
    assert not record.pairs.quality.requires_grad
    assert not record.normalisers.positive.requires_grad


@pytest.mark.parametrize("wrong", [{"k": 0}, {"beta": 0.0}, {"alpha": -1.0}, {"atss_until": 1.5}])
def test_wrong_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TAL(Setting(CLASSES), **wrong)  # type: ignore[arg-type]
