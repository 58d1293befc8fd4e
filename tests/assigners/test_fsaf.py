"""FSAF by hand: regions, who wins a cell, which level an object is taught on, what is ignored."""

from collections.abc import Callable

import pytest
import torch

from assignbench.core import Assigner, Assignment, Head, PairViews, Predictions, Priors, Setting, Targets, assign, iou
from assignbench.core.parts import Distances, LogIoU, PairLoss
from assignbench.core.priors import pyramid_priors
from assignbench.synthetic import random_problem
from assigners.fsaf import FSAF, share_of_cell


def targets_of(*objects: tuple[int, list[float]]) -> Targets:
    return Targets(
        torch.tensor([box for _, box in objects]).reshape(-1, 4),
        torch.tensor([label for label, _ in objects], dtype=torch.int64),
        torch.zeros(len(objects), dtype=torch.int64),
        1,
    )


def decided(targets: Targets, easy: int = 0, **options: object) -> tuple[Assignment, Priors]:
    """The record where the network knows the first object's class on one level, nothing elsewhere; 128 × 128 pixels."""
    priors = pyramid_priors(Head(), 128, 128)
    logits = torch.full((1, len(priors), 2), -3.0)
    logits[:, priors.level == easy, targets.labels[0]] = 6.0
    predictions = Predictions(logits, priors.boxes[None], torch.zeros(1, len(priors), 4))
    assigner = FSAF(Setting(classes=2), **options)  # type: ignore[arg-type]
    return assign(assigner, PairViews(predictions, priors, targets, Head().coding)), priors


@pytest.mark.parametrize(
    ("offset", "counts"),
    [
        (0.0, [[8, 4, 2, 2, 0], [16, 9, 2, 1, 1], [1, 1, 0, 0, 0], [0] * 5]),
        (0.5, [[12, 6, 4, 2, 1], [20, 6, 4, 3, 2], [2, 0, 0, 0, 0], [0] * 5]),
    ],
)
def test_candidates_of_the_scene_are_the_references(
    scene: Targets, setting: Setting, offset: float, counts: list[list[int]]
) -> None:
    priors = pyramid_priors(Head(offset=offset), 256, 256)
    objects, locations, won, _ = FSAF(setting, same_class="ignored").regions(scene, priors)
    for n, wanted in enumerate(counts):
        level = priors.level[locations[won[objects[won] == n]]]
        assert torch.bincount(level, minlength=5).tolist() == wanted
    assert len(objects) - len(won) == (1 if offset == 0 else 3)
    wide = FSAF(setting, ring=0.5, same_class="ignored").regions(scene, priors)
    assert len(wide[0]) - len(wide[2]) == (179 if offset == 0 else 182)


def test_a_cell_of_the_core_whose_location_lies_outside_the_box_is_ring() -> None:
    """A box of 6 × 6 pixels at the corner of four cells: its core is in all, its inside holds no location."""
    objects, locations, won, _ = FSAF(Setting(classes=2)).regions(
        targets_of((0, [13.0, 13, 19, 19])), pyramid_priors(Head(), 128, 128)
    )
    # the core is 1.2 pixels wide: a quarter of it is 0.36 of 64 pixels² of a cell, less than 1 %
    assert len(objects) == len(locations) == len(won) == 0
    objects, *_ = FSAF(Setting(classes=2)).regions(
        targets_of((0, [12.2, 12.2, 19.8, 19.8])), pyramid_priors(Head(), 128, 128)
    )
    assert len(objects) == 0  # (0.76)² = 0.5776 of 0.64
    wide = FSAF(Setting(classes=2), ring=1.0).regions(
        targets_of((0, [12.2, 12.2, 19.8, 19.8])), pyramid_priors(Head(), 128, 128)
    )
    assert len(wide[0]) >= 4
    assert len(wide[2]) == 0


def test_the_level_of_least_loss_is_taught_and_the_others_are_ignored() -> None:
    targets = targets_of((1, [20.0, 20, 110, 110]))
    for easy in (0, 1, 2):
        record, priors = decided(targets, easy)
        assert set(priors.level[record.pairs.location].tolist()) == {easy}
        entries = record.discounts.counted()
        assert set(entries.label.tolist()) == {1}
        assert set(priors.level[entries.location].tolist()) > {easy}
        assert set(record.pairs.location.tolist()) < set(entries.location.tolist())
        assert not entries.factor.any()


def test_equal_losses_take_the_finer_level() -> None:
    """Boxes that are right everywhere, and classes that are unknown everywhere."""
    targets, priors = targets_of((0, [20.0, 20, 110, 110])), pyramid_priors(Head(), 128, 128)
    boxes = targets.boxes.expand(1, len(priors), 4)
    predictions = Predictions(torch.zeros(1, len(priors), 2), boxes, torch.zeros(1, len(priors), 4))
    record = assign(FSAF(Setting(classes=2)), PairViews(predictions, priors, targets, Head().coding))
    assert set(priors.level[record.pairs.location].tolist()) == {0}


def test_the_smaller_box_wins_a_cell_and_the_larger_ones_class_is_ignored_there() -> None:
    large, small = (0, [20.0, 20, 108, 108]), (1, [40.0, 40, 88, 88])
    record, priors = decided(targets_of(large, small))
    cells = {n: set(record.pairs.location[record.pairs.object == n].tolist()) for n in (0, 1)}
    assert cells[1]
    assert not cells[0] & cells[1]
    entries = record.discounts.counted()
    of_large = {j for j, y in zip(entries.location.tolist(), entries.label.tolist(), strict=True) if y == 0}
    assert cells[1] <= of_large
    objects, locations, won, _ = FSAF(Setting(classes=2)).regions(targets_of(large, small), priors)
    assert len(locations[won].unique()) == len(won)
    assert set(objects[won].tolist()) == {0, 1}


@pytest.mark.parametrize(("rule", "wanted"), [("positive", True), ("ignored", False)])
def test_equal_objects_of_one_class_teach_unless_they_ignore_each_other(rule: str, wanted: bool) -> None:
    twin = (0, [20.0, 20, 84, 72])
    record, _ = decided(targets_of(twin, twin), same_class=rule)
    assert bool(len(record.pairs)) == wanted
    assert set(record.pairs.object.tolist()) == ({0} if wanted else set())  # the one listed first
    assert len(record.discounts.counted()) > 0
    apart, _ = decided(targets_of(twin, (1, twin[1])), same_class=rule)  # of two classes
    assert set(apart.pairs.object.tolist()) == {0}


def test_what_is_ignored_is_no_part_of_the_level_loss() -> None:
    """A larger object of another class over the same cells: its class costs nothing there."""
    large, small = (0, [20.0, 20, 108, 108]), (1, [40.0, 40, 88, 88])
    problem = random_problem(Head(), seed=0, classes=2, counts=(0,), height=128, width=128)
    levels = {}
    for name, targets in (("both", targets_of(large, small)), ("small", targets_of(small))):
        view = problem.with_targets(targets).view()
        assigner = FSAF(Setting(classes=2))
        objects, locations, won, ignored = assigner.regions(targets, problem.priors)
        pair, every = view(objects[won], locations[won]), view(objects, locations)
        levels[name] = assigner.level_loss(pair, every, ignored)[-1]
    assert bool((levels["both"] <= levels["small"]).all())
    assert bool((levels["both"] < levels["small"]).any())


def test_without_a_positive_the_reference_divides_by_the_background(ask: Callable[..., object]) -> None:
    tiny = targets_of((0, [50.2, 50.3, 50.9, 51.1]))
    for normaliser, wanted in (("batch", None), ("local", 341.0)):
        record, priors = decided(tiny, normaliser=normaliser)
        assert len(record.pairs) == record.normalisers.positive == 0
        assert len(priors) == 341
        found = record.normalisers.unpaired
        assert (None if found is None else found.item()) == wanted


def test_shares_of_cells_are_overlaps() -> None:
    problem = random_problem(Head(size=1.0), seed=2, classes=2, counts=(5,))
    priors, targets = problem.priors, problem.targets
    objects = torch.arange(5).repeat_interleave(len(priors))
    locations = torch.arange(len(priors)).repeat(5)
    share = share_of_cell(targets, priors, objects, locations, 1.0)
    box, cell = targets.boxes[objects], priors.boxes[locations]
    overlap = iou(box, cell)
    area = (box[:, 2:] - box[:, :2]).prod(-1)
    wanted = overlap * (area + priors.stride[locations] ** 2) / (1 + overlap) / priors.stride[locations] ** 2
    torch.testing.assert_close(share, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"core": 0.0}, "core"), ({"core": 0.5}, "ring"), ({"ring": 1.5}, "ring"), ({"ring": 0.1}, "ring")],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FSAF(Setting(classes=2), **options)  # type: ignore[arg-type]


def test_its_preset_is_the_anchor_free_branch() -> None:
    preset = FSAF.presets["mmdet"]
    assert preset.head.coding == Distances(unit=4.0, upright=True)
    assert preset.loss == PairLoss(box=LogIoU(weight=4.0, least_output=1e-4))
    assert preset.loss.weight * preset.loss.box.weight == 1
    assert issubclass(FSAF, Assigner)
