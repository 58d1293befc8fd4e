"""SimOTA: what an object takes, worked by hand, and where its class is taught."""

from dataclasses import replace

import pytest
import torch

from assignbench.core import Assignment, Setting, assign, iou, sides
from assignbench.synthetic import Problem, random_problem
from assigners.simota import SimOTA

CLASSES = 3


def problem(*boxes: tuple[float, float, float, float]) -> Problem:
    """One image of 64 × 96 pixels whose predictions say nothing: equal logits, and each prior's own box."""
    made = random_problem(SimOTA.head.controlled(), seed=0, classes=CLASSES, counts=(len(boxes),), height=64, width=96)
    made = made.with_targets(replace(made.targets, boxes=torch.tensor(boxes)))
    with torch.no_grad():
        for output in made.leaves():
            output.zero_()
    return made


def predict(made: Problem, location: int, box: int) -> None:
    """The location predicts an object's box."""
    coding, priors = made.head.coding, made.priors
    one = slice(location, location + 1)
    with torch.no_grad():
        made.raw.regression[0, location] = coding.encode(
            made.targets.boxes[box : box + 1], priors.boxes[one], priors.stride[one]
        )[0]


def decide(made: Problem, **options: object) -> Assignment:
    return assign(SimOTA(Setting(CLASSES), **options), made.view())  # type: ignore[arg-type]


def test_as_many_as_good_boxes_the_best_first() -> None:
    """Three locations predict the box exactly; k is 3 and what the next seven overlap it in sum."""
    box = (16.0, 16, 32, 32)
    made = problem(box)
    inside = (sides(made.targets.boxes, made.priors.points).amin(-1) > 0).nonzero()[:, 0].tolist()
    assert inside[:4] == [2 * 12 + 2, 2 * 12 + 3, 3 * 12 + 2, 3 * 12 + 3]  # of stride 8
    for location in inside[1:4]:
        predict(made, location, 0)
    others = [place for place in range(len(made.priors)) if place not in inside[1:4]]
    rest = iou(made.predictions.boxes[0, others], made.targets.boxes).sort(descending=True).values[:7].sum()
    record = decide(made)
    assert set(inside[1:4]) <= set(record.pairs.location.tolist())
    assert len(record.pairs) == 3 + int(rest)
    assert record.pairs.quality is not None
    quality = dict(zip(record.pairs.location.tolist(), record.pairs.quality.tolist(), strict=True))
    assert [quality[place] for place in inside[1:4]] == pytest.approx([1, 1, 1], abs=1e-5)


def test_its_own_locations_come_before_better_ones() -> None:
    """A perfect box predicted outside the object's box loses against a poor one inside; both are candidates."""
    made = problem((16.0, 16, 31, 31))
    outside = 1 * 12 + 1  # at 12, 12: in the square around 23.5, not in the box
    predict(made, outside, 0)
    record = decide(made, candidates=1)
    assert len(record.pairs) == 1
    assert sides(made.targets.boxes, made.priors.points[record.pairs.location]).amin() > 0


def test_an_object_without_a_location_takes_one_of_its_square() -> None:
    """Nothing lies in the box; of the candidates around it the one whose box is best."""
    made = problem((50.2, 50.3, 50.9, 51.1))
    assert not bool((sides(made.targets.boxes, made.priors.points).amin(-1) > 0).any())
    predict(made, 6 * 12 + 5, 0)  # at 44, 52
    record = decide(made)
    assert record.pairs.location.tolist()[:1] == [6 * 12 + 5]


def test_equal_objects_go_to_the_first() -> None:
    box = (16.0, 16, 40, 40)
    made = problem(box, box)
    made = made.with_targets(replace(made.targets, labels=torch.zeros(2, dtype=torch.int64)))
    record = decide(made)
    assert len(record.pairs) > 0
    assert set(record.pairs.object.tolist()) == {0}


def test_the_class_is_taught_where_it_is_asked_for() -> None:
    made = random_problem(SimOTA.head.controlled(), seed=3, classes=CLASSES, counts=(4, 0, 2))
    everywhere, pairs = decide(made), decide(made, class_at="pairs")
    assert everywhere.background is None
    assert pairs.background is not None
    wanted = torch.zeros_like(pairs.background)
    wanted[made.targets.image[pairs.pairs.object], pairs.pairs.location] = 1
    assert pairs.background.tolist() == wanted.tolist()
    assert everywhere.pairs.location.tolist() == pairs.pairs.location.tolist()


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"candidates": 0}])
def test_what_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        SimOTA(Setting(CLASSES), **options)  # type: ignore[arg-type]
