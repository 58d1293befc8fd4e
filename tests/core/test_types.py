"""The vocabulary refuses what does not fit, by name."""

from dataclasses import replace

import pytest
import torch

from assignbench.core import Discounts, Head, Pairs, Predictions, Priors, Setting, Targets
from assignbench.core.parts import Centerness, ImplicitObjectness
from assignbench.core.priors import pyramid_priors
from assignbench.core.types import Grid

NONE = torch.zeros(0, dtype=torch.int64)


def priors_of(points: torch.Tensor) -> Priors:
    """8 × 8 boxes around points, as if they were a row of cells."""
    count, one = len(points), torch.ones(1, dtype=torch.int64)
    grid = Grid(0 * one, one, count * one, points[:1], torch.ones(1, 2), anchors=1)
    boxes, level = torch.cat((points - 4, points + 4), 1), torch.zeros(count, dtype=torch.int64)
    return Priors(boxes, points, torch.ones(count), level, grid)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"Targets\.labels"):
        Targets(torch.zeros(2, 4), NONE, NONE, 1)
    with pytest.raises(ValueError, match=r"Pairs\.quality"):
        Pairs(NONE, NONE, torch.zeros(0), torch.zeros(0), torch.zeros(1))
    with pytest.raises(ValueError, match=r"Discounts\.factor"):
        Discounts(NONE, NONE, NONE, torch.zeros(3))
    priors = priors_of(torch.rand(5, 2))
    for name, wrong in (("stride", 4), ("level", 4), ("points", 5), ("boxes", (5, 3)), ("boxes", 5), ("boxes", ())):
        with pytest.raises(ValueError, match=rf"Priors\.{name}"):
            replace(priors, **{name: torch.zeros(wrong)})
    boxes = torch.zeros(1, 5, 4)
    with pytest.raises(ValueError, match="extra output 'x'"):
        Predictions(torch.zeros(1, 5, 2), boxes, boxes, {"x": torch.zeros(1, 4)})


def test_an_image_of_a_batch_keeps_its_objects_and_crowds() -> None:
    some = Targets(torch.rand(3, 4), torch.tensor([5, 6, 7]), torch.tensor([0, 2, 2]), 3)
    assert some.of_image(2).labels.tolist() == [6, 7]
    assert some.of_image(2).image.tolist() == [0, 0]
    assert len(some.of_image(1)) == 0


def test_a_head_refuses_an_extra_twice_and_keeps_two_different_ones() -> None:
    with pytest.raises(ValueError, match="twice"):
        Head(extras=(Centerness(), Centerness()))
    assert len(Head(extras=(Centerness(), ImplicitObjectness())).extras) == 2


def test_predicted_priors_are_seen_per_image() -> None:
    fixed = priors_of(torch.rand(5, 2))
    predicted = fixed.predicted(torch.rand(2, 5, 4))
    image, location = torch.tensor([1, 0]), torch.tensor([4, 2])
    assert torch.equal(fixed.boxes_at(image, location), fixed.boxes[[4, 2]])
    assert torch.equal(predicted.boxes_at(image, location), predicted.boxes[[1, 0], [4, 2]])
    assert len(predicted) == 5
    assert predicted.points is fixed.points  # the locations stay where they are


def test_priors_in_another_precision_are_the_same_priors() -> None:
    priors = pyramid_priors(Head(offset=0.3), 64, 96).padded(torch.tensor([[40, 96]]))
    double = priors.cast(torch.float64)
    parts = (double.boxes, double.points, double.stride, double.grid.first, double.grid.step)
    assert {part.dtype for part in parts} == {torch.float64}
    assert torch.equal(double.points.float(), priors.points)
    assert double.inside is not None
    assert priors.inside is not None
    assert torch.equal(double.inside, priors.inside)
    assert priors.cast(torch.float32) is priors


def test_points_are_exact() -> None:
    """Corners of large boxes round; a location is where its cell says."""
    for offset in (0.0, 0.3, 0.5):
        priors = pyramid_priors(Head(offset=offset), 800, 1344)
        for level, stride in enumerate((8, 16, 32, 64, 128)):
            own = priors.points[priors.level == level]
            rows, columns = priors.grid.rows[level], priors.grid.columns[level]
            x, y = ((torch.arange(int(count)) + offset) * stride for count in (columns, rows))
            assert torch.equal(own.view(int(rows), int(columns), 2)[..., 0], x.expand(int(rows), -1))
            assert torch.equal(own.view(int(rows), int(columns), 2)[..., 1], y[:, None].expand(-1, int(columns)))


def test_a_detector_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one class"):
        Setting(classes=0)


def test_what_came_from_the_host_is_not_fetched_back() -> None:
    here = Targets(torch.rand(3, 4), torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 1)
    assert here.on_host() is here
    there = here.to("meta")  # a device without any numbers to fetch
    assert there.on_host() is here
    assert there.without_ignored().on_host().boxes is here.boxes
    with pytest.raises(NotImplementedError):  # changed since: what the host has would be something else
        replace(there, boxes=there.boxes + 1).on_host()

    priors = priors_of(torch.rand(5, 2))
    moved = priors.to("meta")
    assert moved.on_host() is priors
    padded = moved.padded(torch.tensor([[33, 64]]))
    assert padded.on_host().extent is not None
    assert padded.on_host().extent.tolist() == [[64, 64]]
    assert padded.on_host().boxes is priors.boxes
    with pytest.raises(NotImplementedError):
        replace(moved, boxes=moved.boxes + 1).on_host()


def test_padding_begins_at_the_size_rounded_up() -> None:
    center = torch.tensor([[31.0, 31], [32, 31], [31, 33], [63.5, 63.5], [64, 1]])
    priors = priors_of(center)
    assert priors.inside is None
    every = torch.arange(5)
    assert bool(priors.inside_at(torch.zeros(5, dtype=torch.int64), every).all())
    padded = priors.padded(torch.tensor([[32, 33], [64, 32], [33, 64]]))  # height, width
    want = [[True, True, False, False, False], [True, False, True, False, False], [True, True, True, True, False]]
    assert padded.inside is not None
    assert padded.inside.tolist() == want
    for image in range(3):
        assert padded.inside_at(torch.full((5,), image), every).tolist() == want[image]
