"""Pairs, winners and group sums: examples that can be checked by eye, and plain definitions."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.core import (
    Head,
    Normalisers,
    Priors,
    Targets,
    above_moments,
    best_of,
    best_overlap,
    class_winners,
    hard_assignment,
    image_floor,
    inside_pairs,
    iou,
    max_by,
    mean_by,
    min_by,
    smallest_k,
    softmax_by,
    sum_by,
    winners,
)
from assignbench.core.fast import rows
from assignbench.core.matching import same_class_neighbours
from assignbench.core.priors import pyramid_priors
from assignbench.core.types import Grid
from assignbench.synthetic import random_problem


def targets(*given: tuple[int, int, list[float]], images: int = 1) -> Targets:
    return Targets(
        boxes=torch.tensor([box for _, _, box in given], dtype=torch.float32).view(-1, 4),
        labels=torch.tensor([label for _, label, _ in given], dtype=torch.int64),
        image=torch.tensor([image for image, _, _ in given], dtype=torch.int64),
        images=images,
    )


def grid() -> Priors:
    """Four locations at x = 4, 12, 20, 28, all at y = 4."""
    x = torch.tensor([4.0, 12.0, 20.0, 28.0])
    points = torch.stack((x, torch.full_like(x, 4)), dim=1)
    one, zero = torch.ones(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    layout = Grid(zero, one, 4 * one, points[:1], torch.tensor([[8.0, 8.0]]), anchors=1)
    boxes = torch.cat((points - 4, points + 4), 1)
    return Priors(boxes, points, torch.full((4,), 8.0), torch.zeros(4, dtype=torch.int64), layout)


def test_inside_pairs_are_strictly_inside_and_ordered() -> None:
    some = targets((0, 0, [4, 0, 21, 8]), (0, 1, [11, 0, 40, 8]))
    objects, locations = inside_pairs(some, grid())
    assert list(zip(objects.tolist(), locations.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 1),
        (1, 2),
        (1, 3),
    ]
    objects, locations = inside_pairs(some, grid(), margin=1.0)  # 20 → 21 and 11 → 12 are no longer enough
    assert list(zip(objects.tolist(), locations.tolist(), strict=True)) == [(0, 1), (1, 2), (1, 3)]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(Head(), seed=1, classes=3, counts=(9, 0, 4))
    whole = (
        inside_pairs(problem.targets, problem.priors),
        best_overlap(problem.predictions, problem.targets, problem.priors),
    )
    monkeypatch.setattr(rows, "CHUNK", len(problem.priors) * 2)
    cut = (
        inside_pairs(problem.targets, problem.priors),
        best_overlap(problem.predictions, problem.targets, problem.priors),
    )
    assert torch.equal(whole[0][0], cut[0][0])
    assert torch.equal(whole[0][1], cut[0][1])
    assert torch.equal(whole[1], cut[1])


def test_smallest_k_prefers_the_lower_index_among_equals() -> None:
    cost = torch.tensor([[3.0, 1, 2, 2, 2], [float("inf"), 5, float("inf"), 4, float("inf")]])
    assert smallest_k(cost, 3).tolist() == [
        [False, True, True, True, False],
        [False, True, False, True, False],
    ]
    assert smallest_k(cost, 99)[0].all()
    assert not smallest_k(cost, 0).any()
    assert smallest_k(cost[:0], 3).shape == (0, 5)


def test_smallest_k_of_each_row() -> None:
    cost = torch.tensor([[3.0, 1, 2, 2], [9, 9, 8, 7], [float("nan"), 5, float("inf"), float("nan")], [1, 1, 1, 1]])
    assert smallest_k(cost, torch.tensor([2, 0, 3, 3])).tolist() == [
        [False, True, True, False],
        [False, False, False, False],
        [False, True, False, False],  # what is not a number or not finite is not taken
        [True, True, True, False],
    ]
    assert smallest_k(cost[:0], torch.zeros(0, dtype=torch.int64)).shape == (0, 4)
    generator = torch.Generator().manual_seed(0)
    many, k = torch.randint(0, 30, (9, 5000), generator=generator).float(), torch.arange(9) * 5
    each = [smallest_k(many[row : row + 1], int(k[row]))[0] for row in range(9)]
    assert torch.equal(smallest_k(many, k), torch.stack(each))


def test_winners_take_the_highest_score_then_the_first_object() -> None:
    some = targets((0, 0, [0, 0, 9, 9]), (0, 0, [0, 0, 9, 9]), (1, 0, [0, 0, 9, 9]), images=2)
    objects, locations = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([1, 2, 1, 2, 1])
    score = torch.tensor([0.5, 0.5, 0.7, 0.5, 0.1])
    # location 1 of image 0 goes to object 1, the tie at location 2 to object 0; image 1 has no rival
    assert winners(score, objects, locations, some, grid()).tolist() == [False, True, True, False, True]


def test_class_winners_compete_within_their_class_only() -> None:
    some = targets((0, 0, [0, 0, 9, 9]), (0, 1, [0, 0, 9, 9]), (0, 1, [0, 0, 9, 9]))
    objects, locations = torch.tensor([0, 1, 2]), torch.tensor([3, 3, 3])
    score = torch.tensor([0.1, 0.2, 0.3])
    assert class_winners(score, objects, locations, some, grid(), 2).tolist() == [True, False, True]


def test_best_of_nothing_is_nothing() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert best_of(nothing, nothing.float()).shape == (0,)


def test_group_sums() -> None:
    values, group = torch.tensor([1.0, 2, 4]), torch.tensor([2, 0, 2])
    assert sum_by(values, group, 4).tolist() == [2, 0, 5, 0]
    none = float("inf")
    assert max_by(values, group, 4).tolist() == [2, -none, 4, -none]
    assert min_by(values, group, 4).tolist() == [2, none, 1, none]
    assert max_by(torch.tensor([3, 5]), torch.tensor([1, 1]), 2).tolist() == [-(1 << 63), 5]


def test_mean_by_counts_values_several_times() -> None:
    values, group, times = torch.tensor([1.0, 4.0, 7.0]), torch.tensor([0, 0, 2]), torch.tensor([1.0, 2.0, 5.0])
    assert mean_by(values, group, 3).tolist() == [2.5, 0, 7]
    assert mean_by(values, group, 3, times).tolist() == [3, 0, 7]


@pytest.mark.parametrize("rescue", [False, True])
def test_above_moments_by_its_words(rescue: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 6, (80,), generator=generator) / 4
    group = torch.randint(0, 16, (80,), generator=generator).sort().values
    able = torch.rand(80, generator=generator) < 0.6
    values[group == 3] = 1.0  # equal: deviation 0
    values[(group == 5).nonzero()[0]] = torch.nan
    rescued = 0
    for one in range(16):
        mine, free = values[group == one], able[group == one]
        deviation = mine.std() if len(mine) > 1 else 0.0
        wanted = free & (mine >= mine.mean() + deviation)
        if rescue and not wanted.any() and free.any():
            wanted = free & (mine == mine[free].max())
            rescued += 1
        assert torch.equal(above_moments(values, group, 16, able, rescue=rescue)[group == one], wanted), one
    assert rescued > 2 or not rescue


def test_image_floor_counts_every_image_at_least_once() -> None:
    some = targets((0, 0, [0, 0, 9, 9]), (0, 1, [0, 0, 9, 9]), (2, 0, [0, 0, 9, 9]), images=4)
    # three pairs in image 0, one in image 2, none in images 1 and 3
    assert image_floor(torch.tensor([0, 1, 1, 2]), some) == 3 + 1 + 1 + 1
    assert image_floor(torch.zeros(0, dtype=torch.int64), some) == 4


def test_a_hard_record_is_normalised_by_its_pairs_unless_told() -> None:
    some = targets((0, 1, [0, 0, 9, 9]), (0, 0, [0, 0, 9, 9]))
    objects, locations = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 3])
    plain = hard_assignment(objects, locations, some)
    assert [plain.normalisers.positive, plain.normalisers.box, plain.normalisers.negative] == [3, 3, 3]
    assert plain.pairs.quality is None
    weighted = hard_assignment(objects, locations, some, box_weight=torch.tensor([0.5, 0.25, 0]))
    assert [weighted.normalisers.positive, weighted.normalisers.box] == [3, 0.75]
    # the own class of a positive location is no background
    assert weighted.discounts.label.tolist() == [1, 1, 0]
    assert weighted.discounts.factor.tolist() == [0, 0, 0]
    own = Normalisers(torch.tensor(7.0), torch.tensor(8.0), torch.tensor(9.0), least_box=1e-6, local=True)
    assert hard_assignment(objects, locations, some, normalisers=own).normalisers is own


def test_best_overlap_looks_at_all_objects_of_the_own_image_only() -> None:
    problem = random_problem(Head(), seed=2, classes=3, counts=(3, 2))
    best = best_overlap(problem.predictions, problem.targets, problem.priors)
    for image in range(2):
        own = problem.targets.of_image(image)
        each = [iou(problem.predictions.boxes[image], box) for box in own.boxes]
        torch.testing.assert_close(best[image], torch.stack(each).amax(0))


def test_priors_follow_the_nominal_stride() -> None:
    # 800 × 1344: P6 has 13 rows spaced 64 pixels, not 800 / 13
    priors = pyramid_priors(Head(), 800, 1344)
    assert len(priors) == 22_400
    p6 = priors.points[priors.level == 3]
    assert p6[:, 1].unique().diff().unique().tolist() == [64]
    assert len(pyramid_priors(Head(ratios=(0.5, 1, 2), octaves=(0, 1 / 3, 2 / 3)), 800, 1344)) == 201_600


def test_nine_priors_of_a_cell() -> None:
    priors = pyramid_priors(Head(size=4, ratios=(0.5, 1, 2), octaves=(0, 1 / 3, 2 / 3), offset=0), 64, 64)
    size = priors.boxes[:9, 2:] - priors.boxes[:9, :2]
    assert torch.equal(priors.points[:9], torch.zeros(9, 2))
    torch.testing.assert_close(size[3:6, 0], torch.tensor([32, 40.3175, 50.7968]))  # ratio 1: P3's three sides
    torch.testing.assert_close(size[:, 1] / size[:, 0], torch.tensor([0.5, 1, 2]).repeat_interleave(3))


def test_more_classes_at_locations_than_31_bits_count() -> None:
    # 2 images × 5456 locations × 300,000 classes: keys beyond 2³¹ must not run into each other
    problem = random_problem(Head(), seed=3, classes=2, counts=(1, 1), height=512, width=512)
    targets = replace(problem.targets, labels=torch.tensor([0, 299_999]))
    objects, locations = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 5455, 5455, 5455])
    won = class_winners(torch.tensor([0.1, 0.2, 0.3, 0.4]), objects, locations, targets, problem.priors, 300_000)
    assert won.tolist() == [True, True, False, True]


SINGLE = [float("-inf"), -3.5, -1.0000001, -1.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, 1.0000001, 3e38, float("inf")]
DOUBLE = [-1.0, -1.0 - 1e-12, 0.0, -0.0, 1e-300, 2.0, 2.0 + 1e-12, float("inf"), float("-inf")]
WHOLE = [-(1 << 40), -(1 << 40) - 1, -1, 0, 1, (1 << 40), (1 << 40) + 1]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.data(),
    st.sampled_from([(torch.float32, SINGLE), (torch.float64, DOUBLE), (torch.int64, WHOLE)]),
    st.sampled_from([(0, 1, 2), (5, 1 << 20, (1 << 31) - 1)]),
)
def test_best_of(data: st.DataObject, kind: tuple[torch.dtype, list], names: tuple[int, ...]) -> None:
    entries = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(kind[1])), max_size=12))
    best: dict[int, int] = {}
    for place, (group, score) in enumerate(entries):
        if group not in best or score > entries[best[group]][1]:
            best[group] = place
    group = torch.tensor([group for group, _ in entries], dtype=torch.int64)
    score = torch.tensor([score for _, score in entries], dtype=kind[0])
    assert best_of(group, score).nonzero()[:, 0].tolist() == sorted(best.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scores", [[-0.0, 0.0], [0.0, -0.0]])
def test_both_zeros_are_equal(dtype: torch.dtype, scores: list[float]) -> None:
    assert best_of(torch.tensor([4, 4]), torch.tensor(scores, dtype=dtype)).tolist() == [True, False]


def test_many_scores_are_kept_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(0, 50, (20_000,), generator=generator)
    score = torch.randn(20_000, generator=generator)
    for part in (score, score.double(), (score * 1e3).long()):
        won = best_of(group, part)
        top = torch.full((50,), -(10**9), dtype=part.dtype).scatter_reduce(0, group, part, "amax")
        first = [int(((group == name) & (part == top[name])).nonzero()[0]) for name in range(50)]
        assert won.nonzero()[:, 0].tolist() == sorted(first)


def test_an_object_wins_in_its_own_image() -> None:
    some = targets(*((image, 0, [0, 0, 9, 9]) for image in (0, 1, 0, 1)), images=2)
    place, location, score = torch.arange(4), torch.full((4,), 3), torch.tensor([0.1, 0.9, 0.2, 0.9])
    assert winners(score, place, location, some, grid()).tolist() == [False, True, True, False]


def crowded(count: int) -> Targets:
    """Small boxes of three classes in two images, many of which meet."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 40, (count, 2), generator=generator)
    size = torch.randint(1, 8, (count, 2), generator=generator)
    labels, image = (torch.randint(0, most, (count,), generator=generator) for most in (3, 2))
    return Targets(torch.cat((corner, corner + size), 1).float(), labels, image, images=2)


@pytest.mark.parametrize("chunk", [1, 1 << 17])
def test_same_class_neighbours(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    some = crowded(60)

    def meet(a: int, b: int) -> bool:
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = some.boxes[a].tolist(), some.boxes[b].tolist()
        return ax0 <= bx1 and bx0 <= ax1 and ay0 <= by1 and by0 <= ay1

    def rivals(a: int, b: int) -> bool:
        return bool(some.labels[a] == some.labels[b]) and bool(some.image[a] == some.image[b])

    want = [any(a != b and rivals(a, b) and meet(a, b) for b in range(60)) for a in range(60)]
    assert same_class_neighbours(some).tolist() == want
    assert 5 < sum(want) < 55
    assert same_class_neighbours(targets()).shape == (0,)


def test_locations_in_the_boxes_make_no_other_class_winners() -> None:
    some = crowded(60)
    some = replace(some, boxes=4 * some.boxes)
    priors = pyramid_priors(Head(), 192, 192)
    objects, locations = inside_pairs(some, priors)
    score = torch.randint(0, 4, (len(objects),), generator=torch.Generator().manual_seed(1)).float()
    won = class_winners(score, objects, locations, some, priors, 3)
    assert 0 < int((~won).sum()) < len(won)
    assert torch.equal(class_winners(score, objects, locations, some, priors, 3, inside=True), won)


def test_softmax_by_group() -> None:
    values, group = torch.tensor([1.0, 2000.0, 2000.0, -3000.0]), torch.tensor([2, 0, 0, 2])
    assert softmax_by(values, group, 4).tolist() == [1.0, 0.5, 0.5, 0.0]
    one = torch.tensor([0.1, 0.7, -0.4], dtype=torch.float64, requires_grad=True)
    assert torch.allclose(softmax_by(one, torch.zeros(3, dtype=torch.int64), 1), one.softmax(0))
    assert torch.autograd.gradcheck(lambda v: softmax_by(v, torch.tensor([1, 0, 1]), 2), one)
