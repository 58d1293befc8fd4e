import numpy as np
import pytest

from assignbench.data.shapes.forms import FORMS
from assignbench.data.shapes.scene import MOST, VISIBLE, draw_scene

NAMES = tuple(FORMS)
SCENES = [draw_scene(np.random.default_rng((1, seed)), width=256, height=192, sizes=(12, 180)) for seed in range(60)]


def test_equal_seeds_draw_equal_pictures():
    for seed in range(3):
        pixels, drawn = draw_scene(np.random.default_rng((1, seed)), width=256, height=192, sizes=(12, 180))
        assert (pixels == SCENES[seed][0]).all()
        assert drawn == SCENES[seed][1]
    assert not (SCENES[0][0] == SCENES[1][0]).all()


def test_crowded_little_pictures_can_be_drawn():
    for seed in range(40):
        pixels, drawn = draw_scene(np.random.default_rng(seed), width=64, height=64, sizes=(50, 500))
        assert pixels.shape == (64, 64, 3)
        assert all(min(one.box) >= 0 and max(one.box) <= 64 for one in drawn)


def test_objects_are_inside_and_of_all_numbers_and_sizes():
    counts = [len(drawn) for _, drawn in SCENES]
    assert min(counts) == 0
    assert 15 < max(counts) <= MOST
    boxes = np.array([one.box for _, drawn in SCENES for one in drawn])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (256, 192)).all()
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert longer.min() > 8
    assert longer.max() > 128
    assert {one.label for _, drawn in SCENES for one in drawn} == set(range(len(NAMES)))


@pytest.mark.parametrize("name", NAMES)
def test_forms_are_where_the_lesson_wants_them(name):
    """Distances on a fine grid: mass offset, filled fraction of the box, and whether the centre is covered."""
    x, y = np.meshgrid(np.linspace(-60, 60, 481), np.linspace(-60, 60, 481))
    measured = []
    for seed in range(40):
        inside = FORMS[name](x, y, 100.0, np.random.default_rng(seed)) < 0
        rows, columns = np.nonzero(inside)
        extent = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1])
        centre = np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
        offset = (np.array([columns.mean(), rows.mean()]) - centre) / extent
        covered = inside[tuple(np.round(centre[::-1]).astype(int))]
        measured.append((*offset, inside.sum() / extent.prod(), covered, extent.max() / 4))
    dx, dy, filled, covered, longer = np.mean(measured, axis=0)
    expected = {  # offset x, offset y, covered centre
        "disc": (0, 0, 1), "star": (0, 0, 1), "ring": (0, 0, 0), "lollipop": (0, -0.17, 1),
        "crescent": (0, 0.14, 0), "corner": (-0.16, 0.16, 0), "stick": (0, 0, 1),
    }  # fmt: skip
    assert (dx, dy, covered) == pytest.approx(expected[name], abs=0.02)
    assert filled < 0.25 if name == "stick" else filled > 0.25
    assert 85 < longer < 101


def test_turned_forms_point_in_four_directions():
    """A lollipop's mass, above its centre when it stands, is then as often right, left and below."""
    scenes = [
        draw_scene(np.random.default_rng((1, seed)), width=256, height=192, sizes=(12, 180), turned=True)[1]
        for seed in range(60)
    ]
    boxes = np.array([one.box for drawn in scenes for one in drawn])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (256, 192)).all()
    offsets = np.array([one.offset for drawn in scenes for one in drawn if NAMES[one.label] == "lollipop"])
    assert np.abs(offsets).max(axis=1) == pytest.approx(0.17, abs=0.09)  # small ones have thick sticks
    assert np.abs(offsets).min(axis=1) == pytest.approx(0, abs=0.02)
    directions = [(offsets[:, axis] * sign > 0.05).sum() for axis in (0, 1) for sign in (-1, 1)]
    assert min(directions) >= len(offsets) / 8, directions


def test_a_disc_alone_is_measured_to_a_tenth_of_a_pixel():
    discs = [one for _, drawn in SCENES for one in drawn if NAMES[one.label] == "disc" and one.area > 500]
    assert len(discs) > 5
    for one in discs:
        x0, y0, x1, y1 = one.box
        assert one.area == pytest.approx(np.pi / 4 * (x1 - x0) * (y1 - y0), rel=0.01)
        assert one.offset == pytest.approx((0, 0), abs=2e-3)


def test_covering_leaves_enough_to_see(monkeypatch):
    from assignbench.data.shapes import scene

    drawn_shares = []
    place = scene._Layer.under

    def spy(self, patch, left, top):
        layer = place(self, patch, left, top)
        drawn_shares.append(layer.shows.sum() / layer.area)
        return layer

    monkeypatch.setattr(scene._Layer, "under", spy)
    monkeypatch.setattr(scene, "VISIBLE", 0.0)
    free = sum(len(draw_scene(np.random.default_rng(s), width=96, height=96, sizes=(40, 80))[1]) for s in range(20))
    assert min(drawn_shares) < VISIBLE, "without the rule, objects do get hidden"
    monkeypatch.setattr(scene, "VISIBLE", VISIBLE)
    kept = sum(len(draw_scene(np.random.default_rng(s), width=96, height=96, sizes=(40, 80))[1]) for s in range(20))
    assert kept < free
