import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assignbench.data.load.colour import Colour, draw_colour, recolour

GREY = np.full((4, 4, 3), 100, np.uint8)
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def recoloured(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    return np.array(recolour(Image.fromarray(pixels), colour))


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ((1.4, 1, 1), [140, 14, 255]),
        ((0.6, 1, 1), [60, 6, 120]),
        ((1, 1, 0), [59, 59, 59]),  # 0.299 · 100 + 0.587 · 10 + 0.114 · 200 = 58.57
        ((1, 1, 1), [100, 10, 200]),
    ],
)
def test_brightness_and_saturation_by_hand(factors, expected):
    pixels = np.tile(np.array([100, 10, 200], np.uint8), (3, 2, 1))
    found = recoloured(pixels, Colour(factors, (0, 1, 2)))
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_contrast_by_hand():
    pixels = np.repeat(np.array([[50, 150]], np.uint8)[..., None], 3, axis=2)  # mean 100
    assert recoloured(pixels, Colour((1, 1.4, 1), (0, 1, 2)))[0, :, 0].tolist() == [30, 170]
    assert recoloured(pixels, Colour((1, 0.6, 1), (0, 1, 2)))[0, :, 0].tolist() == [70, 130]


def test_factors_of_one_change_nothing_and_grey_has_no_saturation():
    assert (recoloured(PIXELS, Colour((1, 1, 1), (2, 0, 1))) == PIXELS).all()
    assert (recoloured(GREY, Colour((1, 1.4, 0.2), (1, 2, 0))) == GREY).all()


def test_the_order_counts():
    one, other = (recoloured(PIXELS, Colour((1.4, 0.6, 1.4), order)) for order in ((0, 1, 2), (2, 1, 0)))
    assert (one != other).any()


@settings(max_examples=50, derandomize=True, deadline=None)
@given(jitter=st.floats(0.01, 1), index=st.integers(0, 1000))
def test_colours_are_a_function_of_their_key(jitter, index):
    colour = draw_colour(jitter, key=(4, 0, 0, index))
    assert colour == draw_colour(jitter, key=(4, 0, 0, index))
    assert colour is not None
    assert all(1 - jitter <= factor <= 1 + jitter for factor in colour.factors)
    assert sorted(colour.order) == [0, 1, 2]
    assert recoloured(PIXELS, colour).shape == PIXELS.shape


def test_factors_and_orders_are_drawn_evenly_and_apart():
    assert draw_colour(0, key=(4, 0, 0, 0)) is None
    colours = [draw_colour(0.4, key=(4, 0, 0, index)) for index in range(600)]
    factors = np.array([colour.factors for colour in colours if colour is not None])
    assert (np.abs(factors.mean(axis=0) - 1) < 0.03).all()
    assert (factors.min(axis=0) < 0.62).all()
    assert (factors.max(axis=0) > 1.38).all()
    assert np.abs(np.corrcoef(factors.T) - np.eye(3)).max() < 0.15
    assert len({colour.order for colour in colours if colour is not None}) == 6
