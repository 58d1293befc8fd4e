from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.load.crop import draw_crop, in_crop
from assignbench.data.load.transforms import (
    Geometry,
    draw_geometry,
    move_picture,
    moved_boxes,
    resized,
    sizes_of,
    windows,
)

SIDES = st.integers(1, 3000)


def move_boxes(boxes: Any, width: int, height: int, geometry: Geometry) -> Any:
    """Boxes of one picture of that many pixels."""
    kept = windows([(width, height)], [geometry])
    return moved_boxes(boxes, np.zeros(len(boxes), dtype=np.int64), kept, sizes_of([geometry]), [geometry])


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(640, 480, (800, 1067)), (480, 640, (1067, 800)), (1000, 200, (267, 1333)), (1, 5000, (1333, 1))],
)
def test_the_short_side_fits_unless_the_long_side_is_too_long(width, height, expected):
    assert resized(width, height, short_side=800, long_side=1333) == expected


@settings(max_examples=100, derandomize=True, deadline=None)
@given(width=SIDES, height=SIDES, short=SIDES, longer=st.integers(0, 1000))
def test_no_side_exceeds_its_limit(width, height, short, longer):
    sides = resized(width, height, short, short + longer)
    assert 1 <= min(sides) <= short
    assert max(sides) <= short + longer


def test_a_bright_object_stays_in_its_box():
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[20:40, 60:80] = 255
    box = np.array([[60.0, 20.0, 80.0, 40.0]])
    for mirrored in (False, True):
        geometry = Geometry(height=120, width=180, mirrored=mirrored)
        picture = move_picture(pixels, geometry)
        x0, y0, x1, y1 = move_boxes(box, 90, 60, geometry)[0]
        rows, columns = np.nonzero(picture[0].numpy() > 127)
        assert picture.shape == (3, 120, 180)
        assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (x0, x1, y0, y1)


def test_the_original_size_leaves_pixels_alone():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert (move_picture(pixels, Geometry(7, 5)).permute(1, 2, 0).numpy() == pixels).all()
    assert (move_picture(pixels, Geometry(7, 5, mirrored=True)).permute(1, 2, 0).numpy() == pixels[:, ::-1]).all()
    cut = Geometry(4, 2, mirrored=True, crop=(1, 2, 3, 6))
    assert (move_picture(pixels, cut).permute(1, 2, 0).numpy() == pixels[2:6, 1:3][:, ::-1]).all()


@settings(max_examples=50, derandomize=True, deadline=None)
@given(epoch=st.integers(0, 50), index=st.integers(0, 50))
def test_geometry_is_a_function_of_its_key(epoch, index):
    def draw(flip: float, sides: tuple[int, ...]) -> Geometry:
        return draw_geometry(100, 80, short_side=sides, long_side=400, flip=flip, key=(2, 0, epoch, index))

    assert draw(True, (40, 80)) == draw(True, (40, 80))
    assert draw(True, (40, 80)).height == draw(False, (40, 80)).height
    assert draw(True, (40, 80)).mirrored == draw(True, (40, 40)).mirrored
    assert not draw(False, (40, 80)).mirrored


@pytest.mark.parametrize(("flip", "mirrored"), [(0, False), (1, True)])
def test_what_is_certain_is_not_drawn(flip, mirrored, monkeypatch):
    """A generator would take more time than everything else that is done here."""
    options = {"short_side": (80,), "long_side": 400, "key": (2, 0, 0, 0)}
    drawn = draw_geometry(100, 80, **options, flip=max(0.001, min(flip, 0.999)))  # the draw is 0.26
    monkeypatch.setattr(np.random, "default_rng", None)
    assert draw_geometry(100, 80, **options, flip=flip) == drawn
    assert drawn.mirrored == mirrored


def test_recorded_draws_come_up_again():
    """Finished runs could not be repeated otherwise."""
    drawn = [
        draw_geometry(100, 80, short_side=[40, 60, 80], long_side=400, flip=0.5, key=(2, 0, 0, index))
        for index in range(6)
    ]
    assert [(geometry.height, geometry.mirrored) for geometry in drawn] == [
        (80, True),
        (80, False),
        (80, False),
        (60, False),
        (80, False),
        (80, True),
    ]


def test_a_range_draws_every_whole_number_and_leaves_the_mirror():
    def draw(index: int, between: bool) -> Geometry:
        key = (2, 0, 0, index)
        return draw_geometry(100, 80, short_side=[60, 80], long_side=400, flip=0.5, key=key, short_side_range=between)

    drawn = [draw(index, True) for index in range(400)]
    assert {geometry.height for geometry in drawn} == set(range(60, 81))
    assert {draw(index, False).height for index in range(400)} == {60, 80}
    assert [geometry.mirrored for geometry in drawn] == [draw(index, False).mirrored for index in range(400)]


def test_a_crop_leaves_side_and_mirror_and_is_what_the_resize_sees():
    for index in range(20):
        options = {"short_side": [60, 80], "long_side": 100, "flip": 0.5, "key": (2, 0, 0, index)}
        whole, part = (draw_geometry(100, 80, **options, crop=crop) for crop in (None, (10, 20, 40, 40)))
        side = min(whole.height, whole.width)
        assert (part.height, part.width) == resized(30, 20, side, 100)
        assert part.mirrored == whole.mirrored


@settings(max_examples=60, derandomize=True, deadline=None)
@given(index=st.integers(0, 10_000), mirrored=st.booleans(), zoom=st.integers(1, 3))
def test_coloured_rectangles_are_found_again_after_crop_resize_and_mirror(index, mirrored, zoom):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    boxes = np.array([[5.0, 5, 25, 20], [40, 10, 70, 50], [30, 55, 55, 75]])
    pixels = np.zeros((80, 100, 3), np.uint8)
    for colour, (x0, y0, x1, y1) in zip(colours, boxes.astype(int), strict=True):
        pixels[y0:y1, x0:x1] = colour
    crop = draw_crop(100, 80, boxes, least=0.25, key=(3, 0, 0, index)) or (0, 0, 100, 80)
    height, width = zoom * (crop[3] - crop[1]), zoom * (crop[2] - crop[0])
    geometry = Geometry(height, width, mirrored, crop)
    kept = in_crop(boxes, crop)
    picture = move_picture(pixels, geometry)
    for channel, box in zip(np.flatnonzero(kept), move_boxes(boxes[kept], 100, 80, geometry), strict=True):
        rows, columns = np.nonzero(picture[channel].numpy() > 127)
        found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert found == tuple(box.tolist())


def test_sides_and_mirrors_are_drawn_evenly():
    drawn = [
        draw_geometry(100, 80, short_side=[40, 80], long_side=400, flip=0.5, key=(2, 0, 0, index))
        for index in range(400)
    ]
    assert 150 < sum(geometry.mirrored for geometry in drawn) < 250
    assert 150 < sum(geometry.height == 40 for geometry in drawn) < 250
