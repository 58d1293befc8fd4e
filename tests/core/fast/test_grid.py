"""What is counted off on a grid, against the plain definition: matrices and loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assignbench.core import (
    Head,
    Priors,
    Targets,
    and_nearest,
    around_pairs,
    centers,
    central_pairs,
    inside_pairs,
    nearest_pairs,
    or_nearest,
    sides,
)
from assignbench.core.fast.grid import tiles
from assignbench.core.parts import anchor_head
from assignbench.core.priors import STRIDES, pyramid_priors

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


def naive_inside(
    targets: Targets, priors: Priors, margin: float = 0.0, radius: float | None = None
) -> tuple[Tensor, Tensor]:
    found = sides(targets.boxes[:, None], priors.points).amin(-1) > margin
    if radius is not None:
        away = (priors.points - centers(targets.boxes)[:, None]).abs().amax(-1)
        found &= away < radius * priors.stride
    if priors.inside is not None:
        found &= priors.inside[targets.image]
    return found.nonzero(as_tuple=True)


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


RADII = (None, 0.5, 1.5, 2.5, 40.0)


def in_padding(priors: Priors, size: tuple[int, int]) -> Priors:
    """Two images: of the first the right part is padding, of the second the lower one."""
    height, width = size
    return priors.padded(torch.tensor([[height, max(1, width - 40)], [max(1, height - 40), width]]))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.data(),
    st.sampled_from(sorted(PRIORS)),
    st.sampled_from(MARGINS),
    st.sampled_from(RADII),
    st.sampled_from([0, 1]),
)
def test_inside_pairs(
    data: st.DataObject, key: tuple[str, tuple], margin: float, radius: float | None, pad: int
) -> None:
    some = objects(torch.tensor(data.draw(st.lists(boxes(MARKS[key]), max_size=5))), images=2)
    priors = in_padding(PRIORS[key], key[1]) if pad else PRIORS[key]
    assert listed(inside_pairs(some, priors, margin, radius)) == listed(naive_inside(some, priors, margin, radius))


@pytest.mark.parametrize(("scale", "reach"), [(1.0, 0.5), (0.2, 0.5), (0.0, 0.3), (0.0, 2.5)])
@pytest.mark.parametrize("pad", [False, True], ids=["", "padded"])
@pytest.mark.parametrize("name", HEADS)
def test_around_pairs(name: str, pad: bool, scale: float, reach: float) -> None:
    priors = pyramid_priors(HEADS[name], 64, 96)
    priors = in_padding(priors, (64, 96)) if pad else priors
    generator = torch.Generator().manual_seed(7)
    corner, size = torch.rand(60, 2, generator=generator) * 70, torch.rand(60, 2, generator=generator).pow(3) * 60 + 0.1
    targets = objects(torch.cat((corner, corner + size), dim=1), images=2)
    middle, half = centers(targets.boxes)[:, None], (targets.boxes[:, None, 2:] - targets.boxes[:, None, :2]) / 2
    apart = (priors.points - middle).abs() - half * scale - reach * priors.stride[:, None]  # [object, location, axis]
    assert apart.abs().min() > 1e-5  # no pair hangs on rounding
    found = (apart < 0).all(-1)
    if priors.inside is not None:
        found &= priors.inside[targets.image]
    assert listed(around_pairs(targets, priors, scale=scale, reach=reach)) == listed(found.nonzero(as_tuple=True))


def test_a_location_on_the_border_of_the_radius_is_outside() -> None:
    # the box's centre (8, 8) is half a stride off four locations of P3, and less off one of each coarser level
    priors, some = PRIORS["middle", (64, 96)], objects(torch.tensor([[-40, -40, 56, 56]]))
    for radius, counts in ((0.5, [0, 1, 1, 1]), (0.51, [4, 1, 1, 1])):
        _, found = inside_pairs(some, priors, radius=radius)
        assert torch.bincount(priors.level[found]).tolist() == counts


def test_padding_leaves_out_what_it_covers() -> None:
    priors = in_padding(PRIORS["middle", (64, 96)], (64, 96))  # 64 of 96 columns, 32 of 64 rows
    whole = objects(torch.tensor([[0, 0, 96, 64]] * 2), images=2)
    found, locations = inside_pairs(whole, priors)
    assert [torch.bincount(priors.level[locations[found == one]]).tolist()[:2] for one in (0, 1)] == [
        [64, 16],
        [48, 12],
    ]


def gaussian(targets: Targets, priors: Priors, mu: Tensor, sigma: Tensor) -> Tensor:
    """log G of all pairs, −∞ of those that do not lie inside: ``[object, location]``."""
    offset = (priors.points - centers(targets.boxes)[:, None]) / priors.stride[:, None]
    value = -((offset - mu[:, None]) ** 2 / (2 * sigma[:, None] ** 2)).sum(-1)
    inner = torch.zeros_like(value, dtype=torch.bool)
    inner[naive_inside(targets, priors)] = True
    return value.masked_fill(~inner, float("-inf"))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.data(), st.sampled_from(sorted(PRIORS)), st.integers(0, 10**6), st.floats(-30, -0.01), st.sampled_from([0, 1])
)
def test_central_pairs_keep_what_weighs(
    data: st.DataObject, key: tuple[str, tuple], seed: int, least: float, pad: int
) -> None:
    some = objects(torch.tensor(data.draw(st.lists(boxes(MARKS[key]), min_size=1, max_size=5))), images=2)
    priors = in_padding(PRIORS[key], key[1]) if pad else PRIORS[key]
    generator = torch.Generator().manual_seed(seed)
    mu = torch.randn(len(some), 2, generator=generator) * 2
    sigma = (torch.randn(len(some), 2, generator=generator) * 1.5).exp()
    weight = gaussian(some, priors, mu, sigma)
    needed = (weight >= weight.amax(1, keepdim=True) + least) & weight.isfinite()
    found = listed(central_pairs(some, priors, mu, sigma, least=least))
    assert set(listed(needed.nonzero(as_tuple=True))) <= set(found)
    assert set(found) <= set(listed(inside_pairs(some, priors)))
    assert found == sorted(set(found))


def test_central_pairs_leave_out_what_weighs_nothing() -> None:
    priors, whole = PRIORS["middle", (64, 96)], objects(torch.tensor([[0, 0, 96, 64]]))
    found = central_pairs(whole, priors, torch.zeros(1, 2), torch.full((1, 2), 0.5), least=-8.0)[1]
    # G ≥ e^−8 of the largest, which P6 has a quarter of a stride off: √(16.25) σ, a little over 2 strides
    assert len(inside_pairs(whole, priors)[1]) == 96 + 24 + 6 + 1
    assert torch.bincount(priors.level[found]).tolist() == [16, 16, 6, 1]


@pytest.mark.parametrize("what", ["mu", "sigma"])
@pytest.mark.parametrize("pad", [False, True])
def test_what_is_not_a_number_leaves_nothing_out(what: str, pad: bool) -> None:
    priors = in_padding(PRIORS["middle", (64, 96)], (64, 96)) if pad else PRIORS["middle", (64, 96)]
    some = objects(torch.tensor([[0, 0, 96, 64], [3, 5, 61, 30], [0, 0, 96, 64]]), images=2)
    mu, sigma = torch.zeros(3, 2), torch.full((3, 2), 0.4)
    kept = [pair for pair in listed(central_pairs(some, priors, mu, sigma, least=-3.0)) if pair[0] != 1]
    {"mu": mu, "sigma": sigma}[what][1] = float("nan")
    found = listed(central_pairs(some, priors, mu, sigma, least=-3.0))
    assert [pair for pair in found if pair[0] == 1] == [
        pair for pair in listed(inside_pairs(some, priors)) if pair[0] == 1
    ]
    assert [pair for pair in found if pair[0] != 1] == kept  # nor does it reach other objects


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
    assert found == listed(naive_inside(some, priors, margin))
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
                have, want = inside_pairs(some, priors), naive_inside(some, priors)
                assert torch.equal(torch.stack(have), torch.stack(want)), (name, size)


def naive_nearest(targets: Targets, priors: Priors, k: int) -> list[tuple[int, int]]:
    anchors, found = priors.grid.anchors, []
    for row, (point, image) in enumerate(zip(centers(targets.boxes), targets.image, strict=True)):
        distance = (priors.points[::anchors] - point).square().sum(-1).sqrt()
        for level in range(len(STRIDES)):
            own = priors.level[::anchors] == level
            if priors.inside is not None:
                own = own & priors.inside[image, ::anchors]
            cells = own.nonzero()[:, 0]
            nearest = cells[distance[cells].argsort(stable=True)[:k]].sort().values
            found += [(row, cell * anchors + anchor) for cell in nearest.tolist() for anchor in range(anchors)]
    return found


def points_for(priors: Priors, size: tuple[int, int], seed: int) -> Tensor:
    """On centres, at equal distances from several, anywhere, outside the image and far off."""
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    ties = torch.cartesian_prod(torch.arange(0, width, 40), torch.arange(0, height, 20)).float()
    free = (torch.rand(12, 2, generator=generator) * 3 - 1) * torch.tensor([width, height])
    far = torch.tensor([[-500.0, 3.0], [40.0, 700.0], [900.0, -900.0]])
    return torch.cat((priors.points[::301], ties, free, far))


@pytest.mark.parametrize("pad", [False, True], ids=["", "padded"])
@pytest.mark.parametrize("k", [1, 9, 30])
@pytest.mark.parametrize("name", HEADS)
def test_nearest_pairs(name: str, k: int, pad: bool) -> None:
    for size in SIZES:
        priors = in_padding(PRIORS[name, size], size) if pad else PRIORS[name, size]
        points = points_for(priors, size, seed=k)
        for chosen in (points, points[:-3]):  # those far off are looked at in another way
            some = objects(torch.cat((chosen - 4, chosen + 4), 1), images=2)
            assert listed(nearest_pairs(some, priors, k)) == naive_nearest(some, priors, k), size


@pytest.mark.parametrize("pad", [False, True], ids=["", "padded"])
@pytest.mark.parametrize("name", ["middle", "anchors"])
def test_nearest_pairs_as_topk_finds_them(name: str, pad: bool) -> None:
    size = (100, 72)
    priors = in_padding(PRIORS[name, size], size) if pad else PRIORS[name, size]
    points = points_for(priors, size, seed=0)
    some = objects(torch.cat((points - 4, points + 4), 1), images=2)
    have, want = nearest_pairs(some, priors, 4, ties="topk"), naive_nearest(some, priors, 4)
    assert have[0].tolist() == [row for row, _ in want]
    assert len(set(listed(have))) == len(want)
    assert priors.inside is None or bool(priors.inside[some.image[have[0]], have[1]].all())

    def distances(pairs: list[tuple[int, int]]) -> list[tuple[int, int, float]]:
        away = (priors.points - centers(some.boxes)[:, None]).square().sum(-1).sqrt()
        return sorted((row, int(priors.level[place]), float(away[row, place])) for row, place in pairs)

    assert distances(listed(have)) == distances(want)  # other locations at most, at equal distance


@pytest.mark.parametrize("name", ["middle", "corner", "image", "anchors"])
@pytest.mark.parametrize("extent", [None, [[64, 96], [32, 40]]])
def test_objects_without_a_pair_get_the_nearest_location_of_a_level(name: str, extent: list[list[int]] | None) -> None:
    priors = pyramid_priors(HEADS[name], 96, 128)
    priors = priors if extent is None else priors.padded(torch.tensor(extent))
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(60, 2, generator=generator) * 110 - 10
    side = torch.rand(60, 2, generator=generator) * 12
    targets = objects(torch.cat((corner, corner + side), dim=1), 2)
    pairs = inside_pairs(targets, priors)
    assert 0 < len(pairs[0].unique()) < 60
    for level in (None, torch.arange(60) % 2):
        found = and_nearest(*pairs, targets, priors, level)
        expected = set(listed(pairs))
        for n in set(range(60)) - set(pairs[0].tolist()):
            there = priors.level == (0 if level is None else level[n])
            if priors.inside is not None:
                there &= priors.inside[targets.image[n]]
            off = (priors.points - centers(targets.boxes)[n]).square().sum(-1)
            expected.add((n, int(off.masked_fill(~there, torch.inf).argmin())))
        assert listed(found) == sorted(expected)


def test_a_choice_among_pairs_and_the_nearest_of_objects_without_any() -> None:
    priors = pyramid_priors(Head(), 128, 160)
    some = objects(torch.tensor([[20.0, 30, 100, 110], [15.0, 15, 15.8, 15.8], [60.0, 60, 61, 61], [0.0, 0, 9, 9]]))
    pairs = nearest_pairs(some, priors, 4)
    chosen = (pairs[0] == 0) & (priors.level[pairs[1]] == 1) | (pairs[0] == 3)
    kept = pairs[0] != 2  # an object with no pair at all
    found = or_nearest(chosen, *pairs, some, priors)
    wanted = and_nearest(pairs[0][chosen], pairs[1][chosen], some, priors)
    assert listed((pairs[0][found], pairs[1][found])) == listed(wanted)
    assert int((found != chosen).sum()) == 2
    assert not bool(or_nearest(chosen[kept], pairs[0][kept], pairs[1][kept], some, priors)[pairs[0][kept] == 2].any())


def test_an_object_looks_on_a_finer_level_where_its_own_has_no_location() -> None:
    priors = pyramid_priors(Head(), 256, 256).padded(torch.tensor([[32, 32]]))
    targets = objects(torch.tensor([[9.0, 9, 11, 11]]))
    none = torch.zeros(0, dtype=torch.int64)
    _, locations = and_nearest(none, none, targets, priors, torch.tensor([4]))
    assert priors.points[locations].tolist() == [[16, 16]]
    assert priors.level[locations].tolist() == [2]
    assert [len(one) for one in and_nearest(none, none, objects(torch.zeros(0, 4)), priors)] == [0, 0]


def test_levels_without_locations_hold_no_pair() -> None:
    """A head may speak on some levels; the others have no cells, at the end of the list or at its start."""
    targets = Targets(torch.tensor([[10.0, 12, 80, 90]]), torch.tensor([0]), torch.tensor([0]), 1)
    for levels in ((2,), (0, 1), (3, 4)):
        priors = pyramid_priors(Head(levels=levels), 96, 128)
        objects, locations = inside_pairs(targets, priors)
        inside = sides(targets.boxes, priors.points).amin(-1) > 0
        assert locations.tolist() == inside.nonzero()[:, 0].tolist()
        assert len(objects) == len(locations) > 0


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("key", PRIORS, ids=str)
def test_tiles_are_squares_that_hold_every_location_once(key: tuple[str, tuple[int, int]], side: int) -> None:
    priors = PRIORS[key]
    kind = priors.level * priors.grid.anchors + torch.arange(len(priors)) % priors.grid.anchors
    cut = tiles(priors, side)
    assert cut.shape[1] == side * side
    assert cut[cut >= 0].sort().values.tolist() == list(range(len(priors)))
    for tile in cut:
        held = tile[tile >= 0]
        assert held.tolist() == held.sort().values.tolist()
        assert len(kind[held].unique()) == 1
        extent = priors.points[held].amax(0) - priors.points[held].amin(0)
        assert (extent < side * priors.grid.step[priors.level[held[0]]] - 0.5).all()
