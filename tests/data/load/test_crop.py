import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.load.crop import crop_boxes, draw_crop, in_crop


@st.composite
def pictures(draw):
    """Width, height and boxes inside, corners on fractions of pixels, too."""
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    corner = st.floats(0, 1, width=32)
    boxes = []
    for a, b, c, d in draw(st.lists(st.tuples(corner, corner, corner, corner), max_size=5)):
        x0, x1, y0, y1 = *sorted((a * width, b * width)), *sorted((c * height, d * height))
        if x1 - x0 > 1e-3 and y1 - y0 > 1e-3:
            boxes.append((x0, y0, x1, y1))
    return width, height, np.array(boxes, dtype=np.float64).reshape(-1, 4)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(picture=pictures(), least=st.floats(0.01, 1), index=st.integers(0, 1000))
def test_a_crop_is_large_enough_and_holds_an_object_whole(picture, least, index):
    width, height, boxes = picture
    crop = draw_crop(width, height, boxes, least=least, key=(3, 0, 0, index))
    assert crop == draw_crop(width, height, boxes, least=least, key=(3, 0, 0, index))
    if crop is None:
        return
    x0, y0, x1, y1 = crop
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert x1 - x0 >= round(least * width)
    assert y1 - y0 >= round(least * height)
    assert ((boxes[:, :2] >= (x0, y0)) & (boxes[:, 2:] <= (x1, y1))).all(axis=1).any()
    kept = crop_boxes(boxes[in_crop(boxes, crop)], crop)
    assert len(kept)
    assert (kept >= 0).all()
    assert (kept <= (x1 - x0, y1 - y0, x1 - x0, y1 - y0)).all()
    assert (kept[:, 2:] > kept[:, :2]).all()


def test_no_crop_without_objects_or_at_full_size():
    box = np.array([[10.0, 10, 20, 20]])
    assert draw_crop(100, 80, box[:0], least=0.25, key=(0,)) is None
    assert draw_crop(100, 80, box, least=1, key=(0,)) is None
    assert draw_crop(1, 1, np.array([[0.0, 0, 1, 1]]), least=0.25, key=(0,)) is None


def test_every_object_every_size_and_every_place_comes_up():
    boxes = np.array([[0.0, 0, 2, 2], [98, 78, 100, 80]])
    crops = [draw_crop(100, 80, boxes, least=0.25, key=(3, 0, 0, index)) for index in range(400)]
    x0, y0, x1, y1 = np.array([crop for crop in crops if crop is not None]).T
    assert 25 <= (x1 - x0).min() < 30
    assert 95 < (x1 - x0).max() <= 100
    assert 20 <= (y1 - y0).min() < 24
    assert abs((x1 - x0).mean() - 62.5) < 4
    assert 0.4 < np.mean((x0 <= 0) & (y0 <= 0)) < 0.6, "each object half of the time"

    middle = np.array([[50.0, 40, 51, 41]])
    crops = [draw_crop(100, 80, middle, least=0.25, key=(3, 0, 0, index)) for index in range(400)]
    x0, _, x1, _ = np.array([crop for crop in crops if crop is not None]).T
    assert (x0 <= 50).all()
    assert (x1 >= 51).all()
    small = x1 - x0 < 40
    assert x0[small].max() - x0[small].min() > 20, "the object is not always in the middle"


def test_a_large_object_widens_the_crop():
    x0, y0, x1, y1 = draw_crop(100, 100, np.array([[0.5, 30, 99.5, 40]]), least=0.1, key=(1,)) or (0, 0, 0, 0)
    assert (x0, x1) == (0, 100)
    assert y0 <= 30 < 40 <= y1


def test_boxes_whose_centre_is_outside_go_and_the_others_are_clipped():
    crop = (10, 10, 50, 40)
    boxes = np.array([[20.0, 20, 30, 30], [0, 10, 30, 20], [0, 10, 19, 20], [40, 10, 60, 20], [45, 35, 55, 44]])
    kept = in_crop(boxes, crop)
    assert kept.tolist() == [True, True, False, False, False], "centres at 25, 15, 9.5; 50 and 50 are the next pixel"
    assert crop_boxes(boxes[kept], crop).tolist() == [[10, 10, 20, 20], [0, 0, 20, 10]]


def test_of_a_crowd_region_all_that_is_seen_stays_ignored() -> None:
    boxes = np.array([[0.0, 0, 100, 40], [0, 0, 100, 40], [0, 0, 20, 40]])
    kept = in_crop(boxes, (60, 0, 100, 40), np.array([False, True, True]))
    assert kept.tolist() == [False, True, False]  # the centre of both is outside; the last one reaches nothing of it
