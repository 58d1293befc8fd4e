"""Photometric jitter: brightness, contrast and saturation, drawn from (seed, epoch, image) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

# Each blends a picture with one that lacks the quality: black, its mean grey, its greys.
_QUALITIES = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


@dataclass(frozen=True)
class Colour:
    """What is done to one picture's colours."""

    factors: tuple[float, float, float]  # of brightness, contrast, saturation; 1 changes nothing
    order: tuple[int, int, int]  # in which the three are applied


def draw_colour(jitter: float, key: tuple[int, ...]) -> Colour | None:
    """Draw factors from 1 ± ``jitter``, uniform and apart, and their order; None for a jitter of 0.

    Equal keys (numbers ≥ 0, among them seed, epoch and image index) give equal colours.
    """
    if jitter <= 0:
        return None
    random = np.random.default_rng(key)
    first, second, third = (1 + jitter * (2 * random.random(3) - 1)).tolist()
    one, two, three = random.permutation(3).tolist()
    return Colour((first, second, third), (one, two, three))


def recolour(picture: Image.Image, colour: Colour) -> Image.Image:
    """Apply to an RGB picture: whole numbers from 0 to 255 after each step; grey is ITU-R 601's."""
    for number in colour.order:
        picture = _QUALITIES[number](picture).enhance(colour.factors[number])
    return picture
