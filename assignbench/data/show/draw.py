"""Boxes and names on one picture, and a strip below it that says what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from PIL import Image, ImageColor, ImageDraw, ImageFont

from assignbench.plain_text import one_line

# By class. First Okabe and Ito's colours without black, apart for the colour-blind too, and light enough for a dark
# picture; then the same lighter and darker. More classes take them again, hence the names.
_HUES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
COLOURS = (
    *_HUES,
    *("#F4D48C", "#B3DDF5", "#8CD3C0", "#F8F3AA", "#8CC0DC", "#ECB78C", "#E8C3D7"),  # a good half of the way to white
    *("#8A5F00", "#346C8C", "#005F45", "#908928", "#00446B", "#803800", "#7A4964"),  # two fifths of the way to black
)
UNKNOWN = "#FFFFFF"  # of a category that is no class
_EDGE = "#202020"  # along both sides of a line, which is seen on a light picture by it

_MANY = 12  # objects; of more, only boxes that are wide enough carry their name
_LEAST_WIDTH = 360  # pixels of the result, so that the strip can be read
_DASH = 6  # pixels drawn and left out in turn
_HATCH = 14  # pixels between the lines in a crowd region
_BEYOND = 20  # pixels outside the picture that are still drawn: Pillow walks along all of a line

Box = tuple[float, float, float, float]
Point = tuple[float, float]
Entry = tuple[str | None, str]  # of the strip: the colour of a square, and text


@dataclass(frozen=True)
class Shown:
    """One object."""

    number: int  # annotation id
    name: str  # of its class
    colour: int | None  # index of the class; None: it is none
    box: Box | None  # pixels of the shown picture; None: not finite
    crowd: bool
    odd: tuple[str, ...]  # what `check` finds


def draw_picture(pixels: Image.Image, objects: Sequence[Shown], title: str) -> Image.Image:
    """Draw large objects first, names last, and the strip below."""
    objects = [replace(one, name=one_line(one.name), odd=tuple(map(one_line, one.odd))) for one in objects]
    title = one_line(title)
    font = ImageFont.load_default(size=12)
    width = max(2, round(min(pixels.size) / 250))
    canvas = ImageDraw.Draw(pixels)
    drawable = [one for one in objects if one.box is not None]
    drawable.sort(key=lambda one: -_area(one.box))
    for one in drawable:
        _draw_box(canvas, one, width + (1 if one.odd else 0))
    for one in drawable:
        _draw_name(canvas, one, font, pixels.size, always=len(objects) <= _MANY or bool(one.odd))
    return _with_strip(pixels, objects, title, font)


def colour_of(one: Shown) -> str:
    """The class's colour."""
    return UNKNOWN if one.colour is None else colour_of_class(one.colour)


def colour_of_class(label: int) -> str:
    """The same for a class in every picture, and for class 0 of every data set."""
    return COLOURS[label % len(COLOURS)]


def _draw_box(canvas: ImageDraw.ImageDraw, one: Shown, width: int) -> None:
    if one.box is None:
        return
    x0, y0, x1, y1 = one.box
    colour = colour_of(one)
    if x1 <= x0 or y1 <= y0:  # no box: a cross where it is stated
        reach = 6
        for sign in (1, -1):
            line = (x0 - reach, y0 - sign * reach, x0 + reach, y0 + sign * reach)
            canvas.line(line, fill="black", width=width + 2)
            canvas.line(line, fill=colour, width=width)
        return
    limit = canvas.im.size
    x0, y0 = max(x0, -_BEYOND), max(y0, -_BEYOND)
    x1, y1 = min(x1, limit[0] + _BEYOND), min(y1, limit[1] + _BEYOND)
    if x1 <= x0 or y1 <= y0:  # nothing of it shows
        return
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    sides = list(pairwise(corners))
    if one.crowd:
        for segment in _hatch((x0, y0, x1, y1), limit):
            canvas.line(segment, fill=colour, width=1)
        sides = [dash for side in sides for dash in _dashes(*side)]
    if one.odd:  # between black lines, so that it stands out without a colour of its own
        canvas.rectangle((x0 - width, y0 - width, x1 + width, y1 + width), outline="black", width=3 * width)
    for fill, wide in ((_EDGE, width + 2), (colour, width)):
        for start, end in sides:
            canvas.line((*start, *end), fill=fill, width=wide)


def _dashes(start: Point, end: Point) -> Iterator[tuple[Point, Point]]:
    """Along one side, horizontal or vertical."""
    (x0, y0), (x1, y1) = start, end
    length = max(abs(x1 - x0), abs(y1 - y0))
    for at in range(0, int(length), 2 * _DASH):
        low, high = at / length, min(1.0, (at + _DASH) / length)
        yield (x0 + low * (x1 - x0), y0 + low * (y1 - y0)), (x0 + high * (x1 - x0), y0 + high * (y1 - y0))


def _hatch(box: Box, size: tuple[int, int]) -> Iterator[Box]:
    """Diagonals x + y = c, cut to the box."""
    x0, y0 = max(box[0], 0), max(box[1], 0)
    x1, y1 = min(box[2], size[0]), min(box[3], size[1])
    if x1 <= x0 or y1 <= y0:
        return
    for total in range(int(x0 + y0) // _HATCH * _HATCH + _HATCH, int(x1 + y1), _HATCH):
        left, right = max(x0, total - y1), min(x1, total - y0)
        yield left, total - left, right, total - right


def _draw_name(
    canvas: ImageDraw.ImageDraw, one: Shown, font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int], *, always: bool,
) -> None:  # fmt: skip
    if one.box is None:
        return
    text = f"! {one.name}: {', '.join(one.odd)}" if one.odd else one.name
    wide, high = canvas.textlength(text, font) + 4, 15
    x0, y0, x1, _ = one.box
    if not always and x1 - x0 < wide:
        return
    left = min(max(0.0, x0), max(0.0, size[0] - wide))
    top = y0 - high if y0 >= high else y0 + 1
    top = min(max(0.0, top), max(0.0, float(size[1] - high)))
    canvas.rectangle((left, top, left + wide, top + high), fill=colour_of(one))
    canvas.text((left + 2, top), text, fill=ink_on(colour_of(one)), font=font)


def ink_on(colour: str) -> str:
    """What is read on it."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else "white"


def _with_strip(
    pixels: Image.Image, objects: Sequence[Shown], title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> Image.Image:
    """The picture, and below it the title, a count of each class, and every odd object."""
    width, step = max(pixels.width, _LEAST_WIDTH), 17
    measure = ImageDraw.Draw(pixels)
    by_class = sorted(objects, key=lambda one: len(COLOURS) if one.colour is None else one.colour)
    colours = {one.name: colour_of(one) for one in by_class}
    counts = Counter(one.name for one in objects if not one.crowd)
    crowds = Counter(one.name for one in objects if one.crowd)
    entries = [(name, f"{name} {counts[name]}" + f" + {crowds[name]} crowd" * (name in crowds)) for name in colours]
    odd = [f"! annotation {one.number}, {one.name}: {', '.join(one.odd)}" for one in objects if one.odd]
    said = _wrapped(measure, title, width, font) + ["no objects"] * (not objects)
    lines: list[Sequence[Entry]] = [[(None, text)] for text in said]
    row: list[Entry] = []
    used = 0.0
    for name, text in entries:
        room = measure.textlength(text, font) + 28
        if row and used + room > width:
            lines.append(row)
            row, used = [], 0.0
        row.append((colours[name], text))
        used += room
    lines += [row] * bool(row)
    lines += [[(None, line)] for text in odd for line in _wrapped(measure, text, width, font)]
    result = Image.new("RGB", (width, pixels.height + step * len(lines) + 4), "#202020")
    result.paste(pixels)
    canvas = ImageDraw.Draw(result)
    for rank, line in enumerate(lines):
        left, top = 4.0, pixels.height + 2 + rank * step
        for colour, text in line:
            if colour is not None:
                canvas.rectangle((left, top + 3, left + 10, top + 13), fill=colour)
                left += 14
            canvas.text((left, top), text, fill="white", font=font)
            left += canvas.textlength(text, font) + 14
    return result


def _wrapped(
    canvas: ImageDraw.ImageDraw, text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> list[str]:
    lines: list[str] = []
    for word in text.split(" "):
        if lines and canvas.textlength(f"{lines[-1]} {word}", font) <= width - 8:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _area(box: Box | None) -> float:
    return 0.0 if box is None else max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
