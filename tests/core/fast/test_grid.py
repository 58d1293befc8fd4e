"""What is counted off on a grid, cut, or sorted by a trick, against the plain definition: matrices and loops."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assignbench.core import (
    Head,
    Priors,
    Targets,
    anchor_head,
    best_of,
    covered_cells,
    giou,
    inside_pairs,
    iou,
    matching,
    nearest_locations,
    overlaps,
    same_class_neighbours,
    sides,
    smallest_columns,
    winners,
)
from assignbench.core.priors import pyramid_priors

HEADS = {
    "middle": Head(),
    "corner": Head(offset=0.0),
    "odd offset": Head(offset=0.3),
    "image": Head(offset=0.0, spacing="image"),
    "image, middle": Head(spacing="image"),
    "anchors": anchor_head(),
    "anchors, middle": anchor_head(offset=0.5),
    "anchors, image": anchor_head(whole_pixels=True, spacing="image"),
}
SIZES = ((64, 96), (100, 72), (33, 130), (5, 7))
MARGINS = (0.0, 0.01, 4.0, 21.5)
PRIORS = {(name, size): pyramid_priors(head, *size) for name, head in HEADS.items() for size in SIZES}


def objects(boxes: Tensor, images: int = 1) -> Targets:
    count = len(boxes)
    labels = torch.zeros(count, dtype=torch.int64)
    return Targets(boxes.float().view(-1, 4), labels, torch.arange(count) % images, images)


def listed(pairs: tuple[Tensor, Tensor]) -> list[tuple[int, int]]:
    return list(zip(*(part.tolist() for part in pairs), strict=True))


def as_matrix(priors: Priors) -> Priors:
    return replace(priors, grid=None)


def marks(priors: Priors, axis: int) -> list[float]:
    """Places where a rule may turn: centres of cells, to the last bit, and multiples of the finest half stride."""
    found = priors.points[:, axis].unique()
    near = torch.cat([found, *(found.nextafter(found + sign) for sign in (-1, 1)), torch.arange(-16, 200, 4)])
    return near.unique().tolist()


MARKS = {key: (marks(priors, 0), marks(priors, 1)) for key, priors in PRIORS.items()}


@st.composite
def boxes(draw: st.DrawFn, places: tuple[list[float], list[float]]) -> list[float]:
    """Any: on marks or between them, outside the image, of no width or height."""
    low_high = []
    for marked in places:
        coordinate = st.sampled_from(marked) | st.floats(-300, 500, width=32)
        low_high.append(sorted(draw(st.tuples(coordinate, coordinate))))
    (x0, x1), (y0, y1) = low_high
    return [x0, y0, x1, y1]


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(sorted(PRIORS)), st.sampled_from(MARGINS))
def test_pairs_on_a_grid_are_those_of_the_matrix(data: st.DataObject, key: tuple[str, tuple], margin: float) -> None:
    some = objects(torch.tensor(data.draw(st.lists(boxes(MARKS[key]), max_size=5))), images=2)
    priors = PRIORS[key]
    assert listed(inside_pairs(some, priors, margin)) == listed(inside_pairs(some, as_matrix(priors), margin))


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", HEADS)
def test_pairs_of_remarkable_boxes(name: str, size: tuple[int, int], margin: float) -> None:
    height, width = size
    rows = [
        [0, 0, width, height],
        [-1e4, -1e4, 1e4, 1e4],
        [-1e9, 0, 1e9, height],
        [width + 8, 0, width + 80, height],
        [0, -300, width, -20],
        [3.5, 3.5, 4.5, 4.5],  # a pixel around the first cell's middle
        [4, 4, 4, 4],
        [8, 0, 8, height],
        [0, 0, 8, 8],
        [4, 4, 12, 20],
    ]
    some, priors = objects(torch.tensor(rows)), PRIORS[name, size]
    found = listed(inside_pairs(some, priors, margin))
    assert found == listed(inside_pairs(some, as_matrix(priors), margin))
    assert len([pair for pair in found if pair[0] == 1]) == len(priors)


def test_every_centre_is_decided_to_the_last_bit() -> None:
    for (name, size), priors in PRIORS.items():
        centers = priors.points
        for sign in (-1, 1):
            moved = centers.nextafter(centers + sign)
            inside = objects(torch.cat((torch.minimum(moved, centers - 3), torch.maximum(moved, centers + 3)), 1))
            border = objects(torch.cat((centers, centers + 20) if sign > 0 else (centers - 20, centers), 1))
            barely = objects(torch.cat((centers - 20, moved) if sign > 0 else (moved, centers + 20), 1))
            for some in (inside, border, barely):
                have, want = inside_pairs(some, priors), inside_pairs(some, as_matrix(priors))
                assert torch.equal(torch.stack(have), torch.stack(want)), (name, size)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(sorted(PRIORS)), st.sampled_from(MARGINS))
def test_within_leaves_out_only_what_it_may(data: st.DataObject, key: tuple[str, tuple], margin: float) -> None:
    priors = PRIORS[key]
    drawn = data.draw(st.lists(st.lists(boxes(MARKS[key]), min_size=6, max_size=6), min_size=1, max_size=3))
    table = torch.tensor(drawn)  # each object's box, then one a level
    some, limits = objects(table[:, 0]), table[:, 1:]
    every, fewer = (inside_pairs(some, priors, margin, within=part) for part in (None, limits))
    assert set(listed(fewer)) <= set(listed(every))
    rows, columns = every
    distance = sides(limits[rows, priors.level[columns]], priors.points[columns]).amin(-1)
    needed = distance > 1e-3  # pixels; what lies on the border is not needed, and rounding moves it
    assert set(listed((rows[needed], columns[needed]))) <= set(listed(fewer))
    assert listed(fewer) == sorted(listed(fewer))


def test_within_does_leave_out() -> None:
    priors = PRIORS["middle", (64, 96)]
    whole = objects(torch.tensor([[0, 0, 96, 64]]))
    limits = torch.tensor([[[0, 0, 96, 64], [0, 0, 16, 16], [9, 9, 9, 9], [0, 0, 96, 64], [0, 0, 96, 64]]]).float()
    _, found = inside_pairs(whole, priors, within=limits)
    assert torch.bincount(priors.level[found]).tolist() == [96, 1, 0, 1]  # P7's only centre lies on the border


@pytest.mark.parametrize("margin", MARGINS)
def test_a_margin_to_the_box_is_none_to_the_limits(margin: float) -> None:
    priors = PRIORS["corner", (64, 96)]
    large, limits = objects(torch.tensor([[-500, -500, 500, 500]])), torch.tensor([[[-1, -1, 89, 57]] * 5]).float()
    needed = (priors.points < torch.tensor([89, 57])).all(-1).nonzero()[:, 0]
    _, found = inside_pairs(large, priors, margin, within=limits)
    assert set(needed.tolist()) <= set(found.tolist())


def nearest_of_matrix(points: Tensor, priors: Priors, k: int, anchors: int) -> tuple[Tensor, Tensor]:
    """Sort all cells of each level by the distance of their first prior, and take all priors of the first k."""
    distance = (priors.points[::anchors] - points[:, None]).square().sum(-1).sqrt()
    chosen = []
    for part in distance.split(priors.level[::anchors].unique_consecutive(return_counts=True)[1].tolist(), dim=1):
        nearest = part.argsort(dim=1, stable=True)[:, :k]
        chosen.append(torch.zeros_like(part).scatter(1, nearest, 1.0))
    rows, columns = torch.cat(chosen, 1).repeat_interleave(anchors, 1).nonzero(as_tuple=True)
    return rows, columns


@pytest.mark.parametrize("k", [1, 2, 5, 9, 30])
@pytest.mark.parametrize("name", HEADS)
def test_nearest_locations(name: str, k: int) -> None:
    for size in SIZES:
        height, width = size
        priors, limit = PRIORS[name, size], torch.tensor([width, height])
        generator = torch.Generator().manual_seed(k)
        ties = torch.cartesian_prod(torch.arange(0, width, 20), torch.arange(0, height, 20)).float()
        free = (torch.rand(12, 2, generator=generator) * 3 - 1) * limit  # two of three axes outside the image
        far = torch.tensor([[-500.0, 3.0], [40.0, 700.0], [900.0, -900.0]])
        points = torch.cat((priors.points[::61], ties, free, far))
        have, want = nearest_locations(points, priors, k), nearest_of_matrix(points, priors, k, anchors_of(priors))
        assert torch.equal(torch.stack(have), torch.stack(want)), size


def anchors_of(priors: Priors) -> int:
    assert priors.grid is not None
    return priors.grid.anchors


def test_only_grids_are_counted_off() -> None:
    priors = as_matrix(PRIORS["middle", (64, 96)])
    with pytest.raises(ValueError, match="on a grid"):
        nearest_locations(torch.zeros(1, 2), priors, 3)
    with pytest.raises(ValueError, match="on a grid"):
        covered_cells(torch.zeros(1, 1, 4), priors)


def rows_of_ties(count: int, length: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    cost = torch.randint(0, 40, (count, length), generator=generator).float()
    cost[0] = torch.rand(length, generator=generator)
    cost[1, torch.rand(length, generator=generator) < 0.999] = float("inf")
    cost[2] = float("inf")
    cost[3] = 1.0
    cost[4, : length // 2] = 50.0  # the small ones come late
    return cost - 7


@pytest.mark.parametrize("length", [0, 1, 7, 300, 4096, 4097, 5003, 9000])
@pytest.mark.parametrize("k", [0, 1, 2, 9, 31, 50, 400])
def test_smallest_columns(length: int, k: int) -> None:
    cost = rows_of_ties(8, length, seed=length + k)
    want = cost.argsort(dim=1, stable=True)[:, :k].sort(1).values
    assert torch.equal(smallest_columns(cost, k), want)
    assert smallest_columns(cost[:0], k).shape == (0, min(k, length))


def unsorted_objects() -> Targets:
    """Of images 3, 0, 3, 1, …; image 2 has none, nor has the last."""
    generator = torch.Generator().manual_seed(0)
    corner, size = torch.rand(11, 2, generator=generator) * 60, torch.rand(11, 2, generator=generator) * 40
    image = torch.tensor([3, 0, 3, 1, 0, 0, 3, 1, 3, 0, 3])
    return Targets(torch.cat((corner, corner + size), 1), torch.zeros_like(image), image, 5)


@pytest.mark.parametrize("own", [False, True], ids=["same boxes", "each image's own"])
@pytest.mark.parametrize("chunk", [1, 130, 1 << 17, 1 << 60])
def test_overlaps_meet_every_pair_once(monkeypatch: pytest.MonkeyPatch, own: bool, chunk: int) -> None:
    monkeypatch.setattr(matching, "CHUNK", chunk)
    some, priors = unsorted_objects(), PRIORS["anchors", (33, 130)]
    table = priors.boxes + 5 * torch.arange(5)[:, None, None] if own else priors.boxes
    found = torch.full((len(some), len(priors)), float("nan"))
    for part in overlaps(some, table):
        assert bool((some.image[part.objects] == part.image).all())
        assert part.objects.tolist() == sorted(part.objects.tolist())
        assert bool(found[part.objects].isnan().all())
        found[part.objects] = part.iou
    want = [iou(box, table[image] if own else table) for box, image in zip(some.boxes, some.image, strict=True)]
    assert torch.equal(found, torch.stack(want))
    assert list(overlaps(objects(torch.zeros(0, 4)), priors.boxes)) == []


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
    some = objects(torch.tensor([[0, 0, 9, 9]] * 4), images=2)
    place, location, score = torch.arange(4), torch.full((4,), 3), torch.tensor([0.1, 0.9, 0.2, 0.9])
    assert winners(score, place, location, some, PRIORS["middle", (64, 96)]).tolist() == [False, True, True, False]


@pytest.mark.parametrize("chunk", [1, 1 << 17])
def test_same_class_neighbours(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(matching, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    corner, size = torch.randint(0, 40, (60, 2), generator=generator), torch.randint(1, 8, (60, 2), generator=generator)
    some = Targets(
        torch.cat((corner, corner + size), 1).float(),
        torch.randint(0, 3, (60,), generator=generator),
        torch.randint(0, 2, (60,), generator=generator),
        2,
    )

    def meet(a: int, b: int) -> bool:
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = some.boxes[a].tolist(), some.boxes[b].tolist()
        return ax0 <= bx1 and bx0 <= ax1 and ay0 <= by1 and by0 <= ay1

    def rivals(a: int, b: int) -> bool:
        return bool(some.labels[a] == some.labels[b]) and bool(some.image[a] == some.image[b])

    want = [any(a != b and rivals(a, b) and meet(a, b) for b in range(60)) for a in range(60)]
    assert same_class_neighbours(some).tolist() == want
    assert 5 < sum(want) < 55
    assert same_class_neighbours(objects(torch.zeros(0, 4))).shape == (0,)


def plain_giou(a: Tensor, b: Tensor) -> Tensor:
    """IoU − (enclosing − union) / enclosing."""

    def areas(low: Tensor, high: Tensor) -> Tensor:
        return (high - low).relu().prod(-1)  # without slope where boxes only touch

    both = areas(torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:]))
    around = areas(torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])).clamp(min=1e-6)
    either = (extent(a) + extent(b) - both).clamp(min=1e-6)
    return both / either - (around - either) / around


def extent(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def boxes_on_lattice() -> tuple[Tensor, Tensor]:
    """All relations of two boxes along each axis, equal coordinates and no width among them."""
    intervals = [(low, high) for low, high in product(range(4), repeat=2) if low <= high]
    rows = torch.tensor([(x0, y0, x1, y1) for (x0, x1), (y0, y1) in product(intervals, repeat=2)])
    first, second = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(len(rows))).unbind(1)
    return rows[first], rows[second]


def boxes_at_random() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    corner, size = (torch.rand(2, 500, 2, generator=generator, dtype=torch.float64) * 40 for _ in range(2))
    first, second = torch.cat((corner, corner + size), -1)
    return first, second


@pytest.mark.parametrize("make", [boxes_on_lattice, boxes_at_random])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_giou(make: Callable[[], tuple[Tensor, Tensor]], dtype: torch.dtype, tolerance: float) -> None:
    a, b = (part.to(dtype).requires_grad_() for part in make())
    have, want = giou(a, b), plain_giou(a, b)
    torch.testing.assert_close(have, want, rtol=tolerance, atol=tolerance)
    weight = torch.linspace(-1, 2, len(a), dtype=dtype)
    (have * weight).sum().backward()
    (true,) = torch.autograd.grad((want * weight).sum(), a)
    torch.testing.assert_close(a.grad, true, rtol=10 * tolerance, atol=10 * tolerance)
    assert b.grad is None


def test_giou_of_boxes_without_area() -> None:
    a = torch.tensor([[3.0, 3, 3, 3], [1, 2, 1, 9]], requires_grad=True)
    value = giou(a, a.detach().clone())
    (gradient,) = torch.autograd.grad(value.sum(), a)
    assert value.tolist() == [0, 0]
    assert torch.equal(gradient, torch.autograd.grad(plain_giou(a, a.detach()).sum(), a)[0])
