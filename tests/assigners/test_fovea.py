"""FoveaBox by hand: which levels an object is on, which cells are its fovea."""

from typing import Any

import pytest
import torch

from assignbench.core import Assignment, Head, PairViews, Predictions, Priors, Setting, Targets, assign
from assignbench.core.priors import pyramid_priors
from assigners.fovea import FoveaBox


def decided(*boxes: list[float], **options: Any) -> tuple[Assignment, Priors]:
    """The record of objects of classes 0, 1, … on 256 × 256 pixels."""
    count = len(boxes)
    targets = Targets(torch.tensor(boxes).reshape(-1, 4), torch.arange(count), torch.zeros(count, dtype=torch.int64), 1)
    priors = pyramid_priors(Head(), 256, 256)
    predictions = Predictions(torch.zeros(1, len(priors), 4), priors.boxes[None], torch.zeros(1, len(priors), 4))
    assigner = FoveaBox(Setting(classes=4), **options)
    return assign(assigner, PairViews(predictions, priors, targets, Head().coding)), priors


def places(record: Assignment, priors: Priors, n: int, level: int) -> list[list[float]]:
    mine = record.pairs.location[record.pairs.object == n]
    return sorted(priors.points[mine[priors.level[mine] == level]].tolist())


def test_the_fovea_is_the_middle_of_the_box_on_the_levels_that_fit() -> None:
    record, priors = decided([30.0, 40, 90, 90])  # √3000 = 55: P3 (up to 64) and P4 (32 to 128); fovea 48–72 × 55–75
    assert places(record, priors, 0, 0) == [[x, y] for x in (52.0, 60.0, 68.0) for y in (60.0, 68.0)]
    assert places(record, priors, 0, 1) == [[56.0, 56.0], [56.0, 72.0], [72.0, 56.0], [72.0, 72.0]]
    assert [places(record, priors, 0, level) for level in (2, 3, 4)] == [[], [], []]


@pytest.mark.parametrize(
    ("side", "levels"),
    [(31.9, {0}), (32.0, {0, 1}), (64.0, {0, 1, 2}), (64.1, {1, 2}), (128.0, {1, 2, 3}), (250.0, {2, 3})],
)
def test_both_ends_of_a_range_belong_to_it(side: float, levels: set[int]) -> None:
    record, priors = decided([0.0, 0, side, side], fovea=1.0)
    assert set(priors.level[record.pairs.location].tolist()) == levels


def test_with_an_overlap_of_root_two_a_size_is_on_one_level() -> None:
    record, priors = decided([0.0, 0, 60, 60], fovea=1.0, overlap=1.4143)
    assert set(priors.level[record.pairs.location].tolist()) == {1}


def test_a_fovea_between_locations_holds_none_but_at_the_side_of_the_image() -> None:
    # locations at 4, 12, 20, …; in y the middle, 108, is one
    for sides, fovea in (((17.0, 23.0), 20.0), ((21.0, 27.0), None), ((0.0, 6.0), 4.0), ((0.0, 4.0), 4.0)):
        record, priors = decided([sides[0], 104, sides[1], 112])
        assert places(record, priors, 0, 0) == ([] if fovea is None else [[fovea, 108.0]])
        assert len(record.pairs) == (fovea is not None)


def test_the_smaller_box_has_a_location_of_two() -> None:
    record, priors = decided([20.0, 20, 80, 80], [30.0, 30, 70, 70])
    assert places(record, priors, 1, 0) == [[x, y] for x in (44.0, 52.0) for y in (44.0, 52.0)]
    assert not {tuple(place) for place in places(record, priors, 0, 0)} & {(44.0, 44.0), (52.0, 52.0)}
    assert (60.0, 60.0) in {tuple(place) for place in places(record, priors, 0, 0)}


@pytest.mark.parametrize(("ties", "winner"), [("first", 0), ("last", 1)])
def test_equal_boxes(ties: str, winner: int) -> None:
    box = [20.0, 20, 80, 80]
    record, _ = decided(box, box, ties=ties)
    assert record.pairs.object.unique().tolist() == [winner]


def test_the_reference_counts_images_beside_positives() -> None:
    record, _ = decided([20.0, 20, 80, 80], normaliser="local")
    assert record.normalisers.positive == record.normalisers.negative == len(record.pairs) + 1
    assert record.normalisers.box == len(record.pairs)
    assert record.normalisers.local


@pytest.mark.parametrize("options", [{"fovea": 0.0}, {"fovea": 1.1}, {"overlap": 1.3}, {"base": 0.0}])
def test_values_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        FoveaBox(Setting(classes=2), **options)
