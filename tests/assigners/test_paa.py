"""PAA by hand: candidates, costs, the cut at the densest easy candidate, and what is done without a split."""

import pytest
import torch

from assignbench.core import Head, PairViews, Predictions, Setting, Targets, assign
from assignbench.core.priors import pyramid_priors
from assignbench.synthetic import random_problem
from assigners.paa import PAA


@pytest.mark.parametrize(
    ("offset", "counts"),
    [
        (0.0, [[183, 69, 9, 0, 0], [238, 122, 54, 0, 0], [42, 0, 0, 0, 0], [25, 0, 0, 0, 0]]),
        (0.5, [[175, 65, 3, 0, 0], [245, 124, 60, 0, 0], [30, 0, 0, 0, 0], [25, 0, 0, 0, 0]]),
    ],
)
def test_candidates_of_the_scene_are_the_references(
    scene: Targets, setting: Setting, offset: float, counts: list[list[int]]
) -> None:
    priors = pyramid_priors(Head(offset=offset), 256, 256)
    objects, locations = PAA(setting, forced="last").candidates(scene, priors)
    assert len(locations.unique()) == len(locations)
    for n, wanted in enumerate(counts):
        assert torch.bincount(priors.level[locations[objects == n]], minlength=5).tolist() == wanted


def easy(setting: Setting, *costs: list[float], **options: object) -> list[list[bool]]:
    sizes = [len(one) for one in costs]
    objects = torch.repeat_interleave(torch.arange(len(costs)), torch.tensor(sizes))
    found = PAA(setting, **options).easy(torch.tensor([e for one in costs for e in one]), objects, len(costs))  # type: ignore[arg-type]
    return [one.tolist() for one in found.split(sizes)]


def test_positives_end_at_the_densest_easy_candidate(setting: Setting) -> None:
    """Of the easy ones 1.0, 1.5, 1.6, 1.7, 2.2 the mean is 1.6, of the hard ones 6.1."""
    (found,) = easy(setting, [1.0, 1.5, 1.6, 1.7, 2.2, 6.0, 6.1, 6.2])
    assert found == [True, True, True, False, False, False, False, False]


def test_equal_costs_are_one_component_whose_first_is_the_densest(setting: Setting) -> None:
    for unsplit in ("all", "none"):
        assert easy(setting, [2.0] * 4, unsplit=unsplit) == [[True, False, False, False]]


def test_an_only_candidate_is_positive_unless_the_reference_is_followed(setting: Setting) -> None:
    assert easy(setting, [1.0], [1.0, 1.1, 5.0, 5.1]) == [[True], [True, False, False, False]]
    assert easy(setting, [1.0], [1.0, 1.1, 5.0, 5.1], unsplit="none") == [[False], [True, False, False, False]]


def test_where_nothing_is_easy_all_or_none_are_positive(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def hard(values: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(values, dtype=torch.bool), values

    monkeypatch.setattr("assigners.paa.two_gaussians", hard)
    assert easy(setting, [1.0, 2.0], [3.0]) == [[True, True], [True]]
    assert easy(setting, [1.0, 2.0], [3.0], unsplit="none") == [[False, False], [False]]


def test_positives_are_candidates_and_at_most_k_of_a_level() -> None:
    problem = random_problem(PAA.head.controlled(), seed=1, classes=3, counts=(6, 0, 4))
    assigner = PAA(Setting(classes=3), k=2)
    record = assign(assigner, problem.view())
    candidates = set(
        zip(*(part.tolist() for part in assigner.candidates(problem.targets, problem.priors)), strict=True)
    )
    pairs = record.pairs
    assert set(zip(pairs.object.tolist(), pairs.location.tolist(), strict=True)) <= candidates
    assert bool((torch.bincount(pairs.object * 5 + problem.priors.level[pairs.location]) <= 2).all())
    assert set(pairs.object.tolist()) == set(range(len(problem.targets)))  # each has candidates, so each is taught
    assert record.ignored is None
    pair = problem.view()(pairs.object, pairs.location)
    assert torch.equal(pairs.box_weight, pair.overlap)


def test_an_image_counts_as_a_positive_at_least_where_the_reference_is_followed() -> None:
    problem = random_problem(PAA.head.controlled(), seed=1, classes=3, counts=(0, 0))
    for normaliser, wanted in (("batch", 1.0), ("local", 2.0)):
        record = assign(PAA(Setting(classes=3), normaliser=normaliser), problem.view())  # type: ignore[arg-type]
        assert record.normalisers.positive == 0
        assert record.normalisers.least == wanted


def test_an_anchor_that_two_objects_force_goes_to_the_better_one_or_to_the_last() -> None:
    """Two tiny boxes at the middle of a cell: the anchor around it is the best one of both."""
    boxes = torch.tensor([[18.0, 18, 22, 22], [19.0, 19, 21, 21]])
    zero = torch.zeros(2, dtype=torch.int64)
    priors, targets = pyramid_priors(Head(), 64, 64), Targets(boxes, zero, zero, 1)
    for forced, owner in (("best", 0), ("last", 1)):
        objects, locations = PAA(Setting(classes=2), forced=forced).candidates(targets, priors)  # type: ignore[arg-type]
        assert set(objects.tolist()) == {owner}
        assert len(locations)


def test_the_cost_is_what_the_location_would_be_charged() -> None:
    """Unknown classes and a box that is right: the focal loss of two classes at p = 1/2, and nothing for the box."""
    priors = pyramid_priors(Head(), 64, 64)
    targets = Targets(torch.tensor([[10.0, 10, 50, 50]]), torch.tensor([0]), torch.tensor([0]), 1)
    boxes = targets.boxes.expand(1, len(priors), 4)
    predictions = Predictions(torch.zeros(1, len(priors), 2), boxes, torch.zeros(1, len(priors), 4))
    pair = PairViews(predictions, priors, targets, Head().coding)(torch.tensor([0]), torch.tensor([5]))
    assert pair.class_cost.item() == pytest.approx((0.25 + 0.75) * 0.25 * 0.6931472)
    assert pair.box_part.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("options", [{"k": 0}, {"least_iou": 0.0}, {"least_iou": 1.0}, {"least_box": 0.0}])
def test_options_that_make_no_sense_are_refused(setting: Setting, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        PAA(setting, **options)  # type: ignore[arg-type]


def test_of_two_objects_the_one_of_higher_overlap_forces_an_anchor_however_small_the_difference() -> None:
    boxes = torch.tensor([[48.0, 80, 56, 88], [48.0, 80, 56, 88.00002]])  # 1 + IoU is the same in float32
    problem = random_problem(PAA.head.controlled(), seed=0, classes=3, counts=(2,), height=96, width=96, channels=32)
    owners = []
    for listed in (boxes, boxes.flip(0)):
        targets = Targets(listed, torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), 1)
        objects, _ = PAA(Setting(classes=3)).candidates(targets, problem.priors)
        owners.append({float(listed[number, 3]) for number in objects.tolist()})
    assert owners[0] == owners[1]
