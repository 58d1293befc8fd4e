"""The forms that `shapes` draws, as signed distances: negative inside, in pixels, zero on the edge.

Each is there for a reason that matters to label assignment:

========  =============================================================================================
disc      plain: the mass is where the box centre is. Also drawn in swarms of small ones
star      plain, with less area in its box
ring      hollow: the box centre shows background
lollipop  the mass sits above the centre
crescent  an open bowl: the mass sits below the centre, and the centre is background
corner    an L: the mass sits below and left of the centre
stick     a thin diagonal: hardly any location in the box is on the object
========  =============================================================================================

Lollipop, crescent and corner stand upright, else their offset would average out, as it does in a data set with
``turned: true``. (Mirrored pictures average out the corner's offset along x, not along y.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.floating]
Form = Callable[[Grid, Grid, float, np.random.Generator], Grid]
"""x, y in pixels from the middle (y downwards), longer side in pixels, random numbers → distance."""

THINNEST = 2.2  # pixels of the thinnest stroke, so that it stays visible


def _ellipse(x: Grid, y: Grid, a: float, b: float) -> Grid:
    """Distance to an ellipse with half axes a, b; exact for circles, close to the edge otherwise."""
    norm = np.maximum(np.hypot(x / a, y / b), 1e-3)  # 1 on the edge; the floors keep the middle inside
    slope = np.maximum(np.hypot(x / (a * a), y / (b * b)), 1e-3 / max(a, b))
    return norm * (norm - 1) / slope


def _box(x: Grid, y: Grid, x0: float, y0: float, x1: float, y1: float) -> Grid:
    return np.maximum(np.maximum(x0 - x, x - x1), np.maximum(y0 - y, y - y1))


def _segment(x: Grid, y: Grid, ax: float, ay: float, bx: float, by: float) -> Grid:
    """Distance to the line from a to b."""
    dx, dy = bx - ax, by - ay
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - ax - along * dx, y - ay - along * dy)


def _half_axes(size: float, random: np.random.Generator) -> tuple[float, float]:
    """Half width and height of a box up to a third longer than wide, or wider than long."""
    shorter = size / 2 * random.uniform(0.75, 1.0)
    return (size / 2, shorter) if random.random() < 0.5 else (shorter, size / 2)


def disc(x: Grid, y: Grid, size: float, random: np.random.Generator) -> Grid:
    """A filled ellipse, nearly a circle."""
    return _ellipse(x, y, *_half_axes(size, random))


def star(x: Grid, y: Grid, size: float, random: np.random.Generator) -> Grid:
    """Five points, turned at random."""
    tip, notch = size / 2, size / 2 * random.uniform(0.42, 0.5)
    turn = random.uniform(0, 2 * np.pi)
    fold = np.pi / 5  # fold the plane into one half point: the angle from the nearest tip
    angle = np.abs((np.arctan2(y, x) + turn) % (2 * fold) - fold)
    radius = np.hypot(x, y)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    # The edge runs from a tip on the first axis to a notch at angle π/5.
    ex, ey = notch * np.cos(fold) - tip, notch * np.sin(fold)
    return ((px - tip) * ey - py * ex) / np.hypot(ex, ey)


def ring(x: Grid, y: Grid, size: float, random: np.random.Generator) -> Grid:
    """An ellipse with a hole of more than half its width."""
    a, b = _half_axes(size, random)
    width = max(THINNEST, size * random.uniform(0.11, 0.15))
    return np.maximum(_ellipse(x, y, a, b), -_ellipse(x, y, a - width, b - width))


def lollipop(x: Grid, y: Grid, size: float, random: np.random.Generator) -> Grid:
    """A disc on a thin upright stick."""
    radius = size * random.uniform(0.22, 0.27)
    width = max(THINNEST, size * random.uniform(0.05, 0.08))
    head = np.hypot(x, y + size / 2 - radius) - radius
    return np.minimum(head, _box(x, y, -width / 2, radius - size / 2, width / 2, size / 2))


def crescent(x: Grid, y: Grid, size: float, random: np.random.Generator) -> Grid:
    """A circle without a smaller one above: a bowl with pointed ends."""
    radius = size / 2
    bite, lift = radius * random.uniform(0.80, 0.88), radius * random.uniform(0.42, 0.5)
    return np.maximum(np.hypot(x, y) - radius, bite - np.hypot(x, y + lift))


def corner(x: Grid, y: Grid, size: float, random: np.random.Generator) -> Grid:
    """An L: an upright bar at the left, a lying bar at the bottom."""
    a, b = _half_axes(size, random)
    width = max(THINNEST, size * random.uniform(0.2, 0.26))
    return np.minimum(_box(x, y, -a, -b, width - a, b), _box(x, y, -a, b - width, a, b))


def stick(x: Grid, y: Grid, size: float, random: np.random.Generator) -> Grid:
    """A thin line with round ends, rising or falling."""
    a, b = _half_axes(size, random)
    half = max(THINNEST, size * random.uniform(0.06, 0.09)) / 2
    rise = 1 if random.random() < 0.5 else -1
    return _segment(x, y, half - a, rise * (b - half), a - half, rise * (half - b)) - half


FORMS: dict[str, Form] = {
    "disc": disc,
    "star": star,
    "ring": ring,
    "lollipop": lollipop,
    "crescent": crescent,
    "corner": corner,
    "stick": stick,
}
