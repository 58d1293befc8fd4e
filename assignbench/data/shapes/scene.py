"""One generated picture: a textured background, and forms in front of it and of each other."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assignbench.data.shapes.forms import FORMS

MOST = 20  # objects in a picture
VISIBLE = 0.35  # of its area, an object must show at least this much behind those in front of it
TRIES = 12  # places tried for an object before it is left out
CONTRAST = 100.0  # wanted distance of an object's colour from what it covers, in RGB of 0 … 255
EMPTY = 0.04  # fraction of pictures without objects
SWARMS = 0.25  # fraction of pictures with a swarm of small discs

_NAMES = tuple(FORMS)
_DISC = _NAMES.index("disc")
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Drawn:
    """One object as it was drawn."""

    label: int  # index into FORMS
    box: tuple[float, float, float, float]  # x0 y0 x1 y1: tight around the whole form, hidden parts too
    area: float  # pixels² of the whole form
    offset: tuple[float, float]  # centre of mass from the box centre, in box widths and heights


@dataclass(frozen=True)
class _Role:
    """An object before it has a place."""

    label: int
    size: float  # longer side, in pixels
    swarm: tuple[float, float, float] | None = None  # x, y and spread of its swarm; None: anywhere


@dataclass(frozen=True)
class _Patch:
    """A form on its own small grid, ready to be laid on a picture."""

    coverage: Pixels  # [row, column] 0 … 1
    rim: Pixels  # [row, column] 0 … 1: how much of the pixel belongs to the darker line along the edge


@dataclass(frozen=True)
class _Layer:
    """A patch in its place, and what still shows of it."""

    left: int
    top: int
    shows: Pixels  # [row, column] coverage that nothing in front hides
    area: float  # pixels² of the whole form

    def under(self, patch: _Patch, left: int, top: int) -> _Layer:
        """The same layer after ``patch`` was laid over it at (left, top)."""
        rows, columns = patch.coverage.shape
        height, width = self.shows.shape
        x0, x1 = max(self.left, left), min(self.left + width, left + columns)
        y0, y1 = max(self.top, top), min(self.top + height, top + rows)
        if x0 >= x1 or y0 >= y1:
            return self
        shows = self.shows.copy()
        hidden = patch.coverage[y0 - top : y1 - top, x0 - left : x1 - left]
        shows[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left] *= 1 - hidden
        return replace(self, shows=shows)


def draw_scene(
    random: np.random.Generator, *, width: int, height: int, sizes: tuple[float, float], turned: bool = False
) -> tuple[NDArray[np.uint8], list[Drawn]]:
    """Draw a picture; from an equal random state come equal pixels, on one platform.

    Args:
        random: the only source of chance.
        width: of the picture, in pixels.
        height: as above.
        sizes: shortest and longest side of an object, in pixels; spread evenly over the logarithm.
        turned: each object by 0 to 3 quarter turns at random; else all stand upright.

    Returns:
        The picture ``[height, width, 3]`` and its objects from back to front, at most `MOST`. All lie
        inside the picture and show at least `VISIBLE` of their area.
    """
    canvas = _background(random, width, height)
    layers: list[_Layer] = []
    drawn: list[Drawn] = []
    for role in _cast(random, width, height, sizes):
        patch = _patch(random, role, turned)
        rows, columns = patch.coverage.shape
        for _ in range(TRIES):
            left, top = _place(random, role, width - columns, height - rows)
            below = [layer.under(patch, left, top) for layer in layers]
            if all(layer.shows.sum() >= VISIBLE * layer.area for layer in below):
                layers = [*below, _Layer(left, top, patch.coverage, float(patch.coverage.sum()))]
                _paint(random, canvas[top : top + rows, left : left + columns], patch)
                drawn.append(_measure(role.label, patch.coverage, left, top))
                break
    canvas += 3 * random.standard_normal(canvas.shape, dtype=np.float32)  # grain, over everything
    return np.clip(canvas, 0, 255).astype(np.uint8), drawn


def _cast(random: np.random.Generator, width: int, height: int, sizes: tuple[float, float]) -> list[_Role]:
    """Who appears, from back to front: the large mostly behind the small."""
    if random.random() < EMPTY:
        return []
    smallest, largest = sizes[0], min(sizes[1], 0.9 * min(width, height))
    least, most = np.log((smallest, largest))
    roles = [
        _Role(int(random.integers(len(_NAMES))), float(np.exp(random.uniform(least, most))))
        for _ in range(random.integers(1, 10))
    ]
    if random.random() < SWARMS:
        size = min(smallest * random.uniform(1.0, 1.8), largest / 1.1)
        count = int(random.integers(5, MOST - len(roles) + 1))
        x, y = random.uniform(0.15, 0.85, 2) * (width, height)
        swarm = float(x), float(y), 0.5 * size * count**0.5  # so that neighbours touch
        roles += [_Role(_DISC, size * random.uniform(0.9, 1.1), swarm) for _ in range(count)]
    return sorted(roles, key=lambda role: -role.size * random.uniform(0.5, 2.0))


def _place(random: np.random.Generator, role: _Role, right: int, bottom: int) -> tuple[int, int]:
    """Left and top of a patch, at most ``right`` and ``bottom``."""
    if role.swarm is None:
        return int(random.integers(right + 1)), int(random.integers(bottom + 1))
    *spot, spread = role.swarm
    x, y = random.normal(spot, spread) - role.size / 2
    return int(np.clip(x, 0, right)), int(np.clip(y, 0, bottom))


def _patch(random: np.random.Generator, role: _Role, turned: bool) -> _Patch:
    side = int(np.ceil(role.size)) + 4
    along = (np.arange(side) + 0.5 - side / 2).astype(np.float32)
    shift = random.uniform(-0.5, 0.5, 2).astype(np.float32)  # forms do not sit on the pixel grid
    x, y = np.meshgrid(along + shift[0], along + shift[1])
    distance = FORMS[_NAMES[role.label]](x, y, role.size, random).astype(np.float32)
    coverage = np.clip(0.5 - distance, 0, 1)  # the edge's distance tells how much of a pixel is covered
    rim = coverage * np.clip(0.5 + distance + np.clip(0.03 * role.size, 0.6, 2.0), 0, 1)
    rows, columns = (np.flatnonzero(coverage.any(axis=axis)) for axis in (1, 0))
    crop = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    quarters = int(random.integers(4)) if turned else 0
    return _Patch(np.rot90(coverage[crop], quarters), np.rot90(rim[crop], quarters))


def _paint(random: np.random.Generator, canvas: Pixels, patch: _Patch) -> None:
    """Lay the patch on its part of the canvas, in a colour that stands out but says nothing of the class."""
    covered = np.average(canvas.reshape(-1, 3), axis=0, weights=patch.coverage.ravel())
    tries = random.uniform((0, 0.3, 0.25), 1, (12, 3))  # hue, saturation, value
    colours = 255 * np.array([colorsys.hsv_to_rgb(*colour) for colour in tries])
    distances = np.linalg.norm(colours - covered, axis=1)
    enough = np.flatnonzero(distances >= CONTRAST)
    colour = colours[enough[0] if len(enough) else distances.argmax()]
    rows, columns = patch.coverage.shape
    slope = random.uniform(-0.15, 0.15, 2)
    light = 1 + slope[0] * np.linspace(-1, 1, rows)[:, None] + slope[1] * np.linspace(-1, 1, columns)
    shade = (light * (1 - 0.4 * patch.rim))[..., None].astype(np.float32)
    cover = patch.coverage[..., None]
    canvas *= 1 - cover
    canvas += cover * shade * colour.astype(np.float32)


def _background(random: np.random.Generator, width: int, height: int) -> Pixels:
    """A colour, a gradient, and smooth noise from coarse to fine."""
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = random.uniform(60, 200) + random.uniform(-40, 40, 3)
    slopes = random.uniform(-25, 25, (2, 3)).astype(np.float32)
    canvas += np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] * slopes[0]
    canvas += np.linspace(-1, 1, width, dtype=np.float32)[:, None] * slopes[1]
    for cell, strength in ((64, 14), (20, 9), (7, 6)):  # pixels between nodes; RGB steps of 0 … 255
        nodes = random.standard_normal((height // cell + 2, width // cell + 2), dtype=np.float32)
        smooth = np.asarray(Image.fromarray(nodes).resize((width, height), Image.Resampling.BICUBIC))
        tint = random.uniform(0.4, 1.2, 3).astype(np.float32)
        canvas += strength * smooth[..., None] * tint
    return canvas


def _measure(label: int, coverage: Pixels, left: int, top: int) -> Drawn:
    """Box, area and offset of a form that lies at (left, top)."""
    area = float(coverage.sum())
    box, mass = np.empty((2, 2)), np.empty(2)  # [axis, first or last]; [axis]
    for axis, start in enumerate((left, top)):
        extent = _extent(coverage.max(axis=axis))
        profile = coverage.sum(axis=axis, dtype=np.float64)
        box[axis] = start + extent[0], start + extent[1]
        mass[axis] = start + np.average(np.arange(len(profile)) + 0.5, weights=profile)
    dx, dy = (mass - box.mean(axis=1)) / (box[:, 1] - box[:, 0])
    (x0, x1), (y0, y1) = box.tolist()
    return Drawn(label, (x0, y0, x1, y1), area, (float(dx), float(dy)))


def _extent(profile: Pixels) -> tuple[float, float]:
    """First and last place of a coverage profile; a border pixel covered by 0.3 reaches 0.3 pixels in."""
    return 1 - float(profile[0]), len(profile) - 1 + float(profile[-1])
