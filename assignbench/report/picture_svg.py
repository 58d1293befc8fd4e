"""One picture of the gallery as an SVG, to stand inside a page.

Everything lies in pixels of the original picture; lines and letters are as wide and high as they look best where the
longer side is shown 480 pixels long. Each part is a group with a class of its own, so that a page can hide it:
``gallery-truth``, ``gallery-locations``, ``gallery-detections`` and ``gallery-names``.

Names stand beside their boxes, where they cover no object and no other name: wrong detections and missed objects choose
first. Where there is no room for the name the score stands alone, or nothing. The whole is an image to a screen reader,
with one sentence for its content; a pointer on a box shows what it is.
"""

from __future__ import annotations

import math
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from assignbench.plain_text import markup, one_line
from assignbench.report.assigned import Locations
from assignbench.report.detected import Box, Detected, Detection, State
from assignbench.report.gallery import SIDE, Panel, Picture

RIGHT, WRONG, MISSED, IGNORED = "#0072B2", "#B84A00", "#A3195B", "#555555"  # white letters can be read on each
STATES: dict[State, str] = {"right": RIGHT, "wrong": WRONG, "ignored": IGNORED}
TRUE = "#FFF"
LEVELS = ("#F0E442", "#F5A142", "#D9527A", "#8A2BA8", "#1B1464")  # P3 … P7, bright to dark
SIZES = (3.0, 5.0, 7.0)  # diameters of locations, by thirds of the fraction
LETTERS = 11  # size, pixels where the longer side is shown `SIDE` pixels long
BAND = 1.5 * LETTERS  # above and below a picture, for the names of boxes that reach its border
LONGEST = 18  # characters of a class's name
COVERED = 0.1  # part of a name that may lie on objects


@dataclass(frozen=True)
class _Name:
    """What is to be written beside a box."""

    texts: tuple[str, ...]  # the first that finds room is taken
    box: Box
    colour: str


def picture_svg(picture: Picture, panel: Panel, image: str | None = None) -> str:
    """A picture with what one row made of it.

    Args:
        picture: of the gallery.
        panel: one of its panels.
        image: id of a `shared_image` of this picture in the same page; None: the picture is put in here.

    Returns:
        One ``<svg>`` element. All that comes from files is escaped.
    """
    unit = max(picture.width, picture.height) / SIDE
    pen = _Pen(unit, max(0, math.ceil(-math.log10(unit))))
    band = BAND * unit
    view = " ".join(pen.number(each) for each in (0, -band, picture.width, picture.height + 2 * band))
    parts = [_ground(picture, image), _truth(picture, panel.detected, pen)]
    if panel.locations is not None:
        parts.append(_locations(panel.locations, pen))
    if panel.detected is not None:
        parts += [_detections(panel.detected, pen), _names(picture, panel.detected, pen)]
    width, height = picture.width / unit, (picture.height + 2 * band) / unit
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{markup(sentence(picture, panel))}" font-family="system-ui, sans-serif" '
        f'font-size="{pen.thick(LETTERS)}" style="max-width:100%;height:auto">{"".join(parts)}</svg>'
    )


def shared_image(picture: Picture, name: str) -> str:
    """The pixels alone, once for all panels of a picture, as an ``<svg>`` that takes no room.

    Args:
        picture: of the gallery.
        name: id of the image in the page.
    """
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="0" height="0" aria-hidden="true" style="position:absolute">'
        f'<defs><g id="{markup(name)}">{_pixels(picture)}</g></defs></svg>'
    )


def legend_svg(levels: Iterable[int] = range(5)) -> str:
    """What the signs mean, as an ``<svg>`` in the colour of the text around it.

    Args:
        levels: those that locations are shown of; 0 = P3.
    """
    pen = _Pen(1, 1)
    box: Box = (1, 3, 21, 15)
    shape = [(_frame(box, pen), "")]
    entries = [
        (_cased(shape, RIGHT, 2, pen), "right: its class, IoU ≥ 0.5"),
        (_cased(shape, WRONG, 2, pen, "5 3"), "wrong, or a repetition"),
        (_true(shape, pen), "object that is found"),
        (_missed([(_corners(box, pen), "")], pen), "object that nothing shown finds"),
        (_crowd(shape, pen), "crowd or difficult: not asked for"),
        *((_dots([(11, 9)], LEVELS[level % len(LEVELS)], 7, pen), f"assigned on P{level + 3}") for level in levels),
        (
            "".join(_dots([(3 + 8 * rank, 9)], "#777777", size, pen) for rank, size in enumerate(SIZES)),
            "weight, of the object's largest",
        ),
    ]
    drawn, left, top = [], 0.0, 0.0
    for sign, text in entries:
        wide = 30 + _width(text, 12) + 16
        if left and left + wide > 2 * SIDE:
            left, top = 0.0, top + 22
        written = f'<text x="28" y="13" fill="currentColor">{text}</text>'
        drawn.append(f'<g transform="translate({left:g} {top:g})">{sign}{written}</g>')
        left = round(left + wide)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * SIDE} {top + 20:g}" width="{2 * SIDE}" '
        f'height="{top + 20:g}" role="img" aria-label="{markup("; ".join(text for _, text in entries))}" '
        'font-family="system-ui, sans-serif" font-size="12" stroke-linecap="round" style="max-width:100%;height:auto">'
        f"{''.join(drawn)}</svg>"
    )


def sentence(picture: Picture, panel: Panel) -> str:
    """What a picture and its panel hold, in words."""
    parts = [f"Picture {picture.id} ({picture.name}), {panel.row}, seed {panel.seed}"]
    if (one := panel.detected) is not None:
        right = sum(each.state == "right" for each in one.shown)
        parts.append(f"{one.found} of {picture.required} objects found at IoU 0.5, {right} of them by detections shown")
        parts.append(f"{one.wrong} wrong detections with a score of at least {one.least:.2f}")
        parts.append(f"{len(one.shown)} detections shown, {one.more + one.low} not shown")
    if (where := panel.locations) is not None:
        parts.append(f"{len(where.levels)} assigned locations shown, {where.left_out} not shown")
        parts += [f"{where.untaught} objects taught nowhere"] if where.untaught else []
    parts += panel.remarks
    if panel.influence is not None:
        parts.append(f"the picture moves AP by {panel.influence:+.2f} percent points".replace("-", "−"))
    return "; ".join(parts)


@dataclass(frozen=True)
class _Pen:
    """How numbers are written and how thick lines are."""

    unit: float  # pixels of the picture in a pixel of the page
    digits: int  # behind the point

    def number(self, value: float) -> str:
        """In as few characters as show it."""
        text = f"{value:.{self.digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text

    def thick(self, pixels: float) -> str:
        """Of a line, where the picture is shown `SIDE` pixels long."""
        return f"{pixels * self.unit:.3g}"


def _ground(picture: Picture, image: str | None) -> str:
    if picture.jpeg is None:
        return f'<rect width="{picture.width}" height="{picture.height}" fill="#888888"/>'
    return _pixels(picture) if image is None else f'<use href="#{markup(image)}"/>'


def _pixels(picture: Picture) -> str:
    data = b64encode(picture.jpeg or b"").decode()
    return (
        f'<image width="{picture.width}" height="{picture.height}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{data}"/>'
    )


def _truth(picture: Picture, found: Detected | None, pen: _Pen) -> str:
    """True boxes: brackets where no detection shown finds the object, else thin, and so where none are known."""
    seen = {one.object for one in found.shown} if found else set(range(len(picture.objects)))
    crowd, thin, missed = [], [], []
    for number, one in enumerate(picture.objects):
        if one.crowd:
            crowd.append((_frame(one.box, pen), ""))
        elif number in seen:
            thin.append((_frame(one.box, pen), ""))
        else:
            score = found.scores[number] if found else None
            how = "nothing finds it" if score is None else f"found with score {score:.2f}, which is not shown"
            missed.append((_corners(one.box, pen), f"object: {one.name}; {how}"))
    return _group("gallery-truth", _crowd(crowd, pen) + _true(thin, pen) + _missed(missed, pen))


def _detections(found: Detected, pen: _Pen) -> str:
    """Small ones last, so that a pointer reaches them."""
    order = sorted(found.shown, key=lambda one: -_area(one.box))
    parts = _casing("".join(_frame(one.box, pen) for one in order), 2, pen)
    for state, some in groupby(order, key=_state):
        shapes = [(_frame(one.box, pen), f"{one.name}, score {one.score:.3f}: {state}") for one in some]
        parts += _stroked(shapes, STATES[state], 2, pen, "5 3" if state == "wrong" else "")
    return _group("gallery-detections", parts, 'pointer-events="all"')


def _locations(where: Locations, pen: _Pen) -> str:
    """Coarse levels first; of each level small dots last, so that none is hidden."""
    levels, fractions = np.array(where.levels, dtype=np.int64), np.array(where.fractions)
    places = np.array(where.places, dtype=np.float64).reshape(-1, 2)
    size = np.minimum((fractions * len(SIZES)).astype(np.int64), len(SIZES) - 1)
    parts = ""
    for level in np.unique(levels)[::-1].tolist():
        for rank in range(len(SIZES) - 1, -1, -1):
            mine = places[(levels == level) & (size == rank)].tolist()
            parts += _dots(mine, LEVELS[level % len(LEVELS)], SIZES[rank], pen)
    return _group("gallery-locations", parts, 'stroke-linecap="round" pointer-events="none"')


def _names(picture: Picture, found: Detected, pen: _Pen) -> str:
    """Names of detections and of objects that none of them finds, where there is room."""
    seen = {one.object for one in found.shown}
    missed = [
        _Name((_short(one.name),), one.box, MISSED)
        for number, one in enumerate(picture.objects)
        if number not in seen and not one.crowd
    ]
    wrong, right = (
        [
            _Name((f"{_short(one.name)} {one.score:.2f}", f"{one.score:.2f}"), one.box, STATES[one.state])
            for one in found.shown
            if (one.state == "right") == which
        ]
        for which in (False, True)
    )
    high, band = 1.3 * LETTERS * pen.unit, BAND * pen.unit
    bounds = (0.0, -band, float(picture.width), picture.height + band)
    boxes = [one.box for one in (*picture.objects, *found.shown)]
    grounds, texts = dict.fromkeys(STATES.values(), "") | {MISSED: ""}, ""
    for name, text, (x0, y0, x1, y1) in placed([*wrong, *missed, *right], boxes, bounds, high):
        grounds[name.colour] += _frame((x0, y0, x1, y1), pen)
        texts += f'<text x="{pen.number((x0 + x1) / 2)}" y="{pen.number(y0 + 0.78 * high)}">{escape(text)}</text>'
    parts = "".join(f'<path fill="{colour}" d="{path}"/>' for colour, path in grounds.items() if path)
    return _group("gallery-names", parts + texts, 'fill="#FFFFFF" text-anchor="middle" pointer-events="none"')


def placed(names: Sequence[_Name], boxes: Sequence[Box], bounds: Box, high: float) -> list[tuple[_Name, str, Box]]:
    """A place for each name that finds room, one after the other: beside its box, where it covers least.

    Args:
        names: in the order in which they choose.
        boxes: that are not to be covered.
        bounds: what the names must lie in.
        high: a line of letters.
    """
    kept = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    taken = np.zeros((0, 4))
    found = []
    for name in names:
        for text in name.texts:
            wide = _width(text, high / 1.3) + 0.5 * high
            places = _beside(name.box, wide, high, bounds)
            covered = _overlap(places, kept).max(axis=1, initial=0) / (wide * high)
            free = (_overlap(places, taken).max(axis=1, initial=0) == 0) & (covered <= COVERED)
            if free.any():
                best = places[np.flatnonzero(free)[covered[free].argmin()]]
                taken = np.vstack([taken, best])
                x0, y0, x1, y1 = best.tolist()
                found.append((name, text, (x0, y0, x1, y1)))
                break
    return found


def _beside(box: Box, wide: float, high: float, bounds: Box) -> NDArray[np.float64]:
    """Places around a box that lie within bounds, the preferred first: ``[place, 4]``."""
    x0, y0, x1, y1 = box
    left, top, right, bottom = bounds
    x0, x1 = max(x0, left), min(x1, right)
    across = [min(max(x, left), right - wide) for x in (x0, x1 - wide, (x0 + x1 - wide) / 2)]
    down = [min(max(y, top), bottom - high) for y in (y0, y1 - high)]
    corners = [
        *((x, y) for y in (y0 - high, y1) for x in across),
        *((x, y) for y in down for x in (x1, x0 - wide)),
    ]
    places = np.array([(x, y, x + wide, y + high) for x, y in corners])
    inside = (places[:, :2] >= (left, top)).all(axis=1) & (places[:, 2:] <= (right, bottom)).all(axis=1)
    return places[inside]


def _overlap(places: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that places and boxes share: ``[place, box]``."""
    least = np.maximum(places[:, None, :2], boxes[:, :2])
    most = np.minimum(places[:, None, 2:], boxes[:, 2:])
    return np.maximum(most - least, 0).prod(axis=2)


Shape = tuple[str, str]  # path, and what a pointer on it is told; "": nothing


def _true(shapes: Sequence[Shape], pen: _Pen) -> str:
    return _cased(shapes, TRUE, 1.2, pen)


def _missed(shapes: Sequence[Shape], pen: _Pen) -> str:
    return _cased(shapes, MISSED, 2.6, pen)


def _crowd(shapes: Sequence[Shape], pen: _Pen) -> str:
    return _cased(shapes, IGNORED, 1.2, pen, "1.5 2.5")


def _cased(shapes: Sequence[Shape], colour: str, width: float, pen: _Pen, dashes: str = "") -> str:
    """Lines on pale or dark ones, so that they are seen on any picture."""
    path = "".join(path for path, _ in shapes)
    under = "#000" if colour == TRUE else "#FFF"
    return _casing(path, width, pen, under) + _stroked(shapes, colour, width, pen, dashes) if shapes else ""


def _casing(path: str, width: float, pen: _Pen, colour: str = "#FFF") -> str:
    thick = pen.thick(width + 1.6)
    return (
        f'<path fill="none" stroke="{colour}" stroke-opacity=".7" stroke-width="{thick}" d="{path}"/>' if path else ""
    )


def _stroked(shapes: Sequence[Shape], colour: str, width: float, pen: _Pen, dashes: str = "") -> str:
    broken = f' stroke-dasharray="{" ".join(pen.thick(float(each)) for each in dashes.split())}"' if dashes else ""
    parts = "".join(
        f'<path d="{path}"><title>{markup(told)}</title></path>' if told else f'<path d="{path}"/>'
        for path, told in shapes
    )
    return f'<g fill="none" stroke="{colour}" stroke-width="{pen.thick(width)}"{broken}>{parts}</g>'


def _dots(places: Sequence[Sequence[float]], colour: str, size: float, pen: _Pen) -> str:
    """Lines without length: where the ends of lines are round, they are dots."""
    path = "".join(f"M{pen.number(x)} {pen.number(y)}h0" for x, y in places)
    return "".join(
        f'<path stroke="{each}" stroke-width="{pen.thick(thick)}" d="{path}"/>'
        for each, thick in (("#FFF", size + 1.6), (colour, size))
        if path
    )


def _frame(box: Box, pen: _Pen) -> str:
    x0, y0, x1, y1 = box
    return f"M{pen.number(x0)} {pen.number(y0)}H{pen.number(x1)}V{pen.number(y1)}H{pen.number(x0)}Z"


def _corners(box: Box, pen: _Pen) -> str:
    x0, y0, x1, y1 = box
    arm, path = max(0.2 * min(x1 - x0, y1 - y0), 3 * pen.unit), ""
    for x, y, across, down in ((x0, y0, 1, 1), (x1, y0, -1, 1), (x1, y1, -1, -1), (x0, y1, 1, -1)):
        path += f"M{pen.number(x + across * arm)} {pen.number(y)}H{pen.number(x)}V{pen.number(y + down * arm)}"
    return path


def _group(name: str, content: str, attributes: str = "") -> str:
    return f'<g class="{name}"{" " if attributes else ""}{attributes}>{content}</g>'


def _state(one: Detection) -> State:
    return one.state


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _short(name: str) -> str:
    """A class's name, cut, and kept from turning round what stands beside it."""
    name = one_line(name)
    cut = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return cut if cut.isascii() else f"\u2068{cut}\u2069"


def _width(text: str, size: float) -> float:
    """About how wide a text is in letters of a size."""
    wide = sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.56 for letter in text if _is_seen(letter))
    return size * wide


def _is_seen(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cf", "Mn", "Me")
