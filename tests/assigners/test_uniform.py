"""Uniform matching by hand: which anchors an object takes, who wins them, what is ignored."""

from typing import Any

import pytest
import torch
from torch import Tensor

from assignbench.core import Assignment, PairViews, Priors, Setting, Targets, assign
from assignbench.core.parts import Deltas, RawOutputs, predictions_of
from assignbench.core.priors import pyramid_priors
from assigners.uniform import Uniform


def targets_of(*objects: tuple[int, list[float]]) -> Targets:
    return Targets(
        torch.tensor([box for _, box in objects]).reshape(-1, 4),
        torch.tensor([label for label, _ in objects], dtype=torch.int64),
        torch.zeros(len(objects), dtype=torch.int64),
        1,
    )


def decided(targets: Targets, regression: Tensor | None = None, **options: Any) -> tuple[Assignment, Priors]:
    """The record on 128 × 128 pixels; predicted boxes are the anchors, moved by ``regression``."""
    assigner = Uniform(Setting(classes=3), **options)
    head = assigner.head.controlled()
    priors = pyramid_priors(head, 128, 128)
    raw = torch.zeros(1, len(priors), 4) if regression is None else regression
    predictions = predictions_of(RawOutputs(torch.zeros(1, len(priors), 3), raw, {}), head, priors)
    return assign(assigner, PairViews(predictions, priors, targets, head.coding)), priors


def test_it_has_yolofs_five_sizes_under_both_protocols() -> None:
    published = Uniform.presets["mmdet"].head
    controlled = pyramid_priors(Uniform.head.controlled(), 512, 512)
    one = pyramid_priors(published, 512, 512)
    sides = [32.0, 64, 128, 256, 512]
    assert (controlled.boxes[:, 2] - controlled.boxes[:, 0]).unique().tolist() == sides
    assert (one.boxes[:, 2] - one.boxes[:, 0]).unique().tolist() == sides
    assert one.level.unique().tolist() == [2]
    assert published.coding == Deltas((1.0, 1.0, 1.0, 1.0), max_shift=32.0)


def test_an_object_takes_the_anchors_most_like_it_twice_where_its_predictions_are_the_anchors() -> None:
    record, priors = decided(targets_of((1, [40.0, 40, 72, 72])))  # the anchors of P3 around (56, 56) are its size
    points = priors.points[record.pairs.location]
    assert sorted(points.tolist()) == [[52.0, 52.0], [52.0, 60.0], [60.0, 52.0], [60.0, 60.0]]
    assert priors.level[record.pairs.location].tolist() == [0, 0, 0, 0]
    assert record.pairs.weight.tolist() == [1.0] * 4
    assert record.pairs.box_weight.tolist() == [2.0] * 4
    assert record.normalisers.positive == record.normalisers.box == 4
    assert record.ignored is not None
    assert not record.ignored[0, record.pairs.location].any()


def test_every_object_has_as_many_whatever_its_size() -> None:
    record, _ = decided(targets_of((0, [8.0, 8, 30, 34]), (1, [10.0, 20, 110, 100]), (2, [0.0, 0, 128, 128])))
    assert torch.bincount(record.pairs.object, weights=record.pairs.box_weight).tolist() == [8, 8, 8]


def test_predictions_are_matched_as_well_as_anchors() -> None:
    target = targets_of((0, [40.0, 40, 72, 72]))
    _, priors = decided(target)
    far = int((priors.points - torch.tensor([28.0, 28])).square().sum(1).argmin())
    moved = torch.zeros(1, len(priors), 4)
    moved[0, far, :2] = 28 / 32 / 0.1  # by 28 pixels in x and y: exactly onto the object
    record, _ = decided(target, moved, k=1, positive_iou=0.0)
    assert far in record.pairs.location.tolist()
    assert record.pairs.box_weight.tolist() == [1.0, 1.0]
    record, _ = decided(target, moved, k=1)  # its own anchor hardly overlaps the object: 4 × 4 pixels
    assert far not in record.pairs.location.tolist()
    assert record.ignored is not None
    assert record.ignored[0, far]


@pytest.mark.parametrize(("negative_iou", "ignored"), [(0.7, True), (0.8, False)])
def test_what_predicts_an_object_well_and_is_not_matched_is_ignored(negative_iou: float, ignored: bool) -> None:
    target = targets_of((0, [40.0, 40, 72, 72]))
    _, priors = decided(target)
    moved = torch.zeros(1, len(priors), 4)
    places = [int((priors.points - torch.tensor(point)).square().sum(1).argmin()) for point in ([60.0, 44], [44.0, 60])]
    moved[0, places[0], :2] = torch.tensor([-4.0, 12]) / 32 / 0.1  # onto the object
    moved[0, places[1], :2] = torch.tensor([14.0, -2]) / 32 / 0.1  # 2 pixels off in x and y: IoU 900 / 1148 = 0.78
    record, _ = decided(target, moved, k=1, negative_iou=negative_iou)
    assert places[0] in record.pairs.location.tolist()
    assert places[1] not in record.pairs.location.tolist()
    assert record.ignored is not None
    assert bool(record.ignored[0, places[1]]) == ignored


def test_an_object_unlike_every_anchor_teaches_nothing_and_its_anchors_are_left_alone() -> None:
    record, _ = decided(targets_of((0, [50.0, 50, 58, 58])))  # 64 of 1024 pixels²
    assert len(record.pairs) == 0
    assert record.ignored is not None
    assert int(record.ignored.sum()) == 4
    record, _ = decided(targets_of((0, [50.0, 50, 58, 58])), positive_iou=0.0)
    assert len(record.pairs) == 4


@pytest.mark.parametrize(("conflicts", "winner"), [("best", 0), ("last", 1)])
def test_two_equal_objects(conflicts: str, winner: int) -> None:
    """One has the class of all four anchors, both have the boxes."""
    box = [40.0, 40, 72, 72]
    record, _ = decided(targets_of((0, box), (1, box)), conflicts=conflicts)
    assert len(record.pairs) == 8
    assert record.pairs.weight[record.pairs.object == winner].tolist() == [1.0] * 4
    assert record.pairs.weight[record.pairs.object != winner].tolist() == [0.0] * 4
    assert record.pairs.box_weight.tolist() == [2.0] * 8
    assert record.discounts.label.unique().tolist() == [winner]
    assert record.normalisers.positive == 4


def test_the_reference_may_ignore_an_anchor_that_another_object_learns() -> None:
    """The small one, listed last, is too small for the anchors of the other that are also its nearest."""
    pair = targets_of((0, [40.0, 40, 72, 72]), (1, [52.0, 52, 60, 60]))
    best, _ = decided(pair)
    last, _ = decided(pair, conflicts="last")
    assert best.pairs.weight.tolist() == [1.0] * 4
    assert last.pairs.weight.tolist() == [0.0] * 4
    assert last.pairs.box_weight.tolist() == [2.0] * 4  # boxes are learned all the same
    assert last.ignored is not None
    assert bool(last.ignored[0, last.pairs.location].all())


def test_images_without_positives_count_one() -> None:
    empty = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 1)
    assert decided(empty, normaliser="image")[0].normalisers.positive == 1
    assert decided(empty)[0].normalisers.positive == 0


@pytest.mark.parametrize("options", [{"k": 0}, {"positive_iou": 1.0}, {"positive_iou": -0.1}, {"negative_iou": 0.0}])
def test_values_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Uniform(Setting(classes=2), **options)
